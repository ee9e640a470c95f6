"""UNIT's losses, gradients, sharing and runs, against plain computations."""

import json
import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from drit_toys import check_resumes, hold_still, tensors, toy_batch, toy_pictures
from fakes import digits_m
from torch import Tensor

from configs.load import ConfigError, validate
from models.discriminators import MultiScale
from models.unit import UNIT
from solvers import make_solver
from solvers.run.folder import RunError
from solvers.schedules import learning_rate
from solvers.unit import UNITSolver

TINY = {"base_width": 4, "residual_blocks": 2, "dis_width": 4, "dis_scale": 3}


@pytest.fixture
def make(tmp_path):
    """A tiny experiment on photographs, or on what `split` makes: make("name", key=..., training={...})."""

    def made(name: str = "run", domains: int = 2, split=None, **values):
        sections = {
            "training": {"max_iters": 4, "batch_size": 2, "print_freq": 2, "sample_freq": 4},
            "test": {"batch_size": 16, "after_training": False, "extractors": [], "classifier_iterations": 2},
            "network": TINY,
        }
        sections = {key: {**default, **values.pop(key, {})} for key, default in sections.items()}
        top = {"id": "tiny", "model": "UNIT", "dataset": "Folders", "resolution": 32, "device": "cpu"}
        top |= {"run_dir": str(tmp_path / name), "threads": 1}
        config = validate({**top, **sections, **values}, "tiny")

        class Toy(UNITSolver):
            def open_split(self, name: str):
                return split(name) if split else toy_pictures(6, config.size, domains)

        return Toy(config)

    return made


def wear(solver) -> None:
    """Weights unlike those of the start, where biases are zero."""
    torch.manual_seed(1)
    for network in solver.networks.values():
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)


# The networks once more


def normed(x: Tensor, over: tuple[int, ...]) -> Tensor:
    centred = x - x.mean(over, keepdim=True)
    return centred / (centred.square().mean(over, keepdim=True) + 1e-5).sqrt()


def conv(w: dict, name: str, x: Tensor, pad: int, stride: int = 1) -> Tensor:
    x = F.pad(x, (pad,) * 4, mode="reflect")
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride)


def plain_block(w: dict, name: str, x: Tensor) -> Tensor:
    inner = F.relu(normed(conv(w, f"{name}.model.1", x, 1), (2, 3)))
    return x + normed(conv(w, f"{name}.model.5", inner, 1), (2, 3))


def plain_mean(w: dict, x: Tensor, domain: int, own: int, shared: int) -> Tensor:
    for number, (pad, stride) in enumerate(((3, 1), (1, 2), (1, 2))):
        x = F.relu(normed(conv(w, f"own.{domain}.{number}.model.1", x, pad, stride), (2, 3)))
    for number in range(own):
        x = plain_block(w, f"own.{domain}.{3 + number}", x)
    for number in range(shared):
        x = plain_block(w, f"shared.{number}", x)
    return x


def plain_image(w: dict, x: Tensor, domain: int, own: int, shared: int) -> Tensor:
    for number in range(shared):
        x = plain_block(w, f"shared.{number}", x)
    for number in range(own):
        x = plain_block(w, f"own.{domain}.{number}", x)
    for place in (own, own + 5):
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        x = normed(conv(w, f"own.{domain}.{place + 2}", x, 2), (1, 2, 3))
        scale, shift = (w[f"own.{domain}.{place + 3}.{kind}"] for kind in ("weight", "bias"))
        x = F.relu(x * scale + shift)
    return torch.tanh(conv(w, f"own.{domain}.{own + 11}", x, 3))


