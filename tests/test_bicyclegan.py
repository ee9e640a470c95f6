"""BicycleGAN against computations of another kind, at many sizes, and whole runs on digits."""

import copy
import json
import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from drit_toys import check_resumes, hold_still
from torch import nn

from configs.load import ConfigError, validate
from models.bicyclegan import BicycleGAN, HalvingBlock, ResNetEncoder, TwoPatches
from solvers import solver_class
from solvers.visualization import interpolation

SIZES = [32, 48, 64, (32, 64), (80, 48)]
TINY = {"latent_dim": 3, "base_width": 4, "enc_width": 4, "dis_width": 4}


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.fixture
def make(experiment, tmp_path):
    """A solver whose run folder is tmp_path / name."""

    def made(name="run", network=(), **training):
        training = {"max_iters": 4, "batch_size": 3, "print_freq": 2, "sample_freq": 4, **training}
        config = {
            **experiment,
            "model": "BicycleGAN",
            "run_dir": str(tmp_path / name),
            "network": {**TINY, **dict(network)},
            "training": training,
        }
        config = validate(config, "toy")
        return solver_class(type(config))(config)

    return made


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [1, 3])
def test_images_of_any_shape_and_number_become_images_of_the_same_shape_within_bounds(size, batch):
    model = BicycleGAN(size, latent_dim=3, base_width=4, enc_width=4)
    shape = (batch, 3, *(size if isinstance(size, tuple) else (size, size)))
    x = torch.rand(shape) * 2 - 1
    z = model.net_E(x)
    assert z.mean.shape == z.logvar.shape == (batch, 3)
    made = model.decode(model.encode_content(x, 0), 1000 * model.sample_style(batch, 1), 1)
    assert made.shape == shape and made.abs().max() <= 1
    logits = TwoPatches(size, width=4)(made)
    assert len(logits) == 2 and all(x.shape[:2] == (batch, 1) for x in logits)


def test_at_256_networks_have_the_published_sizes():
    """Counted by hand from the layers that the authors' options give."""
    with torch.device("meta"):
        model, dis = BicycleGAN(256), TwoPatches(256, 6)
    widths = [64, 128, 256, 512, 512, 512, 512, 512]
    seen = [3, *widths[:-1]]
    down = sum((a + 8) * b * 16 + b for a, b in zip(seen, widths))
    up = sum(
        (2 * b if b_is_outer else b) * a * 16 + a
        for a, b, b_is_outer in zip(seen, widths, [True] * 7 + [False])
    )
    assert parameters(model.net_G) == down + up
    blocks = [(64, 128), (128, 192), (192, 256), (256, 256)]
    encoder = 3 * 64 * 16 + 64 + sum(9 * a * (a + b) + a + b + a * b + b for a, b in blocks)
    assert parameters(model.net_E) == encoder + 2 * (256 + 1) * 8
    patches = [[6, width, 2 * width, 4 * width, 8 * width, 1] for width in (64, 32)]
    assert parameters(dis) == sum(16 * a * b + b for w in patches for a, b in pairwise(w))
    assert [patch(scale) for scale in dis.scales] == [70, 70]


def patch(network: nn.Module) -> int:
    """The side of the image that one logit sees."""
    side = 1
    for layer in reversed([layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]):
        side = (side - 1) * layer.stride[0] + layer.kernel_size[0]
    return side


@pytest.mark.parametrize(("side", "halvings"), [(32, 2), (48, 2), (64, 3), (128, 4), (256, 5), (512, 6)])
def test_the_encoder_halves_down_to_a_map_of_8_to_15(side, halvings):
    encoder = ResNetEncoder(side, 3, 1)
    assert sum(isinstance(layer, HalvingBlock) for layer in encoder.conv) == halvings - 1
    assert 8 <= side // 2**halvings < 16


def test_a_halving_block_is_two_normed_convolutions_and_the_mean_of_four_places():
    block = HalvingBlock(2, 3)
    x = torch.randn(2, 2, 6, 6)
    first, second, shortcut = (layer for layer in block.modules() if isinstance(layer, nn.Conv2d))

    def normed(x):
        mean, var = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), keepdim=True, unbiased=False)
        x = (x - mean) / (var + 1e-5).sqrt()
        return torch.where(x > 0, x, 0.2 * x)

    def pooled(x):
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    features = F.conv2d(normed(x), first.weight, first.bias, padding=1)
    features = F.conv2d(normed(features), second.weight, second.bias, padding=1)
    direct = torch.einsum("bchw,oc->bohw", pooled(x), shortcut.weight[:, :, 0, 0])
    wanted = pooled(features) + direct + shortcut.bias[:, None, None]
    assert torch.allclose(block(x), wanted, atol=1e-5)


def test_z_reaches_every_stage_of_the_generator():
    model = BicycleGAN(64, latent_dim=3, base_width=4, enc_width=4)
    model.decode(torch.randn(1, 3, 64, 64), torch.randn(1, 3), 1).square().sum().backward()
    seen = [3, 4, 8, 16, 32, 32]
    downs = [next(m for m in stage.model if isinstance(m, nn.Conv2d)) for stage in model.net_G.stages()]
    for down, channels in zip(downs, seen, strict=True):
        assert down.in_channels == channels + 3
        assert (down.weight.grad[:, channels:].abs().amax(dim=(0, 2, 3)) > 0).all()


