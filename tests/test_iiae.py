"""IIAE's networks and losses against independent computations."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import SHARED
from torch.distributions import Normal, kl_divergence

from configs.keys.iiae import IIAETraining
from dataloader.cars import Cars
from dataloader.held_out import Subset
from dataloader.unpaired import Unpaired
from models.blocks import LOGVAR_MAX, Gaussian
from models.iiae import IIAE, IIAEOutput
from solvers.iiae import iiae_losses, total_loss
from solvers.losses import kl_between, kl_to_standard

REFERENCE = SHARED / "reference/checkpoints/iiae_pytorch.json"


def gaussian(batch: int, dim: int) -> Gaussian:
    return Gaussian(torch.randn(batch, dim), torch.randn(batch, dim))


def test_at_256_there_are_as_many_parameters_as_in_the_reference():
    with torch.device("meta"):
        model = IIAE(256)
    assert sum(p.numel() for p in model.parameters()) == 84_271_238


@pytest.mark.skipif(not REFERENCE.exists(), reason="the list of the reference's names is not at hand")
def test_at_256_every_name_and_shape_is_the_references():
    with torch.device("meta"):
        ours = {name: list(tensor.shape) for name, tensor in IIAE(256).state_dict().items()}
    networks = json.loads(REFERENCE.read_text())["networks"]
    assert ours == {
        f"{net}.{name}": shape for net, tensors in networks.items() for name, shape in tensors.items()
    }


def plain_trunk(w: dict, prefix: str, image: torch.Tensor, stages: int) -> torch.Tensor:
    for i in range(stages):
        image = F.conv2d(
            image, w[f"{prefix}.downsample.{i}.0.weight"], w[f"{prefix}.downsample.{i}.0.bias"], 2, 1
        )
        image = F.leaky_relu(plain_norm(w, f"{prefix}.downsample.{i}.1", image), 0.02)
    return image


def plain_norm(w: dict, prefix: str, x: torch.Tensor) -> torch.Tensor:
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean, var = w[f"{prefix}.running_mean"].view(shape), w[f"{prefix}.running_var"].view(shape)
    return (x - mean) / (var + 1e-5).sqrt() * w[f"{prefix}.weight"].view(shape) + w[f"{prefix}.bias"].view(
        shape
    )


def plain_linear(w: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def plain_content(w: dict, image: torch.Tensor, r: str, stages: int) -> torch.Tensor:
    """The mean of r(z^s|.) as the reference computes it in eval mode."""
    features = plain_trunk(w, "FE", image, stages)
    conv = F.conv2d(features, w[f"{r}.downsample.0.0.weight"], w[f"{r}.downsample.0.0.bias"], 1, 2)
    features = F.leaky_relu(plain_norm(w, f"{r}.downsample.0.1", conv), 0.02).flatten(1)
    both = plain_linear(w, f"{r}.fc_mu_var.1", plain_linear(w, f"{r}.fc_mu_var.0", features))
    return both[:, : both.shape[1] // 2]


def plain_decode(
    w: dict, name: str, exclusive: torch.Tensor, shared: torch.Tensor, side: int
) -> torch.Tensor:
    x = plain_linear(w, f"{name}.z_to_dec.0.0", torch.cat((exclusive, shared), 1))
    x = F.relu(plain_norm(w, f"{name}.z_to_dec.0.1", x)).view(len(x), -1, side, side)
    stage = 0
    while f"{name}.upsample.{stage}.0.weight" in w:
        prefix = f"{name}.upsample.{stage}"
        x = F.conv_transpose2d(x, w[f"{prefix}.0.weight"], w[f"{prefix}.0.bias"], 2, 1)
        x = F.relu(plain_norm(w, f"{prefix}.1", x))
        stage += 1
    last = f"{name}.last_layer.0"
    return torch.tanh(F.conv_transpose2d(x, w[f"{last}.weight"], w[f"{last}.bias"], 2, 1))


@pytest.mark.parametrize(("resolution", "stages", "side"), [(32, 3, 2), (64, 4, 2), (128, 4, 4)])
def test_the_four_verbs_compute_what_the_reference_computes_in_eval_mode(resolution, stages, side):
    torch.manual_seed(0)
    model = IIAE(resolution, base_width=4, shared_dim=16)
    x, y = torch.rand(2, 4, 3, resolution, resolution) * 2 - 1
    for _ in range(2):
        model(x, y)  # running statistics that are not at their start
    w = model.eval().state_dict()
    with torch.no_grad():
        content, style = model.encode_content(y, 1), model.encode_style(x, 0)
        image = model.decode(content, style, 0)
    assert torch.allclose(content, plain_content(w, y, "zy_s_encoder", stages), rtol=1e-4, atol=1e-4)
    features = plain_trunk(w, "zx_encoder", x, stages).flatten(1)
    assert torch.allclose(
        style, plain_linear(w, "zx_encoder.fc_mu_var.0", features)[:, :8], rtol=1e-4, atol=1e-4
    )
    assert torch.allclose(image, plain_decode(w, "x_decoder", style, content, side), atol=1e-4)


def test_with_a_trunk_per_domain_the_trunks_share_no_weight():
    model = IIAE(32, base_width=4, shared_trunk=False).eval()
    image = torch.rand(2, 3, 32, 32)
    assert not torch.allclose(model.features(image, 0), model.features(image, 1))
    joint = IIAE(32, base_width=4).eval()
    assert torch.equal(joint.features(image, 0), joint.features(image, 1))


def test_a_tied_trunk_equals_two_trunks_with_the_same_weights():
    shape = {"base_width": 4, "shared_dim": 16, "shared_trunk": False, "dropout": 0.0}
    tied, apart = IIAE(32, tied_trunk=True, **shape), IIAE(32, **shape)
    state = tied.state_dict()
    for feature_extractor, encoder in (("FE", "zx_encoder"), ("FE_y", "zy_encoder")):
        trunk = {k: v for k, v in state.items() if k.startswith(f"{encoder}.downsample")}
        state |= {k.replace(encoder, feature_extractor): v for k, v in trunk.items()}
    apart.load_state_dict(state)
    x, y = torch.rand(2, 4, 3, 32, 32) * 2 - 1
    for a, b in zip(flat(tied, x, y), flat(apart, x, y), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="shared_trunk"):
        IIAE(32, tied_trunk=True)


def flat(model: IIAE, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    """Every tensor of one training pass with the same draws."""
    torch.manual_seed(1)
    return [t for part in model(x, y) for t in (part if isinstance(part, tuple) else (part,))]


def test_small_posteriors_start_near_the_prior_and_change_nothing_else():
    small, large = (
        IIAE(32, base_width=4, shared_dim=16, weight_init="kaiming", posterior_init=name)
        for name in ("small", "kaiming")
    )
    x, y = torch.rand(2, 16, 3, 32, 32) * 2 - 1
    assert kl_to_standard(small(x, y).zs) < 1 < kl_to_standard(large(x, y).zs)
    spread = [m.x_decoder.upsample[0][0].weight.std().item() for m in (small, large)]
    assert spread[0] == pytest.approx(spread[1], rel=0.05)


def test_the_references_weights_are_pytorchs_own_but_for_what_gives_posteriors():
    """Standard deviations in closed form: of a uniform of bound 1 / sqrt(fan in), and of Kaiming's normal."""
    torch.manual_seed(0)
    model = IIAE(64, base_width=16)
    own, head = model.x_decoder.upsample[0][0].weight, model.zx_encoder.fc_mu_var[0].weight
    assert own.std().item() == pytest.approx((3 * own.shape[1] * 16) ** -0.5, rel=0.02)
    assert own.abs().max() <= (own.shape[1] * 16) ** -0.5
    assert head.std().item() == pytest.approx((2 / head.shape[1]) ** 0.5, rel=0.02)
    assert not model.zx_encoder.fc_mu_var[0].bias.any()