def plain_logits(w: dict, x: Tensor, scales: int) -> list[Tensor]:
    logits = []
    for scale in range(scales):
        y, number = x, 0
        while f"Diss.{scale}.{number}.model.1.weight" in w:
            y = conv(w, f"Diss.{scale}.{number}.model.1", y, 1, 2)
            y, number = torch.where(y > 0, y, 0.2 * y), number + 1
        logits.append(conv(w, f"Diss.{scale}.{number}", y, 0))
        box = torch.ones(3, 1, 3, 3)
        sums, counts = (F.conv2d(z, box, None, 2, 1, groups=3) for z in (x, torch.ones_like(x)))
        x = sums / counts
    return logits


def distance(logits: list[Tensor], target: float) -> Tensor:
    return sum(((x - target) ** 2).mean() for x in logits)


@pytest.mark.parametrize("shared", [0, 1, 2])
def test_losses_and_every_gradient_equal_a_plain_rebuild(make, shared, float64):
    training = {"adv_weight": 2, "rec_weight": 3, "kl_weight": 5, "cycle_weight": 7, "cycle_kl_weight": 11}
    solver = make(training=training, network={"shared_blocks": shared})
    hold_still(solver)
    wear(solver)
    batch = toy_batch(solver)
    blocks = (2 - shared, shared)
    torch.manual_seed(2)
    losses = solver.train_step(batch, 1)

    enc, dec, dis_a, dis_b = (tensors(solver.networks[name]) for name in ("enc", "dec", "dis_a", "dis_b"))
    a, b = batch.images
    torch.manual_seed(2)
    noises = [torch.randn(2, 16, 8, 8) for _ in range(4)]  # of a, of b, of b's translation, of a's
    h_a, h_b = plain_mean(enc, a, 0, *blocks), plain_mean(enc, b, 1, *blocks)
    z_a, z_b = h_a + noises[0], h_b + noises[1]
    aa, ba = (plain_image(dec, z, 0, *blocks) for z in (z_a, z_b))
    ab, bb = (plain_image(dec, z, 1, *blocks) for z in (z_a, z_b))
    h_ba, h_ab = plain_mean(enc, ba, 0, *blocks), plain_mean(enc, ab, 1, *blocks)
    aba = plain_image(dec, h_ab + noises[2], 0, *blocks)
    bab = plain_image(dec, h_ba + noises[3], 1, *blocks)
    dis = sum(
        distance(plain_logits(w, real, 3), 1) + distance(plain_logits(w, fake.detach(), 3), 0)
        for w, real, fake in ((dis_a, a, ba), (dis_b, b, ab))
    )
    terms = {
        "adv": distance(plain_logits(dis_a, ba, 3), 1) + distance(plain_logits(dis_b, ab, 3), 1),
        "rec": (aa - a).abs().mean() + (bb - b).abs().mean(),
        "kl": (h_a**2).mean() + (h_b**2).mean(),
        "cycle": (aba - a).abs().mean() + (bab - b).abs().mean(),
        "cycle_kl": (h_ab**2).mean() + (h_ba**2).mean(),
    }
    total = sum(weight * term for weight, term in zip((2, 3, 5, 7, 11), terms.values()))
    wanted = {"total": total, "dis": dis, **terms}
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        {name: loss.item() for name, loss in wanted.items()}, rel=1e-9
    )
    for weights, loss in ((dis_a, 2 * dis), (dis_b, 2 * dis), (enc, total), (dec, total)):
        gradients = torch.autograd.grad(loss, list(weights.values()), retain_graph=True)
        assert sum(gradient.abs().sum() for gradient in gradients) > 0
        for (name, parameter), gradient in zip(weights.items(), gradients):
            assert parameter.grad.dtype == torch.float64
            assert torch.allclose(parameter.grad, gradient, rtol=1e-7, atol=1e-9), name


def test_nothing_is_computed_twice(make):
    solver = make()
    calls = []
    for name, network in solver.networks.items():
        network.register_forward_hook(lambda *_, name=name: calls.append(name))
    solver.train_step(toy_batch(solver), 1)
    counts = {name: calls.count(name) for name in solver.networks}
    assert counts == {"enc": 4, "dec": 4, "dis_a": 2, "dis_b": 2}


