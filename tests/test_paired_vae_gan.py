"""The paired VAE-GAN hybrid against computations of another kind, at many sizes, and whole runs on digits."""

import copy
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from drit_toys import check_resumes, hold_still
from torch import nn

from configs.load import ConfigError, validate
from models.paired_vae_gan import Encoder, Generator, PairDiscriminator, PairedVAEGAN, enlargements
from solvers import solver_class
from solvers.losses import frozen
from solvers.visualization import interpolation

SIZES = [32, 64, (32, 64), (48, 130), 39]
TINY = {"latent_dim": 5, "base_width": 4, "dis_width": 4}


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.fixture
def make(experiment, tmp_path):
    """A solver whose run folder is tmp_path / name."""

    def made(name="run", variant="report", network=(), **training):
        training = {"max_iters": 4, "batch_size": 3, "print_freq": 2, "sample_freq": 4, **training}
        config = {
            **experiment,
            "model": "PairedVAEGAN",
            "run_dir": str(tmp_path / name),
            "network": {**TINY, "variant": variant, **dict(network)},
            "training": training,
        }
        config = validate(config, "toy")
        return solver_class(type(config))(config)

    return made


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [1, 3])
def test_images_of_any_shape_and_number_become_images_of_the_same_shape_within_bounds(size, batch):
    model = PairedVAEGAN(size, latent_dim=5, base_width=4)
    shape = (batch, 3, *(size if isinstance(size, tuple) else (size, size)))
    made, z = model(torch.rand(shape) * 2 - 1)
    assert made.shape == shape and z.mean.shape == z.logvar.shape == (batch, 5)
    shown = model.net.decode(1000 * torch.randn(batch, 5), [])
    assert shown.abs().max() <= 1
    logits = PairDiscriminator(4)(made, made)
    assert logits.shape[:2] == (batch, 1)


def test_at_256_layers_have_the_reports_sizes():
    """Counted from the report's listing, without the 240 features and with a bias where tanh follows."""
    with torch.device("meta"):
        encoder, generator = Encoder((256, 256), 50, 32, 0.4), Generator((256, 256), 50, 32)
        made = generator(torch.empty(2, 50))
    convolutions = 3 * 32 * 25 + 32 * 64 * 16 + 64 * 128 * 16 + 128 * 256 * 16 + 256 * 512 * 16 + 512 * 512
    norms = 2 * (32 + 64 + 128 + 256 + 512 + 512)
    side = 256
    for lost in (7, 6, 3):
        side = (side - lost) // 2
    assert parameters(encoder) == convolutions + norms + (512 * side**2 + 1) * 100
    assert parameters(generator) == 16 * (50 * 32 + 32 * 16 + 16 * 8 + 8 * 3) + 2 * (32 + 16 + 8) + 3
    assert made.shape == (2, 3, 256, 256)
    assert parameters(PairDiscriminator()) == 16 * (6 * 64 + 64 * 128 + 128 * 256 + 256) + 2 * 448 + 1


def test_enlargements_lead_from_four_pixels_or_more_to_every_size():
    assert [enlargements(side) for side in (32, 64, 128, 256)] == [(2, 2, 2), (4, 2, 2), (4, 4, 2), (4, 4, 4)]
    for side in range(32, 1025):
        assert side / math.prod(enlargements(side)) >= 4


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (40, 72)])
def test_every_feature_of_the_last_map_reaches_z(size):
    """The report's code lets the first 240 through."""
    encoder = Encoder(size, 5, 16, 0.0).eval()
    features = []
    encoder.fc.register_forward_hook(lambda layer, inputs, output: features.append(inputs[0]))
    image = torch.randn(1, 3, *size)
    encoder(image)
    last = encoder.blocks(image)
    assert torch.equal(features[0], last.flatten(1)) and last.numel() > 240
    flat = last.flatten(1).detach().requires_grad_()
    encoder.fc(flat).square().sum().backward()
    assert (flat.grad != 0).all()


@pytest.mark.parametrize("variant", ["report", "skip"])
def test_z_is_the_mean_and_a_style_of_it_as_large_as_sigma(variant):
    model = PairedVAEGAN(32, variant=variant, latent_dim=5, base_width=4).eval()
    x, style = torch.randn(2, 3, 32, 32), torch.randn(2, 5)
    asked = []
    whole = model.net.decode
    model.net.decode = lambda z, skips: asked.append(z) or whole(z, skips)
    model.decode(model.encode_content(x, 0), style, 1)
    torch.manual_seed(3)
    _, q = model(x)
    torch.manual_seed(3)
    noise = torch.randn(2, 5)
    assert torch.allclose(asked[0], q.mean + q.logvar.exp().sqrt() * style, atol=1e-6)
    assert torch.allclose(asked[1], q.mean + q.logvar.exp().sqrt() * noise, atol=1e-6)


