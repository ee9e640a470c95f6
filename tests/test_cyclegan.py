"""CycleGAN's step, pools and runs, against plain computations."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import command, write_config
from drit_toys import check_resumes, hold_still, tensors, toy_batch, toy_pictures
from fakes import digits_m, three_domains
from test_pix2pix import wanted_of

from configs.load import ConfigError, validate
from models.cyclegan import CycleGAN, ImagePool
from solvers import make_solver, solver_class
from solvers.run.checkpoint import load_checkpoint
from solvers.run.folder import RunError

TINY = {"base_width": 3, "residual_blocks": 1, "dis_width": 4}


def values(folder, run_dir, **more) -> dict:
    """The config of a tiny experiment; more: key=..., training={...}, network={...}, test={...}."""
    training = {"max_iters": 4, "batch_size": 2, "print_freq": 2, "sample_freq": 4, "pool_size": 3}
    test = {"batch_size": 128, "after_training": False, "extractors": [], "classifier_iterations": 2}
    sections = {"training": training, "test": test, "network": TINY}
    sections = {key: {**default, **more.pop(key, {})} for key, default in sections.items()}
    top = {"id": "tiny", "model": "CycleGAN", "dataset": "Digits-CDCB", "resolution": 32, "device": "cpu"}
    return {**top, "path_to_data": str(folder), "run_dir": str(run_dir), "threads": 1, **sections, **more}


@pytest.fixture
def make(digits_folder, tmp_path):
    """A solver: make("name", ...); with `splits`, of the data sets of that dict instead of the digits'."""

    def made(name: str = "run", splits: dict | None = None, **more):
        config = validate(values(digits_folder, tmp_path / name, **more), "tiny")
        if splits is None:
            return make_solver(config)

        class Toy(solver_class(config)):
            def open_split(self, split: str):
                return splits[split]

            open_alone = open_split

        return Toy(config)

    return made


# The networks, layer by layer as the authors number them


def mirrored(x: torch.Tensor, border: int) -> torch.Tensor:
    rows, columns = (np.pad(np.arange(n), border, mode="reflect") for n in x.shape[2:])
    return x[:, :, rows][..., columns]


def normed(x: torch.Tensor) -> torch.Tensor:
    mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt()


def plain_generator(w: dict, x: torch.Tensor) -> torch.Tensor:
    blocks = sum(name.endswith("conv_block.1.weight") for name in w)

    def conv(x: torch.Tensor, name: str, stride: int = 1, padding: int = 0) -> torch.Tensor:
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, padding)

    x = normed(conv(mirrored(x, 3), "model.1")).clamp(min=0)
    x = normed(conv(x, "model.4", 2, 1)).clamp(min=0)
    x = normed(conv(x, "model.7", 2, 1)).clamp(min=0)
    for number in range(10, 10 + blocks):
        inner = normed(conv(mirrored(x, 1), f"model.{number}.conv_block.1")).clamp(min=0)
        x = x + normed(conv(mirrored(inner, 1), f"model.{number}.conv_block.5"))
    for number in (10 + blocks, 13 + blocks):
        weight, bias = w[f"model.{number}.weight"], w[f"model.{number}.bias"]
        whole = F.conv_transpose2d(x, weight, bias, stride=2)  # a row and a column too many at the start
        x = normed(whole[:, :, 1:, 1:]).clamp(min=0)
    return conv(mirrored(x, 3), f"model.{17 + blocks}").tanh()


def plain_judge(w: dict, x: torch.Tensor) -> torch.Tensor:
    """Of one halving."""
    x = F.leaky_relu(F.conv2d(x, w["model.0.weight"], w["model.0.bias"], 2, 1), 0.2)
    x = F.leaky_relu(normed(F.conv2d(x, w["model.2.weight"], w["model.2.bias"], 1, 1)), 0.2)
    return F.conv2d(x, w["model.5.weight"], w["model.5.bias"], 1, 1)


class ListedPool:
    """The published rule: lists, and one image at a time."""

    def __init__(self, size: int):
        self.size, self.images = size, []

    def swap(self, images, coins, places) -> torch.Tensor:
        given = []
        for image, coin, place in zip(images, coins.tolist(), places.tolist()):
            if len(self.images) < self.size:
                self.images.append(image)
                given.append(image)
            elif coin:
                given.append(self.images[place])
                self.images[place] = image
            else:
                given.append(image)
        return torch.stack(given)