def test_the_references_scale_divides_by_half_of_its_own_list():
    """The list has every image once: 24 views of a car, or all images of two folders."""
    views = np.zeros((3, 24, 8, 8, 1), np.uint8)
    cars = Cars({"images": views, "car": np.arange(3), "elevation": np.zeros(3)}, 32)
    assert (len(cars), cars.half_images) == (3 * 23, 3 * 12)
    folders = Unpaired({"A": np.zeros((5, 8, 8, 3), np.uint8), "B": np.zeros((9, 8, 8, 3), np.uint8)}, 32)
    assert folders.half_images == 7
    assert Subset(cars, (np.arange(23),)).half_images == 12


def test_style_draws_are_standard_normal_and_follow_their_generator():
    model = IIAE(32, base_width=4)
    draw = model.sample_style(4000, 0, torch.Generator().manual_seed(1))
    assert draw.shape == (4000, 8)
    assert abs(draw.mean().item()) < 0.03 and abs(draw.std().item() - 1) < 0.03
    assert torch.equal(draw, model.sample_style(4000, 1, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("resolution", [16, 100, 48])
def test_an_impossible_resolution_is_refused(resolution):
    with pytest.raises(ValueError, match="power of two"):
        IIAE(resolution)


def test_too_many_stages_are_refused():
    with pytest.raises(ValueError, match="1 to 4 stages"):
        IIAE(32, stages=5)


def test_kls_equal_torch_distributions():
    q, p = gaussian(6, 5), gaussian(6, 5)
    normal_q, normal_p = (Normal(g.mean, (g.logvar / 2).exp()) for g in (q, p))
    standard = Normal(torch.zeros(5), torch.ones(5))
    assert torch.allclose(kl_to_standard(q), kl_divergence(normal_q, standard).sum(1).mean(), rtol=1e-5)
    assert torch.allclose(kl_between(q, p), kl_divergence(normal_q, normal_p).sum(1).mean(), rtol=1e-5)


def test_the_reference_kl_is_the_kl_between_gaussians_whose_means_are_as_many_standard_deviations_apart():
    torch.manual_seed(3)
    q, p = (Gaussian(torch.randn(4, 5), torch.randn(4, 5)) for _ in range(2))
    std = torch.exp(0.5 * p.logvar)
    normal_q, normal_p = Normal(q.mean * std, torch.exp(0.5 * q.logvar)), Normal(p.mean * std, std)
    want = kl_divergence(normal_q, normal_p).sum(1).mean()
    assert torch.allclose(kl_between(q, p, 0.0), want, rtol=1e-5)
    x = torch.zeros(4, 3, 8, 8)
    out = IIAEOutput(x, x, q, q, q, p, p)
    losses = iiae_losses(out, x, x, 0.0)
    assert torch.allclose(losses["kl_inter_x"], want, rtol=1e-5)
    assert not torch.allclose(iiae_losses(out, x, x)["kl_inter_x"], want, rtol=1e-2)


def test_kl_between_equals_a_monte_carlo_estimate():
    torch.manual_seed(0)
    q = Gaussian(torch.tensor([[0.3, -1.0]]), torch.tensor([[0.2, -0.5]]))
    p = Gaussian(torch.tensor([[-0.4, 0.1]]), torch.tensor([[1.0, 0.3]]))
    z = q.mean + torch.randn(400_000, 2) * (q.logvar / 2).exp()

    def log_density(g):
        return (-0.5 * (math.log(2 * math.pi) + g.logvar + (z - g.mean) ** 2 / g.logvar.exp())).sum(1)

    estimate = (log_density(q) - log_density(p)).mean().item()
    assert kl_between(q, p).item() == pytest.approx(estimate, abs=0.01)


def test_the_loss_is_the_papers_sum_with_the_references_scale_and_annealing():
    torch.manual_seed(0)
    model = IIAE(32, base_width=4, shared_dim=16)
    x, y = torch.rand(2, 6, 3, 32, 32) * 2 - 1
    out = model(x, y)
    weights = IIAETraining(rec_weight=100.02, X_kld_weight=5.02, S_kld_weight=0.02, inter_kld_weight=5.0)
    iteration, scale = 700, 16 / 50_000
    standard = {"mean": torch.zeros(1), "logvar": torch.zeros(1)}

    def kl(q, mean, logvar):  # element by element, from the definition
        per_image = []
        for b in range(len(q.mean)):
            total = 0.0
            for m0, v0, m1, v1 in zip(
                *torch.broadcast_tensors(q.mean[b], q.logvar[b], mean[b], logvar[b]), strict=True
            ):
                total += 0.5 * (v1 - v0 + (v0.exp() + (m0 - m1) ** 2) / v1.exp() - 1)
            per_image.append(total)
        return sum(per_image) / len(per_image)

    def prior(q):
        return kl(q, standard["mean"].expand_as(q.mean), standard["logvar"].expand_as(q.mean))

    anneal = 1 - math.exp(-iteration / 25_000)
    want = 100.02 * (F.l1_loss(out.x_reconstruction, x) + F.l1_loss(out.y_reconstruction, y))
    want = want + scale * anneal * (5.02 * (prior(out.zx) + prior(out.zy)) + 0.02 * prior(out.zs))
    want = want + scale * 5.0 * (kl(out.zs, *out.zs_from_x) + kl(out.zs, *out.zs_from_y))
    assert torch.allclose(total_loss(iiae_losses(out, x, y), weights, scale, iteration), want, rtol=1e-4)


def test_the_inter_annealing_is_off_by_default_and_scales_only_its_term():
    losses = {name: torch.tensor(1.0) for name in ("rec_x", "rec_y", "kl_zx", "kl_zy", "kl_zs")}
    losses |= {"kl_inter_x": torch.tensor(3.0), "kl_inter_y": torch.tensor(4.0)}
    plain = total_loss(losses, IIAETraining(inter_kld_weight=2.0), 1.0, 10)
    annealed = total_loss(losses, IIAETraining(inter_kld_weight=2.0, inter_anneal_iters=10.0), 1.0, 10)
    assert (plain - annealed).item() == pytest.approx(2 * 7 * math.exp(-1), rel=1e-4)


def test_a_wild_logvar_is_clamped_from_above():
    wild = Gaussian.from_features(torch.full((2, 6), 500.0))
    assert wild.logvar.max().item() == pytest.approx(LOGVAR_MAX)
    assert torch.isfinite(kl_to_standard(wild))