# What the domains share, and what the authors' code has


def used_by(model: UNIT, domain: int) -> set[str]:
    """The names of the weights that an image of this domain has to do with."""
    model.zero_grad()
    torch.manual_seed(0)
    image = torch.randn(1, 3, 32, 32)
    (model.reconstruct(image, domain) * torch.randn_like(image)).sum().backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("shared", [0, 1, 2])
def test_both_domains_learn_the_blocks_next_to_the_latent_and_no_others(shared):
    model = UNIT(32, base_width=4, residual_blocks=2, shared_blocks=shared).eval()
    a, b = used_by(model, 0), used_by(model, 1)
    assert a | b == {name for name, _ in model.named_parameters()}
    assert len(a) == len(b)
    common = {name.rsplit(".", 3)[0] for name in a & b}
    assert common == {f"{part}.shared.{n}" for part in ("enc", "dec") for n in range(shared)}


def test_a_step_of_one_domain_changes_how_the_other_is_encoded_by_shared_blocks_alone():
    for shared, moves in ((1, True), (0, False)):
        model = UNIT(32, base_width=4, residual_blocks=2, shared_blocks=shared).eval()
        image = torch.randn(1, 3, 32, 32)
        before = model.encode_content(image, 1).detach()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        (model.reconstruct(image, 0) - image).abs().mean().backward()
        optimizer.step()
        assert (not torch.equal(model.encode_content(image, 1), before)) == moves


def convolved(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel**2 + outputs


def test_sizes_are_those_of_the_authors_code():
    residual = 2 * convolved(256, 256, 3)
    encoder = convolved(3, 64, 7) + convolved(64, 128, 4) + convolved(128, 256, 4) + 4 * residual
    decoder = 4 * residual + convolved(256, 128, 5) + 256 + convolved(128, 64, 5) + 128 + convolved(64, 3, 7)
    widths = (3, 64, 128, 256, 512)
    judge = 3 * (sum(convolved(a, b, 4) for a, b in pairwise(widths)) + convolved(512, 1, 1))
    with torch.device("meta"):
        for shared in (0, 1, 4):
            model = UNIT(256, shared_blocks=shared)
            count = sum(p.numel() for p in model.parameters())
            assert count == 2 * (encoder + decoder) - 2 * shared * residual
        assert sum(p.numel() for p in MultiScale(256, 3).parameters()) == judge
        latent = model.encode_content(torch.empty(2, 3, 256, 192), 0)
        assert latent.shape == (2, 256, 64, 48)
        assert model.decode(latent, None, 1).shape == (2, 3, 256, 192)


def test_first_weights_are_kaimings_in_generators_and_small_in_discriminators(make):
    solver = make(network={"base_width": 24, "dis_width": 24})
    for name, network in solver.networks.items():
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d) and layer.weight.numel() > 5000:
                fan_in = layer.weight[0].numel()
                std = math.sqrt(2 / fan_in) if name in ("enc", "dec") else 0.02
                assert layer.weight.std().item() == pytest.approx(std, rel=0.05)
                assert not layer.bias.any()


def test_training_draws_from_a_unit_gaussian_around_the_mean_that_eval_mode_takes():
    model = UNIT(64, base_width=4)
    image = torch.randn(4, 3, 64, 64)
    torch.manual_seed(0)
    with torch.no_grad():
        mean = model.eval().encode_content(image, 0)
        noise = model.train().encode_content(image, 0) - mean
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    with torch.no_grad():
        assert torch.equal(model.eval().encode_content(image, 0), mean)


def test_the_learning_rate_halves_every_100_000_iterations(make):
    training = make().config.training.model_copy(update={"max_iters": 1_000_000})
    for iteration, halvings in ((1, 0), (100_000, 0), (100_001, 1), (250_000, 2), (1_000_000, 9)):
        assert learning_rate(training, iteration) == pytest.approx(1e-4 * 0.5**halvings)


# Runs