@pytest.mark.parametrize(
    ("kind", "identity", "count", "pool"),
    [("lsgan", 0.5, 1, 2), ("lsgan", 0, 3, 4), ("vanilla", 0.3, 2, 0)],
)
def test_losses_and_gradients_equal_a_plain_rebuild(make, kind, identity, count, pool, float64):
    """With a pass of its own for every image that is made, and while the pools fill and swap."""
    training = {"gan_mode": kind, "lambda_A": 7.0, "lambda_B": 3.0, "lambda_identity": identity}
    training |= {"pool_size": pool, "batch_size": count}
    pictures = dict.fromkeys(("train", "test"), toy_pictures(20, (32, 32), 2))
    solver = make(dataset="Folders", splits=pictures, training=training)
    hold_still(solver)
    torch.manual_seed(1)
    for network in solver.networks.values():  # first weights make images that are almost grey
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    names = ("net_G_A", "net_G_B", "net_D_A", "net_D_B")
    to_b, to_a, dis_b, dis_a = weights = [tensors(solver.networks[name]) for name in names]
    listed, swaps = [ListedPool(pool), ListedPool(pool)], 0
    for iteration in range(1, 7):
        index = np.arange(count) + count * (iteration - 1)
        batch = solver.test_set.at(index, index)
        a, b = (x.double() for x in batch.images)
        losses = solver.train_step(batch._replace(images=(a, b)), iteration)
        made_b, made_a = plain_generator(to_b, a), plain_generator(to_a, b)
        shown, draw = [made_b.detach(), made_a.detach()], solver.draws(iteration)
        for side in range(2 if pool else 0):
            coins = torch.rand(count, generator=draw) > 0.5
            places = torch.randint(pool, (count,), generator=draw)
            new = shown[side]
            shown[side] = listed[side].swap(new, coins, places)
            swaps += int((shown[side] != new).any())
        wanted = {
            "adv_A": wanted_of(kind, plain_judge(dis_b, made_b), True),
            "adv_B": wanted_of(kind, plain_judge(dis_a, made_a), True),
            "cycle_A": (plain_generator(to_a, made_b) - a).abs().mean(),
            "cycle_B": (plain_generator(to_b, made_a) - b).abs().mean(),
        }
        total = wanted["adv_A"] + wanted["adv_B"] + 7 * wanted["cycle_A"] + 3 * wanted["cycle_B"]
        if identity:
            wanted["identity_A"] = (plain_generator(to_a, a) - a).abs().mean()
            wanted["identity_B"] = (plain_generator(to_b, b) - b).abs().mean()
            total = total + identity * (7 * wanted["identity_A"] + 3 * wanted["identity_B"])
        for side, dis, real, fake in (("A", dis_b, b, shown[0]), ("B", dis_a, a, shown[1])):
            on_real = wanted_of(kind, plain_judge(dis, real), True)
            wanted[f"dis_{side}"] = (on_real + wanted_of(kind, plain_judge(dis, fake), False)) / 2
        wanted["total"] = total
        assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
            {name: loss.item() for name, loss in wanted.items()}, rel=1e-9
        )
    assert (swaps > 0) == (pool > 0)
    for network, loss in zip(weights, (total, total, wanted["dis_A"], wanted["dis_B"])):
        gradients = torch.autograd.grad(loss, list(network.values()), retain_graph=True)
        assert sum(gradient.abs().sum() for gradient in gradients) > 0
        for (name, parameter), gradient in zip(network.items(), gradients):
            assert torch.allclose(parameter.grad, gradient, rtol=1e-7, atol=1e-10), name


@pytest.mark.parametrize(("size", "batch"), [(1, 1), (1, 3), (5, 2), (4, 9)])
def test_a_pool_keeps_and_gives_back_by_the_published_rule(size, batch):
    """Also where images of one batch meet in one place."""
    pool, listed, draw = ImagePool(size, (1, 2)), ListedPool(size), torch.Generator().manual_seed(0)
    olds = 0
    for step in range(60):
        images = torch.arange(batch * 6.0).view(batch, 3, 1, 2) + 6 * batch * step
        coins = torch.rand(batch, generator=draw) > 0.5
        places = torch.randint(size, (batch,), generator=draw)
        given = pool.swap(images, coins, places)
        assert torch.equal(given, listed.swap(images, coins, places))
        assert pool.count.item() == len(listed.images) == min(size, batch * (step + 1))
        assert torch.equal(pool.images[: pool.count.item()], torch.stack(listed.images))
        olds += int((given != images).flatten(1).any(dim=1).sum())
    assert 0.3 < olds / (60 * batch) < 0.6


