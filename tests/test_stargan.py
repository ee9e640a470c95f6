"""StarGAN's losses, gradients, files and runs, against plain computations."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from attribute_toys import NETWORKS, attribute_solver
from conftest import restored, same_tensors
from drit_toys import check_resumes, hold_still, tensors, toy_batch, toy_pictures
from fakes import digits_m
from looking import numbers

from configs.load import validate
from dataloader.domains import attribute_vectors
from models.stargan import Discriminator, DomainStarGAN, Generator, StarGAN, likeliest
from solvers.losses import gradient_penalty
from solvers.run.checkpoint import CheckpointError
from solvers.run.folder import RunError
from solvers.stargan import KNOWN, StarGANSolver


@pytest.fixture
def float64(monkeypatch):
    """Everything in float64, in which two right computations agree closely."""
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    yield
    torch.set_default_dtype(torch.float32)


def domain_solver(pictures, run_dir, **sections):
    """A tiny solver on what `pictures(split)` gives."""

    class Toy(StarGANSolver):
        def open_split(self, split):
            return pictures(split)

        open_alone = open_split

    training = {"max_iters": 4, "batch_size": 2, "print_freq": 2, **sections.pop("training", {})}
    test = {"after_training": False, "classifier_iterations": 2, "extractors": [], **sections.pop("test", {})}
    top = {"id": "toy", "model": "StarGAN", "dataset": "Folders", "resolution": 32, "device": "cpu"}
    top |= {"threads": 1, "run_dir": str(run_dir), "network": NETWORKS, **sections}
    return Toy(validate({**top, "training": training, "test": test}, "toy"))


def three_kinds(split: str):
    return toy_pictures(6 if split == "train" else 5, (32, 32), 3)


# The networks, written down once more


def plain_norm(w: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    """Each channel of each image to mean 0 and variance 1, then scaled and shifted."""
    mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
    scaled = (x - mean) / (var + 1e-5).sqrt()
    return scaled * w[f"{name}.weight"].view(1, -1, 1, 1) + w[f"{name}.bias"].view(1, -1, 1, 1)


def plain_generator(w: dict, x: torch.Tensor, wanted: torch.Tensor, blocks: int) -> torch.Tensor:
    maps = torch.ones(len(x), wanted.shape[1], *x.shape[2:], dtype=x.dtype) * wanted[:, :, None, None]
    x = torch.relu(plain_norm(w, "main.1", F.conv2d(torch.cat((x, maps), 1), w["main.0.weight"], padding=3)))
    for place in (3, 6):
        x = F.conv2d(x, w[f"main.{place}.weight"], stride=2, padding=1)
        x = torch.relu(plain_norm(w, f"main.{place + 1}", x))
    for block in (f"main.{9 + number}.main" for number in range(blocks)):
        y = F.conv2d(x, w[f"{block}.0.weight"], padding=1)
        y = F.conv2d(torch.relu(plain_norm(w, f"{block}.1", y)), w[f"{block}.3.weight"], padding=1)
        x = x + plain_norm(w, f"{block}.4", y)
    for place in (9 + blocks, 12 + blocks):
        x = F.conv_transpose2d(x, w[f"main.{place}.weight"], stride=2, padding=1)
        x = torch.relu(plain_norm(w, f"main.{place + 1}", x))
    return torch.tanh(F.conv2d(x, w[f"main.{15 + blocks}.weight"], padding=3))


def plain_judge(w: dict, x: torch.Tensor, layers: int) -> tuple[torch.Tensor, torch.Tensor]:
    for place in range(0, 2 * layers, 2):
        x = F.conv2d(x, w[f"main.{place}.weight"], w[f"main.{place}.bias"], stride=2, padding=1)
        x = torch.where(x > 0, x, 0.01 * x)
    of_all = (w["conv2.weight"][None] * x[:, None]).sum((2, 3, 4))  # the head sees the whole map
    return F.conv2d(x, w["conv1.weight"], padding=1), of_all


def plain_penalty(w: dict, real: torch.Tensor, made: torch.Tensor, layers: int, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    share = torch.rand(len(real), 1, 1, 1)
    between = (share * real + (1 - share) * made).requires_grad_()
    out = plain_judge(w, between, layers)[0]
    gradient = torch.autograd.grad(out, between, torch.ones_like(out), create_graph=True)[0]
    return ((gradient.square().sum((1, 2, 3)).sqrt() - 1) ** 2).mean()


def plain_classification(logits: torch.Tensor, truth: torch.Tensor, exclusive: bool) -> torch.Tensor:
    if exclusive:
        return -(logits.softmax(1).log() * truth).sum(1).mean()
    p = 1 / (1 + torch.exp(-logits))
    return -(truth * p.log() + (1 - truth) * (1 - p).log()).sum() / len(truth)


@pytest.mark.parametrize("kind", ["attributes", "exclusive", "domains"])
def test_losses_and_both_players_gradients_equal_a_plain_rebuild(kind, float64, monkeypatch, tmp_path):
    training = {"lambda_cls": 1.5, "lambda_rec": 7.0, "lambda_gp": 3.0, "batch_size": 2}
    if kind == "domains":
        solver = domain_solver(three_kinds, tmp_path, training=training)
    else:
        solver = attribute_solver("StarGAN", exclusive_only=kind == "exclusive", training=training)
    hold_still(solver)
    monkeypatch.setattr("solvers.stargan.gradient_penalty", seeded_penalty)
    g, d = tensors(solver.model.G), tensors(solver.model.D)
    batch, count = toy_batch(solver, 4), 4
    if kind == "domains":
        x = torch.cat([images.double() for images in batch.images])
        have = torch.eye(3).repeat_interleave(count, 0)
    else:
        x, have = batch.images[0], attribute_vectors(batch.labels[0], solver.model.attributes)
    torch.manual_seed(1)
    losses = solver.train_step(batch, 5)
    torch.manual_seed(1)
    want = have[torch.randperm(len(have))]
    assert (want != have).any() and torch.equal(want.sum(0), have.sum(0))

    made = plain_generator(g, x, want, 1)
    on_real, logits = plain_judge(d, x, 4)
    on_made, _ = plain_judge(d, made.detach(), 4)
    alone = kind != "attributes"
    dis = {"dis_real": -on_real.mean(), "dis_fake": on_made.mean()}
    dis["dis_cls"] = plain_classification(logits, have, alone)
    dis["gradient_penalty"] = plain_penalty(d, x, made.detach(), 4, 7)
    dis["dis"] = dis["dis_real"] + dis["dis_fake"] + 1.5 * dis["dis_cls"] + 3 * dis["gradient_penalty"]
    on_made, logits = plain_judge(d, made, 4)
    gen = {"adv": -on_made.mean(), "cls": plain_classification(logits, want, alone)}
    gen["rec"] = (plain_generator(g, made, have, 1) - x).abs().mean()
    gen["total"] = gen["adv"] + 1.5 * gen["cls"] + 7 * gen["rec"]
    wanted = {name: loss.item() for name, loss in (dis | gen).items()}
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(wanted, rel=1e-9)
    for weights, loss in ((d, dis["dis"]), (g, gen["total"])):
        gradients = torch.autograd.grad(loss, list(weights.values()))
        assert sum(gradient.abs().sum() for gradient in gradients) > 0
        for (name, parameter), gradient in zip(weights.items(), gradients):
            assert torch.allclose(parameter.grad, gradient, rtol=1e-6, atol=1e-10), name


def seeded_penalty(judge, real, made):
    """The one of solvers/losses.py, which is tested there, at places that are always the same."""
    torch.manual_seed(7)
    return gradient_penalty(judge, real, made)


def test_the_penaltys_gradient_equals_one_by_differences(float64):
    solver = attribute_solver("StarGAN")
    batch = toy_batch(solver, 3)
    x, made = batch.images[0], batch.images[0].flip(0) * 0.5
    weight = solver.model.D.main[2].weight
    (found,) = torch.autograd.grad(seeded_penalty(solver.realness, x, made), weight)
    for place in ((0, 0, 1, 2), (5, 3, 0, 0), (7, 1, 3, 3)):
        ends = []
        for step in (1e-5, -1e-5):
            weight.data[place] += step
            ends.append(seeded_penalty(solver.realness, x, made).item())
            weight.data[place] -= step
        assert found[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


# Who learns when


def test_the_generator_learns_every_n_critic_th_iteration_and_the_discriminator_always():
    solver = attribute_solver("StarGAN", training={"n_critic": 3, "max_iters": 8})
    learnt = []
    for iteration in range(1, 7):
        before = {name: [p.clone() for p in solver.model.get_submodule(name).parameters()] for name in "GD"}
        solver.set_time(iteration)
        losses = solver.train_step(toy_batch(solver, 3), iteration)
        after = {name: list(solver.model.get_submodule(name).parameters()) for name in "GD"}
        still = {name: same_tensors(before[name], after[name]) for name in "GD"}
        assert still == {"G": iteration % 3 != 0, "D": False}
        learnt.append("rec" in losses)
        assert all(loss.isfinite() and not loss.requires_grad for loss in losses.values())
    assert learnt == [False, False, True] * 2


def test_an_image_is_made_once_for_both_players():
    solver, calls = attribute_solver("StarGAN"), []
    solver.model.G.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    solver.train_step(toy_batch(solver), 4)
    assert calls == [False]
    solver.train_step(toy_batch(solver), 5)
    assert calls == [False, True, True]  # made, and made back


def test_the_discriminators_learning_rate_has_a_scale_of_its_own():
    solver = attribute_solver("StarGAN", training={"lr": 1e-3, "dis_lr_scale": 0.25, "max_iters": 10})
    for iteration, factor in ((1, 1), (5, 1), (8, 0.6)):
        solver.set_time(iteration)
        rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in solver.optimizers.items()}
        assert rates == pytest.approx({"G": 1e-3 * factor, "D": 2.5e-4 * factor})


@pytest.mark.parametrize("kind", ["attributes", "domains"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_goes_on_between_two_steps_of_the_generator_as_if_it_had_never_stopped(kind, precision, tmp_path):
    def make(name: str, **training):
        options = {"run_dir": str(tmp_path / name), "precision": precision, "training": training}
        if kind == "domains":
            return domain_solver(three_kinds, **options)
        return attribute_solver("StarGAN", **options)

    again = check_resumes(make, tmp_path, stopped=7, end=10)
    if kind == "attributes":
        assert torch.equal(again.model.known, make("third").model.known)


def test_bf16_is_what_the_networks_run_in_and_losses_are_float32():
    solver, seen = attribute_solver("StarGAN", precision="bf16"), []
    solver.model.D.conv1.register_forward_hook(lambda *a: seen.append(a[2].dtype))
    losses = solver.train_step(toy_batch(solver), 5)
    assert set(seen) == {torch.bfloat16} and len(seen) == 3
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    assert all(p.grad.isfinite().all() for p in solver.model.parameters())


def test_compiled_networks_are_never_asked_to_go_backward_twice(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: compiled.append(network))
    solver = attribute_solver("StarGAN", compile=True)
    assert compiled == [solver.model.G, solver.model.D]
    calls = []
    solver.model.D._compiled_call_impl = lambda x: calls.append(len(x)) or solver.model.D.forward(x)
    solver.train_step(toy_batch(solver, 2), 5)
    assert calls == [4, 2]  # real and made ones, and the generator's


# The networks' shapes


@pytest.mark.parametrize(
    ("size", "layers", "head"),
    [
        ((128, 128), 6, (2, 2)),
        ((256, 128), 6, (4, 2)),
        ((256, 256), 6, (4, 4)),
        ((32, 32), 4, (2, 2)),
        ((36, 64), 4, (2, 4)),
        ((64, 124), 5, (2, 3)),
    ],
)
def test_the_discriminator_halves_down_to_two_places_and_its_head_covers_what_is_left(size, layers, head):
    judge = Discriminator(size, 5, width=1)
    assert len(judge.main) == 2 * layers and tuple(judge.conv2.weight.shape[2:]) == head
    real, logits = judge(torch.randn(2, 3, *size))
    assert real.shape == (2, 1, *head) and logits.shape == (2, 5)


def test_more_halvings_than_the_image_has_are_refused():
    assert Discriminator(32, 5, width=1, layers=5).conv2.weight.shape[2:] == (1, 1)
    with pytest.raises(RunError, match=r"32 x 32 cannot be halved 6 times \(dis_layers\)"):
        attribute_solver("StarGAN", network={"dis_layers": 6})


def test_default_parameters_are_as_many_as_in_the_authors_networks():
    """Counted by hand, layer by layer, for CelebA's five attributes."""
    conv = 8 * 64 * 49 + 64 * 128 * 16 + 128 * 256 * 16 + 12 * 256 * 256 * 9
    conv += 256 * 128 * 16 + 128 * 64 * 16 + 64 * 3 * 49
    norms = 2 * (64 + 128 + 256 + 12 * 256 + 128 + 64)
    assert sum(p.numel() for p in Generator(5).parameters()) == conv + norms
    widths = [3, 64, 128, 256, 512, 1024, 2048]
    halvings = sum(a * b * 16 + b for a, b in pairwise(widths))
    assert sum(p.numel() for p in Discriminator(128, 5).parameters()) == halvings + 2048 * (9 + 5 * 4)


