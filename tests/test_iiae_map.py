"""IIAE whose shared code is a map: shapes and a whole pass against the description, KLs against
torch.distributions, and runs."""

import math

import pytest
import torch
import torch.nn.functional as F
from drit_toys import check_resumes, check_tests, make_run
from torch.distributions import Independent, Normal, kl_divergence

from configs.keys.iiae import IIAENetwork
from configs.load import ConfigError, validate
from models.blocks import Gaussian
from models.iiae import IIAE
from solvers import solver_class
from solvers.losses import kl_between, kl_to_standard
from solvers.run.folder import RunError

MAP = {"shared_code": "map", "shared_trunk": False, "posterior_init": "normal"}


def map_model(resolution=32, **shape) -> IIAE:
    torch.manual_seed(0)
    return IIAE(resolution, **{**MAP, "base_width": 4, "shared_dim": 6, **shape})


def test_at_256_widths_and_codes_are_as_the_authors_describe_them():
    with torch.device("meta"):
        model = IIAE(256, **MAP)
        content = model.encode_content(torch.empty(2, 3, 256, 256), 0)
        image = model.decode(content, torch.empty(2, 8), 1)
    assert content.shape == (2, 128, 8, 8) and content[0].numel() == 8192
    assert image.shape == (2, 3, 256, 256)
    trunk = [(stage[0].in_channels, stage[0].out_channels) for stage in model.FE.downsample]
    head = model.zx_s_encoder.conv_mu_var
    assert [*trunk, (head.in_channels, head.out_channels)] == [
        (3, 32),
        (32, 64),
        (64, 128),
        (128, 256),
        (256, 256),
    ]
    assert model.zs_encoder.conv_mu_var.in_channels == 512
    assert model.zx_encoder.fc_mu_var[0].in_features == 16 * 16 * 256
    assert [stage[0].out_channels for stage in model.x_decoder.upsample] == [512, 256, 128, 64]
    assert model.x_decoder.upsample[0][0].in_channels == 8 + 128
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {m.momentum for m in norms} == {0.1}  # what TensorFlow calls 0.9
    assert {m.negative_slope for m in model.modules() if isinstance(m, torch.nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize(
    ("size", "stages", "places"),
    [((32, 32), 1, (8, 8)), ((64, 64), 2, (8, 8)), ((128, 128), 3, (8, 8)), ((32, 64), 1, (8, 16))],
)
def test_the_code_is_eight_high_or_wide_at_every_size(size, stages, places):
    model = map_model(size).eval()
    image = torch.rand(2, 3, *size) * 2 - 1
    assert len(model.FE.downsample) == stages
    assert model.encode_content(image, 1).shape == (2, 6, *places)
    assert model.reconstruct(image, 1).shape == image.shape
    fewer = map_model(size, stages=stages + 1).eval()
    assert fewer.encode_content(image, 1).shape == (2, 6, places[0] // 2, places[1] // 2)


def conv(w: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], 2, 1)


def norm(w: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    return F.batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-5)


def test_the_verbs_compute_what_the_description_says_in_eval_mode():
    model = map_model(64)
    x, y = torch.rand(2, 4, 3, 64, 64) * 2 - 1
    for _ in range(2):
        model(x, y)  # running statistics that are not at their start
    w = model.eval().state_dict()
    with torch.no_grad():
        content, style = model.encode_content(y, 1), model.encode_style(x, 0)
        image = model.decode(content, style, 0)

    def trunk(part: str, features: torch.Tensor) -> torch.Tensor:
        for i in range(2):
            name = f"{part}.downsample.{i}"
            features = F.leaky_relu(norm(w, f"{name}.1", conv(w, f"{name}.0", features)), 0.2)
        return features

    want = conv(w, "zy_s_encoder.conv_mu_var", trunk("FE_y", y))[:, :6]
    assert torch.allclose(content, want, rtol=1e-4, atol=1e-5)
    linear = w["zx_encoder.fc_mu_var.0.weight"], w["zx_encoder.fc_mu_var.0.bias"]
    assert torch.allclose(style, F.linear(trunk("zx_encoder", x).flatten(1), *linear)[:, :8], atol=1e-5)
    features = torch.cat((content, style.view(4, 8, 1, 1).repeat(1, 1, 8, 8)), dim=1)
    for i in range(2):
        name = f"x_decoder.upsample.{i}"
        features = F.conv_transpose2d(features, w[f"{name}.0.weight"], w[f"{name}.0.bias"], 2, 1)
        features = norm(w, f"{name}.1", features).relu()
    last = w["x_decoder.last_layer.0.weight"], w["x_decoder.last_layer.0.bias"]
    assert torch.allclose(image, F.conv_transpose2d(features, *last, 2, 1).tanh(), atol=1e-5)


def test_the_joint_posterior_sees_both_feature_maps():
    model = map_model().eval()
    x, y = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    both = torch.cat((model.features(x, 0), model.features(y, 1)), dim=1)
    w = model.state_dict()
    assert torch.allclose(model(x, y).zs.mean, conv(w, "zs_encoder.conv_mu_var", both)[:, :6], atol=1e-5)


def test_what_sees_one_image_shares_no_weight_with_anything():
    """Gradients of each posterior reach its own encoder alone."""
    model = map_model()
    x, y = torch.rand(2, 4, 3, 32, 32) * 2 - 1
    own = {
        "zx": {"zx_encoder"},
        "zy": {"zy_encoder"},
        "zs_from_x": {"FE", "zx_s_encoder"},
        "zs_from_y": {"FE_y", "zy_s_encoder"},
    }
    for name, parts in own.items():
        model.zero_grad(set_to_none=True)
        getattr(model(x, y), name).mean.square().sum().backward()
        assert {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None} == parts
    pointers = [p.data_ptr() for p in model.parameters()]
    assert len(set(pointers)) == len(pointers)


def test_with_a_tied_trunk_a_domains_codes_come_from_the_same_features():
    tied, apart = map_model(tied_trunk=True).eval(), map_model().eval()
    x, y = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    assert torch.equal(tied.features(y, 1), tied.zy_encoder.downsample(y))
    state = tied.state_dict()
    for own, shared in (("zx_encoder", "FE"), ("zy_encoder", "FE_y")):
        trunk = {k: v for k, v in state.items() if k.startswith(f"{own}.downsample")}
        state |= {k.replace(own, shared): v for k, v in trunk.items()}
    apart.load_state_dict(state)
    for image, domain in ((x, 0), (y, 1)):
        assert torch.equal(tied.reconstruct(image, domain), apart.reconstruct(image, domain))


def test_weights_start_as_in_the_authors_code():
    model = map_model(64, base_width=16, shared_dim=32)
    w = model.FE.downsample[1][0].weight
    assert w.std().item() == pytest.approx(0.02, rel=0.05)
    linear = model.zx_encoder.fc_mu_var[0].weight
    bound = math.sqrt(6 / sum(linear.shape))
    assert 0.95 * bound < linear.abs().max().item() <= bound
    scales = torch.cat([p for n, p in model.named_parameters() if n.endswith(".1.weight")])
    assert scales.mean().item() == pytest.approx(1, abs=0.01)
    assert scales.std().item() == pytest.approx(0.02, rel=0.2)
    assert all(not p.any() for n, p in model.named_parameters() if n.endswith("bias"))


def test_kls_of_maps_equal_torch_distributions_and_those_of_flattened_codes():
    torch.manual_seed(0)
    q, p = (Gaussian(torch.randn(3, 4, 2, 5), torch.randn(3, 4, 2, 5)) for _ in range(2))
    normal_q, normal_p = (Independent(Normal(g.mean, (g.logvar / 2).exp()), 3) for g in (q, p))
    standard = Independent(Normal(torch.zeros(4, 2, 5), torch.ones(4, 2, 5)), 3)
    assert torch.allclose(kl_to_standard(q), kl_divergence(normal_q, standard).mean(), rtol=1e-5)
    assert torch.allclose(kl_between(q, p), kl_divergence(normal_q, normal_p).mean(), rtol=1e-5)
    flat_q, flat_p = (Gaussian(g.mean.flatten(1), g.logvar.flatten(1)) for g in (q, p))
    assert torch.equal(kl_between(q, p, 0.3), kl_between(flat_q, flat_p, 0.3))


# Keys


def test_a_map_brings_its_own_defaults_and_a_run_reads_what_it_wrote():
    network = IIAENetwork(shared_code="map")
    assert (network.shared_trunk, network.posterior_init) == (False, "normal")
    assert IIAENetwork(**network.model_dump()) == network
    assert IIAE(32, **network.model_copy(update={"base_width": 2}).model_dump()).FE_y is not None


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"shared_code": "map", "shared_trunk": True}, "share no trunk"),
        ({"shared_code": "map", "posterior_init": "small"}, "posterior_init normal with shared_code map"),
        ({"posterior_init": "normal"}, "posterior_init kaiming or small with shared_code vector"),
        ({"shared_code": "maps"}, "shared_code"),
    ],
)
def test_keys_that_do_not_go_together_are_one_line(experiment, network, words):
    with pytest.raises(ConfigError, match=words) as refused:
        validate({**experiment, "network": network}, "toy")
    assert "\n" not in str(refused.value)


def test_a_map_that_would_have_no_place_is_refused(experiment):
    config = validate({**experiment, "network": {"shared_code": "map", "stages": 5}}, "toy")
    with pytest.raises(RunError, match="1 to 4 stages"):
        solver_class(config)(config)


# Whole runs


@pytest.mark.parametrize("size", [32, [32, 64]])
def test_it_trains_resumes_bit_for_bit_and_tests_on_digits(experiment, tmp_path, size):
    experiment |= {"resolution": size, "network": {"shared_code": "map", "base_width": 4, "shared_dim": 6}}
    again = check_resumes(make_run(experiment, tmp_path), tmp_path, 2, 4)
    metrics = check_tests(again, tmp_path / "again/results")
    with torch.no_grad():
        batch = again.test_set.at(torch.arange(len(again.test_set)).numpy())
        codes = [again.model.encode_content(batch.images[d], d).flatten(1) for d in range(2)]
    assert codes[0].shape[1] == 6 * 8 * (8 if size == 32 else 16)
    nearest = torch.cdist(codes[0].double(), codes[1].double()).argmin(dim=1)
    found = (nearest == torch.arange(len(nearest))).double().mean().item()
    assert metrics["retrieval/shared/x_to_y"] == pytest.approx(found, abs=1e-9)