def test_the_draws_of_a_pool_differ_by_iteration_and_seed_alone(make):
    drawn = [torch.rand(4, generator=solver.draws(n)) for solver in (make(), make(seed=1)) for n in (1, 2, 1)]
    assert torch.equal(drawn[0], drawn[2]) and torch.equal(drawn[3], drawn[5])
    assert not any(torch.equal(drawn[0], other) for other in (drawn[1], drawn[3], drawn[4]))


@pytest.mark.parametrize(("identity", "images"), [(0.5, [4, 2]), (0, [2, 2])])
def test_no_pass_is_made_twice(make, identity, images):
    solver = make(training={"lambda_identity": identity})
    seen = {name: [] for name in ("net_G_A", "net_G_B", "net_D_A", "net_D_B")}
    for name, calls in seen.items():
        solver.networks[name].register_forward_hook(lambda _, given, __, to=calls: to.append(len(given[0])))
    losses = solver.train_step(toy_batch(solver), 1)
    assert seen == {"net_G_A": images, "net_G_B": images, "net_D_A": [2, 4], "net_D_B": [2, 4]}
    assert ("identity_A" in losses) == (identity > 0)


def test_the_learning_rate_falls_to_zero_over_the_second_half(make):
    solver = make(training={"max_iters": 8, "lr": 0.4})
    rates = []
    for iteration in range(1, 9):
        solver.set_time(iteration)
        rates.append([optimizer.param_groups[0]["lr"] for optimizer in solver.optimizers.values()])
    assert rates == [pytest.approx([rate] * 2) for rate in (0.4, 0.4, 0.4, 0.4, 0.4, 0.3, 0.2, 0.1)]


@pytest.mark.parametrize(("side", "blocks"), [(32, 6), (252, 6), (256, 9), ((512, 128), 6), ((256, 320), 9)])
def test_residual_blocks_follow_the_resolution(side, blocks):
    with torch.device("meta"):
        names = dict(CycleGAN(side).net_G_A.named_parameters())
    assert sum(name.endswith("conv_block.5.weight") for name in names) == blocks
    if blocks == 9:  # as the authors' resnet_9blocks, counted by hand
        outer = [(3, 64, 49), (64, 128, 9), (128, 256, 9), (256, 128, 9), (128, 64, 9), (64, 3, 49)]
        wanted = sum(a * b * k + b for a, b, k in outer + 18 * [(256, 256, 9)])
        assert sum(p.numel() for p in names.values()) == wanted == 11_378_179


# Whole runs


@pytest.mark.parametrize(
    ("resolution", "batch", "precision"), [(32, 1, "fp32"), ([36, 48], 3, "fp32"), (32, 2, "bf16")]
)
def test_it_resumes_bit_for_bit_with_pools_and_tests(make, tmp_path, resolution, batch, precision):
    size = (32, 32) if resolution == 32 else tuple(resolution)
    splits = {"train": toy_pictures(5, size, 2), "test": toy_pictures(6, size, 2)}

    def solver(name: str, **training):
        training = {"batch_size": batch, **training}
        more = {"resolution": resolution, "precision": precision, "dataset": "Folders"}
        return make(name, splits, training=training, **more)

    again = check_resumes(solver, tmp_path, stopped=3, end=6)
    networks = load_checkpoint(tmp_path / "straight/models/000003-checkpoint.pt")["networks"]
    pools = ("pool_A", "pool_B")
    assert all(networks[n]["count"].item() == 3 and networks[n]["images"].std() > 0 for n in pools)
    assert any(not torch.equal(networks[n]["images"], again.networks[n].images) for n in pools)
    again.test()
    results = tmp_path / "again/results"
    protocol = json.loads((results / "metrics.json").read_text())["protocol"]
    assert protocol["left_out"]["reconstruction"] == "the model rebuilds no image from its codes"
    assert sorted(path.name for path in results.glob("*.png")) == ["A_to_B.png", "B_to_A.png"]
    made = again.model.eval().translate(toy_batch(again).images[1], 1, 0)
    assert made.shape == (2, 3, *size) and made.abs().max() <= 1