def test_attributes_are_constant_maps_beside_the_colours():
    generator, seen = Generator(3, 4, 1), []
    generator.main[0].register_forward_hook(lambda *a: seen.append(a[1][0]))
    image, wanted = torch.randn(2, 3, 32, 36), torch.tensor([[0.0, 1, 0.5], [1, 0, 0]])
    assert generator(image, wanted).shape == image.shape
    assert torch.equal(seen[0][:, :3], image)
    for item in range(2):
        for number in range(3):
            assert (seen[0][item, 3 + number] == wanted[item, number]).all()


# The verbs


def test_a_style_is_what_the_discriminator_reads_with_one_of_each_exclusive_group():
    logits = torch.tensor([[-3.0, -1, -2, 0.5], [2, 1, 3, -0.5]])
    assert likeliest(logits, ()).tolist() == [[0, 0, 0, 1], [1, 1, 1, 0]]
    assert likeliest(logits, ((0, 1, 2),)).tolist() == [[0, 1, 0, 1], [0, 0, 1, 0]]
    assert likeliest(logits, ((3, 0), (1, 2))).tolist() == [[0, 1, 0, 1], [1, 0, 1, 0]]

    known = torch.eye(4)[:2]
    model = StarGAN(32, ("d",), tuple("abcd"), known, ((0, 1, 2),), base_width=2, dis_width=2).eval()
    image, want = torch.randn(3, 3, 32, 32), torch.tensor([[0.0, 1, 0, 1]] * 3)
    style = model.encode_style(image, 0)
    assert torch.equal(style[:, 3] > 0, model.D(image)[1][:, 3] > 0) and (style[:, :3].sum(1) == 1).all()
    assert model.encode_content(image, 0) is image
    assert torch.equal(model.edit(image, 0, style, want), model.G(image, want))
    assert torch.equal(model.reconstruct(image, 0), model.G(image, style))
    assert model.directions == ((0, 0),) and model.rebuilds(0)
    drawn = model.sample_style(50, 0, torch.Generator().manual_seed(0))
    assert {tuple(row) for row in drawn.tolist()} == {tuple(row) for row in known.tolist()}