def test_y_sees_x_through_z_alone_in_the_report_and_by_skip_connections_in_skip():
    x = torch.randn(2, 3, 32, 32)
    for variant, through_skips in (("report", False), ("skip", True)):
        net = PairedVAEGAN(32, variant=variant, latent_dim=5, base_width=4).eval().net
        a, b = (net.decode(torch.ones(1, 5), net.encode(image[None]).skips) for image in x)
        assert torch.equal(a, b) != through_skips


@pytest.mark.parametrize("variant", ["report", "skip"])
def test_gradients_and_losses_equal_a_plain_rebuild_with_a_pass_for_each_player(variant, make, float64):
    """Probabilities and their logarithms in place of logits, the KL by PyTorch's distributions."""
    solver = make(variant=variant, network={"dropout": 0.0}, adv_weight=0.5, rec_weight=3.0, kl_weight=0.1)
    for module in solver.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    hold_still(solver)
    batch = solver.train_set.at(np.arange(3))
    batch = batch._replace(images=tuple(image.double() for image in batch.images))
    x, y = batch.images
    model, dis = copy.deepcopy(solver.model), copy.deepcopy(solver.networks["dis"])
    torch.manual_seed(7)
    losses = solver.train_step(batch, 1)

    torch.manual_seed(7)
    made, q = model(x)
    real, fake = (torch.sigmoid(dis(x, image)) for image in (y, made.detach()))
    judged = -real.log().mean() - (1 - fake).log().mean()
    judged.backward()
    expected_dis = [p.grad for p in dis.parameters()]
    adv = -torch.sigmoid(dis(x, made)).log().mean()
    rec = ((made - y) ** 2).sum() / y.numel()
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(q.mean, q.logvar.exp().sqrt()), normal(0.0, 1.0))
    kl = kl.sum() / len(x)
    wanted = torch.autograd.grad(0.5 * adv + 3.0 * rec + 0.1 * kl, list(model.parameters()))

    named = {"dis": judged, "adv": adv, "rec": rec, "kl": kl, "total": 0.5 * adv + 3.0 * rec + 0.1 * kl}
    assert losses.keys() == named.keys()
    for name, value in named.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-9), name
    pairs = [*zip(solver.model.parameters(), wanted), *zip(solver.networks["dis"].parameters(), expected_dis)]
    for mine, theirs in pairs:
        assert torch.allclose(mine.grad, theirs, rtol=1e-7, atol=1e-11)
    assert max(grad.abs().max() for grad in wanted) > 0


def test_the_discriminator_learns_nothing_from_the_others_loss(make):
    solver = make()
    x = torch.randn(2, 3, 32, 32)
    made, _ = solver.model(x)
    with frozen(solver.networks["dis"]):
        F.softplus(-solver.networks["dis"](x, made)).mean().backward()
    assert all(p.grad is None for p in solver.networks["dis"].parameters())
    assert any(p.grad.abs().max() > 0 for p in solver.model.parameters() if p.grad is not None)


@pytest.mark.parametrize("variant", ["report", "skip"])
def test_it_trains_resumes_bit_for_bit_and_tests(variant, make, tmp_path, monkeypatch):
    monkeypatch.setattr(interpolation, "STEPS", 2)
    monkeypatch.setattr(interpolation, "FRAMES", 2)

    def named(name, **training):
        return make(name, variant, **training)

    again = check_resumes(named, tmp_path, 2, 4)
    again.test()
    metrics = json.loads((tmp_path / "again/results/metrics.json").read_text())
    protocol = metrics.pop("protocol")
    assert all(map(math.isfinite, metrics.values()))
    assert metrics["diversity/l1/x_to_y"] > 0 and "diversity/l1/y_to_x" not in metrics
    assert metrics["translation/l1/x_to_y"] > 0 and not any(name.endswith("y_to_x") for name in metrics)
    assert {"retrieval", "probes"} <= protocol["left_out"].keys()
    pictures = {path.name for path in (tmp_path / "again/results").glob("*.png")}
    assert {"x_to_y_random_styles.png", "x_to_y_between_random_styles.png"} <= pictures
    assert not any(name.startswith("y_to_x") for name in pictures)


def test_what_has_no_networks_is_refused_in_a_line(experiment):
    config = {**experiment, "model": "PairedVAEGAN", "resolution": 40, "network": {"variant": "skip"}}
    with pytest.raises(ConfigError, match="multiples of 16"):
        validate({**config, "training": {}}, "toy")
    validate({**config, "training": {}, "network": {"variant": "report"}}, "toy")