@pytest.mark.parametrize(
    ("resolution", "batch", "more"),
    [(32, 1, {}), ([32, 48], 2, {"shared_blocks": 0, "dis_scale": 1})],
)
def test_it_trains_resumes_bit_for_bit_and_tests(make, tmp_path, resolution, batch, more):
    def solver(name: str, **training):
        return make(name, resolution=resolution, training={"batch_size": batch, **training}, network=more)

    again = check_resumes(solver, tmp_path, stopped=2, end=4)
    again.test()
    results = tmp_path / "again/results"
    metrics = json.loads((results / "metrics.json").read_text())
    left_out = metrics.pop("protocol")["left_out"]
    assert all(map(math.isfinite, metrics.values()))
    assert {f"reconstruction/l1/{name}" for name in "AB"} <= metrics.keys()
    assert left_out["diversity"] == "the model has no prior of styles"
    assert {"A_to_B.png", "B_to_A.png"} <= {path.name for path in results.glob("*.png")}


def test_labelled_digits_are_adapted_with_one_translation_and_their_latents_probed(make, tmp_path):
    def split(name: str):
        return digits_m(0, 200) if name == "train" else digits_m(200, 300)

    adaptation = {"iterations": 2, "images": 40}
    solver = make("digits", dataset="MNIST-M", split=split, test={"batch_size": 50, "adaptation": adaptation})
    solver.train()
    solver.test()
    metrics = json.loads((tmp_path / "digits/results/metrics.json").read_text())
    found = {key for key in metrics if key.startswith("adaptation/")}
    assert found == {f"adaptation/{kind}" for kind in ("source_only", "x1", "target_only")}
    assert metrics["protocol"]["families"]["adaptation"]["copies"] == [1]
    assert any(key.startswith("probe") for key in metrics)


def test_paired_data_have_their_latents_retrieved(digits_folder, tmp_path):
    training = {"max_iters": 2, "batch_size": 2}
    test = {"batch_size": 128, "metrics": ["retrieval", "reconstruction"]}
    top = {"id": "tiny", "model": "UNIT", "dataset": "Digits-CDCB", "resolution": 32, "device": "cpu"}
    top |= {"path_to_data": str(digits_folder), "run_dir": str(tmp_path / "pairs"), "threads": 1}
    make_solver(validate({**top, "training": training, "test": test, "network": TINY}, "tiny")).train()
    metrics = json.loads((tmp_path / "pairs/results/metrics.json").read_text())
    assert any(key.startswith("retrieval/shared") for key in metrics)
    assert any(key.startswith("reconstruction/l1") for key in metrics)


def test_it_learns_to_rebuild_images(make):
    training = {"max_iters": 40, "lr": 2e-3, "sample_freq": 100}
    solver = make("learned", training=training, network={"base_width": 6})
    images = toy_batch(solver, 6).images

    def error() -> float:
        with torch.no_grad():
            rebuilt = [solver.model.eval().reconstruct(x, domain) for domain, x in enumerate(images)]
        return sum((x - y).abs().mean().item() for x, y in zip(rebuilt, images))

    before = error()
    solver.train()
    assert error() < 0.7 * before


def test_what_makes_no_unit_is_refused_in_one_line(make):
    with pytest.raises(RunError, match="takes two domains and the data has 3"):
        make(domains=3)
    with pytest.raises(RunError, match=r"cannot share 3 blocks .* where there are 2"):
        make(network={"shared_blocks": 3})
    with pytest.raises(ConfigError, match="a multiple of 4"):
        make(resolution=34)
    with pytest.raises(ValueError, match="a multiple of 4 from 32 up"):
        UNIT(30)


def test_bf16_trains(make):
    solver = make(precision="bf16")
    losses = solver.train_step(toy_batch(solver), 1)
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())


def test_compile_reaches_all_networks(make, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: compiled.append(network))
    solver = make(compile=True)
    assert compiled == list(solver.networks.values())
