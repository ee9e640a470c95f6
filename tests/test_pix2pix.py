"""pix2pix's losses, gradients, files and runs, against plain computations."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import restored, same_tensors
from drit_toys import check_resumes, hold_still, tensors
from PIL import Image
from test_unet import mask, plain_unet, worn

from configs.load import ConfigError, validate
from dataloader.dataset import Batch
from models.discriminators import Patches
from models.unet import UNet
from solvers import make_solver
from solvers.run.checkpoint import CheckpointError
from solvers.run.folder import RunError

TINY = {"base_width": 4, "dis_width": 4}


@pytest.fixture
def make(digits_folder, tmp_path):
    """A tiny experiment: make("name", key=..., training={...}, network={...}, test={...})."""

    def made(name: str = "run", **values):
        sections = {
            "training": {"max_iters": 4, "batch_size": 2, "print_freq": 2, "sample_freq": 4},
            "test": {
                "batch_size": 128,
                "after_training": False,
                "extractors": [],
                "classifier_iterations": 2,
            },
            "network": TINY,
        }
        sections = {key: {**default, **values.pop(key, {})} for key, default in sections.items()}
        top = {"id": "tiny", "model": "pix2pix", "dataset": "Digits-CDCB", "resolution": 32, "device": "cpu"}
        top |= {"path_to_data": str(digits_folder), "run_dir": str(tmp_path / name), "threads": 1}
        return make_solver(validate({**top, **sections, **values}, "tiny"))

    return made


def batch_of(solver, count: int = 2) -> Batch:
    batch = solver.test_set.at(np.arange(count))
    return batch._replace(images=tuple(x.to(torch.get_default_dtype()) for x in batch.images))


def plain_training_norm(w: dict, name: str, x: torch.Tensor, _: bool) -> torch.Tensor:
    """BatchNorm in training: by the statistics of the batch."""
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    scaled = (x - mean) / (var + 1e-5).sqrt()
    return scaled * w[f"{name}.weight"].view(1, -1, 1, 1) + w[f"{name}.bias"].view(1, -1, 1, 1)


def plain_patches(w: dict, x: torch.Tensor, layers: int) -> torch.Tensor:
    x = F.leaky_relu(F.conv2d(x, w["model.0.weight"], w["model.0.bias"], 2, 1), 0.2)
    for number in range(1, layers + 1):
        place = 3 * number - 1
        x = F.conv2d(x, w[f"model.{place}.weight"], None, 2 if number < layers else 1, 1)
        x = F.leaky_relu(plain_training_norm(w, f"model.{place + 1}", x, False), 0.2)
    last = f"model.{3 * layers + 2}"
    return F.conv2d(x, w[f"{last}.weight"], w[f"{last}.bias"], 1, 1)


def wanted_of(kind: str, logits: torch.Tensor, real: bool) -> torch.Tensor:
    """The loss of logits that should say real or made."""
    if kind == "lsgan":
        return ((logits - float(real)) ** 2).mean()
    p = 1 / (1 + torch.exp(-logits))
    return -torch.log(p if real else 1 - p).mean()


@pytest.mark.parametrize("kind", ["vanilla", "lsgan"])
@pytest.mark.parametrize("layers", [1, 3])
def test_losses_and_both_players_gradients_equal_a_plain_rebuild(make, kind, layers, float64, monkeypatch):
    monkeypatch.setattr("test_unet.plain_norm", plain_training_norm)
    training = {"gan_mode": kind, "lambda_L1": 7.0}
    solver = make(training=training, network={"dropout": 0, "dis_layers": layers})
    hold_still(solver)
    torch.manual_seed(1)
    for network in solver.networks.values():  # first weights make images that are almost grey
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    batch = batch_of(solver)
    x, y = batch.images
    losses = solver.train_step(batch, 1)
    g, d = (tensors(solver.networks[name]) for name in ("net_G", "net_D"))
    made = plain_unet(g, x)
    on_real, on_made = (plain_patches(d, torch.cat((x, z), 1), layers) for z in (y, made.detach()))
    real, fake = wanted_of(kind, on_real, True), wanted_of(kind, on_made, False)
    adv = wanted_of(kind, plain_patches(d, torch.cat((x, made), 1), layers), True)
    l1 = (made - y).abs().mean()
    wanted = {"dis_real": real, "dis_fake": fake, "adv": adv, "l1": l1, "total": adv + 7 * l1}
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        {name: loss.item() for name, loss in wanted.items()}, rel=1e-9
    )
    for weights, loss in ((d, (real + fake) / 2), (g, adv + 7 * l1)):
        gradients = torch.autograd.grad(loss, list(weights.values()))
        assert sum(gradient.abs().sum() for gradient in gradients) > 0
        for (name, parameter), gradient in zip(weights.items(), gradients):
            assert parameter.grad.dtype == torch.float64
            assert torch.allclose(parameter.grad, gradient, rtol=1e-7, atol=1e-10), name


def test_the_generator_makes_its_image_once_for_both_players(make):
    solver = make()
    calls = []
    solver.model.net_G.register_forward_hook(lambda *_: calls.append(1))
    solver.train_step(batch_of(solver), 1)
    assert len(calls) == 1


def test_dropout_is_drawn_anew_in_training(make):
    solver = make()
    x = batch_of(solver).images[0]
    made = []
    for iteration in (1, 1, 2):
        solver.set_time(iteration)
        made.append(solver.model.net_G(x))
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


@pytest.mark.parametrize(
    ("resolution", "batch", "more"),
    [
        (32, 1, {}),
        (32, 3, {"test_mode": "eval"}),
        ([32, 48], 2, {"norm": "instance"}),
        ([96, 64], 1, {"dis_layers": 3}),
    ],
)
def test_it_trains_resumes_bit_for_bit_and_tests(make, tmp_path, resolution, batch, more):
    def solver(name: str, **training):
        training = {"batch_size": batch, **training}
        return make(name, resolution=resolution, training=training, network=more)

    again = check_resumes(solver, tmp_path, stopped=2, end=4)
    again.test()
    results = tmp_path / "again/results"
    metrics = json.loads((results / "metrics.json").read_text())
    protocol = metrics.pop("protocol")
    kinds = ("l1", "psnr", "ssim", "digit")
    read = "translation/digit/real_y"  # by the classifier that reads the translations
    sharp = {f"sharpness/{of}" for of in ("real_x", "real_y", "x_to_y")}
    assert set(metrics) == {"iteration", read, *sharp, *(f"translation/{kind}/x_to_y" for kind in kinds)}
    assert 0 < metrics["translation/l1/x_to_y"] < 2
    assert protocol["model"] == {"test_mode": more.get("test_mode", "paper")}
    assert protocol["left_out"]["retrieval"] == "the content is the image itself, not a code"
    pictures = sorted(path.name for path in results.glob("*.*") if path.suffix in (".png", ".gif"))
    assert pictures == ["x_to_y.png"]
    with Image.open(results / "x_to_y.png") as picture:
        height, width = again.config.size
        assert picture.width > 3 * width and picture.height > 8 * height
    before = (results / "x_to_y.png").read_bytes()
    again.test()
    assert (results / "x_to_y.png").read_bytes() == before
    found = json.loads((results / "metrics.json").read_text())
    assert found["translation/l1/x_to_y"] == metrics["translation/l1/x_to_y"]
    assert [path.name for path in (tmp_path / "again/samples/000004").iterdir()] == ["x_to_y.png"]


def test_it_learns_and_both_test_modes_show_what_was_learned(make):
    training = {"max_iters": 100, "batch_size": 8, "lr": 2e-3, "sample_freq": 100}
    solver = make("learned", training=training, network={"base_width": 8})
    x, y = batch_of(solver, 32).images

    def error(mode: str) -> float:
        tested = make(network={"base_width": 8, "test_mode": mode})
        tested.model.load_state_dict(solver.model.state_dict())
        with torch.no_grad():
            return (tested.model.eval().translate(x, 0, 1) - y).abs().mean().item()

    before = error("eval"), error("paper")
    solver.train()
    after = error("eval"), error("paper")
    assert after[0] < 0.5 * before[0] and after[1] < 0.5 * before[1]


# The authors' files


def write_files(folder, age: str = "latest", prefix: str = "", discriminator: bool = True):
    """net_G and net_D in the authors' layout: a bare state_dict each; the generator's, worn."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(3)
    generator, judge = worn(UNet(32, 4)).float(), worn(Patches(32, 6, 4)).float()
    weights = {f"{prefix}{name}": tensor for name, tensor in generator.state_dict().items()}
    torch.save(weights, folder / f"{age}_net_G.pth", _use_new_zipfile_serialization=not prefix)
    if discriminator:
        torch.save(judge.state_dict(), folder / f"{age}_net_D.pth")
    return generator.state_dict(), judge.state_dict()