def test_a_domain_is_one_attribute_and_goes_to_every_domain_and_itself():
    model = DomainStarGAN(32, ("a", "b", "c"), base_width=2, dis_width=2).eval()
    image = torch.randn(2, 3, 32, 32)
    assert len(model.directions) == 9 and not model.takes_style and all(map(model.rebuilds, range(3)))
    for domain in range(3):
        want = torch.zeros(2, 3)
        want[:, domain] = 1
        assert torch.equal(model.translate(image, 0, domain), model.G(image, want))


# Runs


def test_a_checkpoint_holds_the_known_attributes_of_training(tmp_path):
    solver = attribute_solver("StarGAN", run_dir=str(tmp_path / "run"))
    known = {tuple(row) for row in solver.model.known.tolist()}
    labels = solver.train_set.at(np.arange(12)).labels[0]
    assert known == {tuple(row) for row in attribute_vectors(labels, solver.model.attributes).tolist()}
    assert len(solver.model.known) == KNOWN
    solver.train()
    tested = attribute_solver("StarGAN", train=0, run_dir=str(tmp_path / "run"))
    assert not torch.equal(tested.model.known, solver.model.known)  # of the test images, until it is loaded
    tested.load(tmp_path / "run", "latest", training=False)
    assert torch.equal(tested.model.known, solver.model.known)