def test_the_pool_of_a_checkpoint_matters(make, tmp_path):
    """So that a run that lost it would not be the same run."""
    make("whole", training={"model_save_freq": 2}).train()
    ends = []
    for name in ("kept", "lost"):
        solver = make(
            name, training={"resume_iters": 2, "restored_model_path": str(tmp_path / "whole")}, seed=3
        )
        if name == "lost":
            load = solver.load
            solver.load = lambda *where, load=load, solver=solver: (
                load(*where),
                solver.networks["pool_A"].count.zero_(),
            )[0]
        solver.train()
        ends.append(solver.networks["net_D_A"].state_dict())
    assert not torch.equal(ends[0]["model.0.weight"], ends[1]["model.0.weight"])


def test_pairs_are_measured_both_ways(make, tmp_path):
    solver = make("run", training={"max_iters": 1})
    solver.train()
    solver.test()
    metrics = json.loads((tmp_path / "run/results/metrics.json").read_text())
    protocol = metrics.pop("protocol")
    ways = ("x_to_y", "y_to_x")
    expected = {f"translation/{kind}/{way}" for kind in ("l1", "psnr", "ssim", "digit") for way in ways}
    real = {f"{kind}/real_{domain}" for kind in ("translation/digit", "sharpness") for domain in "xy"}
    assert set(metrics) == {"iteration", *real, *expected, *(f"sharpness/{way}" for way in ways)}
    assert all(map(math.isfinite, metrics.values()))
    assert protocol["left_out"]["retrieval"] == "the content is the image itself, not a code"
    solver.model.eval()
    errors = []
    with torch.no_grad():
        for index in np.array_split(np.arange(len(solver.test_set)), 7):
            x, y = solver.test_set.at(index).images
            errors.append((solver.model.net_G_B(y) - x).abs().mean((1, 2, 3)))
    assert metrics["translation/l1/y_to_x"] == pytest.approx(torch.cat(errors).mean().item(), rel=1e-4)


def test_adaptation_has_one_translation_of_each_image(make, tmp_path):
    splits = {"train": digits_m(0, 60), "test": digits_m(60, 90)}
    test = {"metrics": ["adaptation"], "adaptation": {"iterations": 2, "images": 20, "batch_size": 4}}
    solver = make("run", splits, dataset="MNIST-M", training={"max_iters": 1}, test=test)
    solver.train()
    solver.test()
    metrics = json.loads((tmp_path / "run/results/metrics.json").read_text())
    found = {name for name in metrics if name.startswith("adaptation/")}
    assert found == {"adaptation/source_only", "adaptation/x1", "adaptation/target_only"}
    assert metrics["protocol"]["families"]["adaptation"]["styles"] == "none"


def test_without_a_pool_there_is_none_in_the_checkpoint(make):
    assert sorted(make(training={"pool_size": 0}).networks) == ["net_D_A", "net_D_B", "net_G_A", "net_G_B"]


def test_two_processes_train_what_one_trains(make, digits_folder, tmp_path):
    """Nothing mixes the images of a batch, so that the pools, too, are one process's but for rounding."""
    training = {"max_iters": 4, "lr": 1e-3, "batch_size": 2, "sample_freq": 100}
    make("one", training=training).train()
    config = values(digits_folder, tmp_path / "two", training=training, precision="fp32")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, *command(write_config(config, tmp_path / "two.json"))[1:]],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    checkpoints = [tmp_path / name / "models/000004-checkpoint.pt" for name in ("one", "two")]
    one, two = (load_checkpoint(path)["networks"] for path in checkpoints)
    assert one.keys() == two.keys() and one["pool_A"]["count"].item() == 3
    for name in ("pool_A", "pool_B"):
        assert one[name]["images"].std() > 0
        assert torch.allclose(one[name]["images"], two[name]["images"], atol=1e-3), name


# What is refused


def test_other_numbers_of_domains_and_impossible_sizes_are_refused(make):
    splits = {"train": three_domains(), "test": three_domains()}
    with pytest.raises(RunError, match="translates between two domains; this data set has 3"):
        make(splits=splits, dataset="Folders")
    with pytest.raises(ConfigError, match="a multiple of 4"):
        make(resolution=[32, 50])
    with pytest.raises(ConfigError, match=r'gan_mode: got "wgan"; allowed: "vanilla" or "lsgan"'):
        make(training={"gan_mode": "wgan"})


def test_compile_reaches_every_network(make, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: compiled.append(network))
    solver = make(compile=True)
    assert compiled == [solver.networks[f"net_{kind}"] for kind in ("G_A", "G_B", "D_A", "D_B")]