@pytest.mark.parametrize("mode", ["paper", "eval"])
@pytest.mark.parametrize("named", ["folder", "file", "other name"])
def test_the_authors_generator_makes_the_same_images_as_a_plain_one(make, tmp_path, mode, named):
    weights, _ = write_files(tmp_path / "theirs", discriminator=False)
    path = tmp_path / "theirs/latest_net_G.pth"
    if named == "other name":
        path = path.rename(tmp_path / "facades_label2photo.pth")
    path = path.parent if named == "folder" else path
    solver = make("tested", train=0, test={"test_path": str(path)}, network={"test_mode": mode})
    solver.test()
    results = tmp_path / "tested/results"
    assert json.loads((results / "metrics.json").read_text())["iteration"] == 0
    assert (results / "x_to_y.png").exists()
    x = batch_of(solver, 3).images[0]
    noise = {"own": True, "masks": {3: mask(3)}} if mode == "paper" else {}
    weights = {name: tensor.double() for name, tensor in weights.items()}
    plain = plain_unet(weights, x.double(), **noise)
    with torch.no_grad():
        made = solver.model.double().eval().translate(x.double(), 0, 1)
    assert plain.std() > 0.05 and (made - plain).abs().max() < 1e-6


def test_the_modes_differ(make, tmp_path):
    write_files(tmp_path / "theirs")
    made = []
    for mode in ("paper", "eval"):
        solver = make("tested", train=0, network={"test_mode": mode})
        solver.load(tmp_path / "theirs", "latest", training=False)
        with torch.no_grad():
            made.append(solver.model.eval().translate(batch_of(solver).images[0], 0, 1))
    assert (made[0] - made[1]).abs().max() > 0.01