def squares(logits: Iterable[torch.Tensor], target: float) -> torch.Tensor:
    return sum(((x - target) ** 2).sum() / x.numel() for x in logits)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_and_losses_equal_a_plain_rebuild_with_passes_of_their_own(
    conditional, batch, make, float64
):
    """A pass through the generator for each cycle and player, and a backward pass for the latent loss that
    asks for the generator's gradients alone."""
    weights = {"adv_weight": 0.5, "l1_weight": 3.0, "kl_weight": 0.2, "latent_weight": 0.7}
    solver = make(network={"dropout": 0.0, "conditional_D": conditional}, batch_size=batch, **weights)
    hold_still(solver)
    pairs = solver.train_set.at(np.arange(batch))
    pairs = pairs._replace(images=tuple(image.double() for image in pairs.images))
    x, y = pairs.images
    plain = {name: copy.deepcopy(network) for name, network in solver.networks.items()}
    torch.manual_seed(7)
    losses = solver.train_step(pairs, 1)

    torch.manual_seed(7)
    drawn, noise = torch.randn(batch, 3), torch.randn(batch, 3)
    q = plain["E"](y)
    encoded = plain["G"](x, q.mean + q.logvar.exp().sqrt() * noise)
    random = plain["G"](x, drawn)
    fakes = {"D_VAE": encoded, "D_LR": random}

    def judge(name, image):
        return plain[name](torch.cat((x, image), dim=1) if conditional else image)

    wanted, dis = {}, 0
    for name, fake in fakes.items():
        loss = squares(judge(name, y), 1) + squares(judge(name, fake.detach()), 0)
        wanted[name] = torch.autograd.grad(loss, list(plain[name].parameters()))
        dis = dis + loss
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(q.mean, q.logvar.exp().sqrt()), normal(0.0, 1.0))
    named = {
        "dis": dis,
        "adv_vae": squares(judge("D_VAE", encoded), 1),
        "adv_lr": squares(judge("D_LR", random), 1),
        "l1": (encoded - y).abs().sum() / y.numel(),
        "kl": kl.sum() / batch,
        "latent": (plain["E"](random).mean - drawn).abs().sum() / drawn.numel(),
    }
    both = 0.5 * (named["adv_vae"] + named["adv_lr"]) + 3.0 * named["l1"] + 0.2 * named["kl"]
    g, e = (list(plain[name].parameters()) for name in "GE")
    shared = torch.autograd.grad(both, [*g, *e], retain_graph=True)
    latent = torch.autograd.grad(0.7 * named["latent"], g)
    wanted["G"] = [a + b for a, b in zip(shared, latent)]
    wanted["E"] = shared[len(g) :]
    named["total"] = both + 0.7 * named["latent"]

    assert losses.keys() == named.keys()
    for name, value in named.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-9), name
    for name, expected in wanted.items():
        largest = max(grad.abs().max().item() for grad in expected)
        assert largest > 0, name
        for mine, theirs in zip(solver.networks[name].parameters(), expected, strict=True):
            assert torch.allclose(mine.grad, theirs, rtol=1e-6, atol=1e-8 * largest), name


@pytest.mark.parametrize(("weight", "reached"), [("latent_weight", False), ("l1_weight", True)])
def test_the_latent_loss_teaches_the_generator_and_not_the_encoder(weight, reached, make):
    none = dict.fromkeys(("adv_weight", "l1_weight", "kl_weight", "latent_weight"), 0.0)
    solver = make(**{**none, weight: 1.0})
    hold_still(solver)
    solver.train_step(solver.train_set.at(np.arange(2)), 1)
    moved = {
        name: max(p.grad.abs().max().item() for p in solver.networks[name].parameters()) for name in "GE"
    }
    assert moved["G"] > 0 and (moved["E"] > 0) == reached


def test_it_trains_resumes_bit_for_bit_and_tests(make, tmp_path, monkeypatch):
    monkeypatch.setattr(interpolation, "STEPS", 2)
    monkeypatch.setattr(interpolation, "FRAMES", 2)
    again = check_resumes(make, tmp_path, 2, 4)
    again.test()
    metrics = json.loads((tmp_path / "again/results/metrics.json").read_text())
    left_out = metrics.pop("protocol")["left_out"]
    assert all(map(math.isfinite, metrics.values()))
    assert metrics["translation/reference_l1/x_to_y"] > 0 and {"retrieval", "probes"} <= left_out.keys()
    assert not any(name.startswith(("reconstruction", "translation/reference_l1/y")) for name in metrics)
    assert metrics["diversity/l1/x_to_y"] > 0 and "diversity/l1/y_to_x" not in metrics
    pictures = {path.name for path in (tmp_path / "again/results").glob("*.png")}
    shown = {"x_to_y_random_styles.png", "content_x_style_y.png", "x_to_y_between_references.png"}
    assert shown <= pictures and not any(name.startswith(("y_to_x", "content_y")) for name in pictures)


def test_what_has_no_networks_is_refused_in_a_line(experiment):
    config = {**experiment, "model": "BicycleGAN", "resolution": 40, "network": {}, "training": {}}
    with pytest.raises(ConfigError, match="multiple of 16"):
        validate(config, "toy")