def test_it_learns_to_change_the_ink_and_the_background(tmp_path):
    training = {"max_iters": 240, "n_critic": 2, "lr": 3e-3, "batch_size": 6}
    solver = attribute_solver("StarGAN", run_dir=str(tmp_path), training=training, network={"base_width": 8})
    solver.train()
    model, batch = solver.model.eval(), toy_batch(solver, 10)
    x, have = batch.images[0], attribute_vectors(batch.labels[0], model.attributes)
    want = torch.cat((have[:, :3].roll(1, 1), 1 - have[:, 3:]), 1)
    with torch.no_grad():
        made = model.edit(x, 0, have, want)
        behind = made[:, :, 0].mean((1, 2))
    assert ((behind > -0.2) == (want[:, 3] > 0)).all()


def test_several_domains_are_trained_and_measured_as_those_of_any_model(tmp_path):
    parts = {"train": (0, 60), "test": (60, 100)}
    cuts = {"extractors": ["classifier"], "adaptation": {"iterations": 2, "images": 20}}
    training = {"sample_freq": 4}
    solver = domain_solver(
        lambda split: digits_m(*parts[split]),
        tmp_path,
        training=training,
        test={"after_training": True, **cuts},
    )
    solver.train()
    found = json.loads((tmp_path / "results/metrics.json").read_text())
    ways = {f"{a}_to_{b}" for a in ("mnist", "mnist_m") for b in ("mnist", "mnist_m")}
    for start in ("translation/digit", "kid/classifier"):
        assert {f"{start}/{way}" for way in ways} <= found.keys()
    assert {"reconstruction/l1/mnist", "adaptation/x1"} <= found.keys()
    for folder in ("results", "samples/000004"):
        assert {path.stem for path in (tmp_path / folder).glob("*.png")} == ways