def test_training_goes_on_from_the_authors_files_with_new_optimisers(make, tmp_path):
    generator, judge = write_files(tmp_path / "theirs")
    source = {"resume_iters": "latest", "restored_model_path": str(tmp_path / "theirs")}
    solver = make("on", training=source)
    assert restored(solver) == 0
    assert same_tensors(dict(solver.networks["net_G"].state_dict()), dict(generator))
    assert same_tensors(dict(solver.networks["net_D"].state_dict()), dict(judge))
    assert not solver.optimizers["net_G"].state_dict()["state"]
    solver.train()
    assert (tmp_path / "on/models/000004-checkpoint.pt").exists()


def test_training_without_their_discriminator_begins_with_a_new_one_and_says_so(make, tmp_path, capsys):
    generator, _ = write_files(tmp_path / "theirs", discriminator=False)
    path = str(tmp_path / "theirs/latest_net_G.pth")
    solver = make("on", training={"resume_iters": "latest", "restored_model_path": path})
    judge = {name: tensor.clone() for name, tensor in solver.networks["net_D"].state_dict().items()}
    restored(solver)
    assert same_tensors(dict(solver.networks["net_G"].state_dict()), dict(generator))
    assert same_tensors(dict(solver.networks["net_D"].state_dict()), judge)
    assert "no net_D beside" in capsys.readouterr().out


def test_files_of_old_versions_load(make, tmp_path):
    """DataParallel's prefix, no counts of batches, and running statistics of InstanceNorm."""
    weights, _ = write_files(tmp_path / "theirs", prefix="module.")
    path = tmp_path / "theirs/latest_net_G.pth"
    old = torch.load(path)
    torch.save({n: t for n, t in old.items() if not n.endswith("tracked")}, path)
    solver = make(train=0)
    solver.load(tmp_path / "theirs", "latest", training=False)
    assert same_tensors(dict(solver.networks["net_G"].state_dict()), dict(weights))

    network = UNet(32, 4, norm="instance")
    (tmp_path / "older").mkdir()
    statistics = {"model.model.1.model.2.running_mean": torch.ones(8)}
    torch.save({**network.state_dict(), **statistics}, tmp_path / "older/5_net_G.pth")
    solver = make(train=0, network={"norm": "instance"})
    solver.load(tmp_path / "older", "latest", training=False)
    assert same_tensors(dict(solver.networks["net_G"].state_dict()), dict(network.state_dict()))


def test_of_many_epochs_the_latest_is_taken(make, tmp_path):
    folder = tmp_path / "theirs"
    for epoch in ("5", "10"):
        write_files(folder, epoch)
    marked = torch.load(folder / "10_net_G.pth")
    marked["model.model.3.bias"] += 1
    torch.save(marked, folder / "10_net_G.pth")
    solver = make(train=0)
    for name in ("10_net_G.pth", "latest_net_G.pth"):
        (folder / "10_net_G.pth").rename(folder / name)
        assert solver.load(folder, "latest", training=False) == 0
        loaded = solver.networks["net_G"].state_dict()
        assert torch.equal(loaded["model.model.3.bias"], marked["model.model.3.bias"])


def test_wrong_files_are_refused_in_one_line(make, tmp_path):
    folder = tmp_path / "theirs"
    write_files(folder)
    with pytest.raises(CheckpointError, match="is of iteration 0, not 7"):
        make(train=0, test={"test_path": str(folder), "test_iters": 7}).test()
    with pytest.raises(CheckpointError, match="does not fit the config's resolution and network"):
        make(train=0, resolution=64, test={"test_path": str(folder)}).test()
    (folder / "latest_net_G.pth").rename(folder / "latest_net_G_A.pth")
    with pytest.raises(CheckpointError, match="no checkpoint of this program"):
        make(train=0, test={"test_path": str(folder)}).test()
    (folder / "latest_net_D.pth").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        make(train=0, test={"test_path": str(folder)}).test()


def test_impossible_sizes_and_unpaired_data_are_refused(make, mixed_folder):
    with pytest.raises(ConfigError, match="a multiple of 16"):
        make(resolution=40)
    with pytest.raises(RunError, match="learns from pairs"):
        make(dataset="Folders", path_to_data=str(mixed_folder))


def test_bf16_trains(make):
    solver = make(precision="bf16")
    losses = solver.train_step(batch_of(solver), 1)
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())


def test_compile_reaches_both_players(make, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: compiled.append(network))
    solver = make(compile=True)
    assert compiled == [solver.model.net_G, solver.networks["net_D"]]