def test_data_without_attributes_and_without_domains_are_refused(monkeypatch):
    monkeypatch.setattr("attribute_toys.Inks.attributes", ())
    with pytest.raises(RunError, match="one domain without attributes") as error:
        attribute_solver("StarGAN")
    assert "\n" not in str(error.value)


# The authors' files


def write_files(folder, attributes: int = 4, age: str = "200000", judge: bool = True) -> dict[str, dict]:
    """G and D as the authors' code saves them: a bare state_dict each, G's with the running statistics of
    its norms, which are far from any image's."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(3)
    networks = {"G": Generator(attributes, 4, 1), "D": Discriminator(32, attributes, 4)}
    states = {}
    for name, network in networks.items():
        for parameter in network.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
        states[name] = network.state_dict()
    saved = dict(states["G"])
    for name, module in networks["G"].named_modules():
        if isinstance(module, torch.nn.InstanceNorm2d):
            saved[f"{name}.running_mean"] = torch.full((module.num_features,), 30.0)
            saved[f"{name}.running_var"] = torch.full((module.num_features,), 9.0)
            saved[f"{name}.num_batches_tracked"] = torch.tensor(200_000)
    torch.save(saved, folder / f"{age}-G.pth")
    if judge:
        torch.save(states["D"], folder / f"{age}-D.pth")
    return states


@pytest.mark.parametrize("named", ["folder", "file", "other name"])
def test_the_authors_generator_makes_the_images_of_a_plain_one(tmp_path, named):
    states = write_files(tmp_path / "theirs", judge=named != "other name")
    path = tmp_path / "theirs"
    if named != "folder":
        path = path / "200000-G.pth"
    if named == "other name":
        path = path.rename(tmp_path / "faces.pth")
    solver = attribute_solver("StarGAN", train=0)
    assert solver.load(path, "latest", training=False) == 0
    x, want = toy_batch(solver, 3).images[0], torch.tensor([[0.0, 1, 0, 1]] * 3)
    weights = {name: tensor.double() for name, tensor in states["G"].items()}
    plain = plain_generator(weights, x.double(), want.double(), 1)
    with torch.no_grad():
        made = solver.model.eval().edit(x, 0, want, want)
    assert plain.std() > 0.05 and (made - plain).abs().max() < 1e-4
    assert solver.model.has_style == (named != "other name")


def test_of_the_generator_alone_no_styles_are_read(tmp_path):
    write_files(tmp_path / "theirs", judge=False)
    solver = attribute_solver("StarGAN", train=0, run_dir=str(tmp_path / "run"))
    solver.load(tmp_path / "theirs", "latest", training=False)
    model = solver.model
    assert not model.has_style and model.has_style_prior and "no D beside G" in model.missing["has_style"]
    assert not model.rebuilds(0)
    assert not any("reconstruction" in name for name in numbers(model, solver.test_set, "diversity"))


def test_training_goes_on_from_the_authors_files_with_new_optimisers(tmp_path, capsys):
    states = write_files(tmp_path / "theirs", age="9")
    states = write_files(tmp_path / "theirs", age="10")
    broken = {name: tensor + 1 for name, tensor in states["G"].items()}
    torch.save(broken, tmp_path / "theirs/9-G.pth")  # an older one, which is not taken
    source = {"resume_iters": "latest", "restored_model_path": str(tmp_path / "theirs")}
    solver = attribute_solver("StarGAN", training=source, run_dir=str(tmp_path / "on"))
    known = solver.model.known.clone()
    assert restored(solver) == 0
    for name in "GD":
        assert same_tensors(dict(getattr(solver.model, name).state_dict()), dict(states[name]))
        assert not solver.optimizers[name].state_dict()["state"]
    assert torch.equal(solver.model.known, known)
    solver.train()
    assert (tmp_path / "on/models/000004-checkpoint.pt").exists()
    (tmp_path / "theirs/10-D.pth").unlink()
    restored(attribute_solver("StarGAN", training=source, run_dir=str(tmp_path / "alone")))
    assert "no D beside G" in capsys.readouterr().out


def test_wrong_files_are_refused_in_one_line(tmp_path):
    write_files(tmp_path / "five", attributes=5)
    with pytest.raises(CheckpointError, match="does not fit the config's resolution and network"):
        attribute_solver("StarGAN", train=0).load(tmp_path / "five", "latest", training=False)
    (tmp_path / "five/200000-G.pth").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint of this program"):
        attribute_solver("StarGAN", train=0).load(tmp_path / "five", "latest", training=False)
