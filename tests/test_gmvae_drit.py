"""GMVAE-DRIT: what each key changes, the losses against plain computations, and keys together."""

import math

import numpy as np
import pytest
import torch
from drit_toys import hold_still, toy_batch, toy_config, toy_solver
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from configs.load import ConfigError, validate
from models.blocks import AdaptiveNorm, ResidualBlock, UpBlock
from models.mdmm import ConcatGenerator
from solvers.drit import cross_cycle
from solvers.gmvae_drit import gumbel_temperature

SMALL = {"attribute_dim": None, "gaussian_size": 4, "num_classes": 3}


def gm_config(network: dict | None = None, **options):
    return toy_config("GMVAE-DRIT", network={**SMALL, **(network or {})}, **options)


def gm_solver(domains: int = 2, network: dict | None = None, **options):
    return toy_solver("GMVAE-DRIT", domains, network={**SMALL, **(network or {})}, **options)


def made_by(solver, count: int = 2):
    images, domains = solver.sides(toy_batch(solver, count))
    return images, cross_cycle(solver.model, images, domains, solver.draws(count))


def test_the_defaults_are_the_published_ones():
    config = validate({"id": "a", "model": "GMVAE-DRIT", "dataset": "Folders"}, "a")
    net, t = config.network, config.training
    assert (config.resolution, net.num_classes, net.gaussian_size, net.x_dim) == (216, 2, 108, None)
    assert (net.use_adain, net.double_layer_ReLUINSConvTranspose, config.use_cpu) == (False, False, False)
    assert (t.init_temp, t.min_temp, t.decay_temp, t.decay_temp_rate) == (1.0, 0.5, True, 0.013862944)
    assert (t.w_gauss, t.w_categ, t.w_rec, t.rec_type, t.hard_gumbel) == (1.0, 1.0, 1.0, "bce", False)
    assert t.two_time_scale_update_rule == "none"


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"network": {"x_dim": 139968}}, "network.x_dim 3072 .* not 139968"),
        ({"training": {"attribute_kl_weight": 0.01}}, "attribute_kl_weight: got 0.01; allowed: 0"),
        ({"network": {"attribute_dim": 8}}, "network.attribute_dim: got 8; allowed: null"),
        ({"network": {"num_classes": 0}}, "num_classes: got 0; allowed: at least 1"),
        ({"training": {"rec_type": "l1"}}, 'rec_type: got "l1"; allowed: "bce" or "mse"'),
        ({"use_cpu": 1, "device": "cuda"}, "use_cpu 1 only with device auto or cpu"),
    ],
)
def test_what_cannot_be_is_refused(sections, words):
    with pytest.raises(ConfigError, match=words):
        gm_config(**sections)


def test_x_dim_may_be_given_where_it_fits_and_use_cpu_is_device_cpu():
    assert gm_config({"x_dim": 139968}, resolution=216).network.x_dim == 139968
    values = {"id": "a", "model": "GMVAE-DRIT", "dataset": "Folders"}
    assert (validate(values, "a").device, validate({**values, "use_cpu": 1}, "a").device) == ("auto", "cpu")


def test_the_temperature_falls_once_an_epoch_to_its_floor():
    t = gm_config(training={"batch_size": 3, "decay_temp_rate": 0.1, "min_temp": 0.7}).training
    taken, epoch = 0, 0
    for iteration in range(1, 40):
        if taken >= 10:  # of 10 images, each seen once
            taken, epoch = taken - 10, epoch + 1
        expected = max(1.0 * math.exp(-0.1 * epoch), 0.7)
        assert gumbel_temperature(t, iteration, 10) == pytest.approx(expected), iteration
        taken += 3
    assert epoch > 5 and gumbel_temperature(t, 39, 10) == 0.7
    still = t.model_copy(update={"decay_temp": False, "init_temp": 0.9})
    assert gumbel_temperature(still, 1000, 10) == 0.9


def test_a_step_draws_at_the_temperature_of_its_epoch_and_hard_where_asked():
    solver = gm_solver(training={"hard_gumbel": 1, "init_temp": 2.0})
    losses = solver.train_step(toy_batch(solver), 10)  # 6 images, 2 a step: after 3 epochs
    assert losses["temperature"].item() == pytest.approx(2 * math.exp(-0.013862944 * 3))
    posterior = solver.model.posterior(toy_batch(solver).images[0], 0)
    assert (posterior.temperature, posterior.hard) == (pytest.approx(losses["temperature"].item()), True)
    assert not gm_solver().model.posterior(toy_batch(solver).images[0], 0).hard


def test_the_bound_equals_torchs_distributions():
    solver = gm_solver(network={"content_noise": 0})
    images, made = made_by(solver, 3)
    terms = solver.attribute_terms(images, made)
    learned = solver.model.prior()
    priors = [Independent(Normal(m, (0.5 * v).exp()), 1) for m, v in zip(learned.mean, learned.logvar)]
    gauss = categ = 0.0
    for posterior in made.posteriors:
        q = Categorical(logits=posterior.logits)
        categ += kl_divergence(q, Categorical(torch.ones(3, 3))).mean().item() / 2
        for y, prior in enumerate(priors):
            inferred = Normal(posterior.means[:, y], (0.5 * posterior.logvars[:, y]).exp())
            gauss += (q.probs[:, y] * kl_divergence(Independent(inferred, 1), prior)).mean().item() / 2
    assert terms["gauss"].item() == pytest.approx(gauss, rel=1e-4)
    assert terms["categ"].item() == pytest.approx(categ, rel=1e-3, abs=1e-6)
    assert terms.keys() == {"gauss", "categ", "rec"}


def test_rec_type_and_bound_scale_change_the_reconstruction_and_its_weight():
    found = {}
    for kind in ("bce", "mse"):
        solver = gm_solver(training={"rec_type": kind})
        torch.manual_seed(0)
        images, made = made_by(solver)
        found[kind] = solver.attribute_terms(images, made)["rec"].item()
    p = torch.stack([(image + 1) / 2 for image in made.reconstructed])
    t = torch.stack([(image + 1) / 2 for image in images])
    assert found["mse"] == pytest.approx((p - t).square().sum().item() / 4, rel=1e-4)
    bce = -(t * p.log() + (1 - t) * (1 - p).log()).sum().item() / 4
    assert found["bce"] == pytest.approx(bce, rel=1e-4)
    for scale, values in (("pixel", 3 * 32 * 32), ("image", 1)):
        weights = gm_solver(training={"bound_scale": scale, "w_gauss": 2, "w_categ": 3, "w_rec": 5}).weights()
        assert [weights[name] * values for name in ("gauss", "categ", "rec")] == pytest.approx([2, 3, 5])


@pytest.mark.parametrize(
    ("rule", "learners", "judges"), [("none", 1, 1), ("double_gen_enc", 2, 1), ("half_discr", 1, 0.5)]
)
def test_the_two_time_scale_rule_and_the_prior_scale_set_the_rates_they_name(rule, learners, judges):
    training = {"two_time_scale_update_rule": rule, "prior_lr_scale": 7, "isDcontent": 1, "lr": 1e-3}
    solver = gm_solver(training=training)
    solver.set_time(1)
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in solver.optimizers.items()}
    expected = dict.fromkeys(("enc_c", "enc_a", "gen"), 1e-3 * learners) | {"prior": 7e-3 * learners}
    expected |= {"dis1": 1e-3 * judges, "dis2": 1e-3 * judges, "disContent": 0.4e-3 * judges}
    assert rates == pytest.approx(expected)


def kinds(network: torch.nn.Module, kind: type) -> int:
    return sum(isinstance(layer, kind) for layer in network.modules())


@pytest.mark.parametrize("concat", [0, 1])
def test_use_adain_and_the_double_layer_change_the_generator_and_nothing_else(concat):
    plain, adain, double = (
        gm_solver(network={"concat": concat, **more}).model
        for more in ({}, {"use_adain": 1}, {"double_layer_ReLUINSConvTranspose": 1})
    )
    assert kinds(plain.gen, AdaptiveNorm) == kinds(double.gen, AdaptiveNorm) == 0
    assert kinds(adain.gen, AdaptiveNorm) == 2 * (1 if concat else 2)  # two in each of the blocks
    convolutions = [kinds(model.gen, torch.nn.ConvTranspose2d) for model in (plain, adain, double)]
    assert convolutions == [3, 3, 5]
    assert plain.enc_a.state_dict().keys() == adain.enc_a.state_dict().keys()
    if concat:
        assert plain.gen.state_dict().keys() == ConcatGenerator(4, 4, 2, 1).state_dict().keys()


def test_adain_equals_a_computation_by_hand_and_lets_the_style_change_what_instance_norm_hides():
    norm, x, style = AdaptiveNorm(3, 2), torch.randn(2, 3, 5, 5), torch.randn(2, 2)
    found = norm(x, style)
    w, b = norm.of_style.weight, norm.of_style.bias
    for i, c in np.ndindex(2, 3):
        scale, shift = w[c] @ style[i] + b[c], w[3 + c] @ style[i] + b[3 + c]
        plane = x[i, c]
        by_hand = (plane - plane.mean()) / (plane.var(unbiased=False) + 1e-5).sqrt() * (1 + scale) + shift
        assert torch.allclose(found[i, c], by_hand, atol=1e-5)
    block = ResidualBlock(4)  # the style as constant maps, as `concat` 1 gives it: InstanceNorm takes it away
    maps = torch.randn(1, 4, 5, 5)
    moved = maps + torch.randn(1, 4, 1, 1)
    assert torch.allclose(block(moved) - moved, block(maps) - maps, atol=1e-3)


def test_a_double_upsampling_doubles_the_size_once():
    x = torch.randn(1, 6, 5, 7)
    assert UpBlock(6, 3, double=True)(x).shape == UpBlock(6, 3)(x).shape == (1, 3, 10, 14)


def test_random_styles_come_from_the_learned_mixture_and_carry_no_gradient():
    model = gm_solver().model
    with torch.no_grad():
        model.prior.means.copy_(torch.arange(3.0)[:, None].expand(3, 4) * 100)
    drawn = model.sample_style(60, 0, torch.Generator().manual_seed(0))
    assert {round(value / 100) for value in drawn.mean(dim=1).tolist()} == {0, 1, 2}
    assert torch.equal(drawn, model.sample_style(60, 1, torch.Generator().manual_seed(0)))
    one = model.sample_style(60, 0, torch.Generator().manual_seed(0), component=2)
    assert (one.mean(dim=1) / 100).round().unique().tolist() == [2] and not drawn.requires_grad
    assert model.components == 3


def test_the_prior_learns_from_the_bound_alone():
    solver = gm_solver(training={"w_gauss": 0, "weight_decay": 0.0})
    solver.set_time(1)
    before = solver.model.prior.means.clone()
    solver.train_step(toy_batch(solver), 1)
    assert torch.equal(solver.model.prior.means, before)
    solver = gm_solver(training={"weight_decay": 0.0})
    solver.set_time(1)
    before = solver.model.prior.means.clone()
    solver.train_step(toy_batch(solver), 1)
    assert not torch.equal(solver.model.prior.means, before)


COMBINED = [  # domains, resolution, batch, concat, adain, double, hard, rec_type, rule, isDcontent, no_ms
    (2, 32, 1, 1, 1, 1, 0, "bce", "half_discr", 1, 0),
    (2, 36, 2, 0, 1, 1, 1, "mse", "double_gen_enc", 0, 1),
    (3, 32, 3, 0, 0, 1, 0, "bce", "none", 1, 1),
    (2, 64, 8, 1, 1, 0, 1, "bce", "double_gen_enc", 1, 1),
    (2, 32, 1, 1, 0, 0, 1, "mse", "half_discr", 0, 0),
]


@pytest.mark.parametrize("case", COMBINED)
def test_keys_combine_at_any_batch_and_resolution_and_every_network_learns(case):
    domains, resolution, batch, concat, adain, double, hard, rec_type, rule, content, no_ms = case
    training = {"hard_gumbel": hard, "rec_type": rec_type, "two_time_scale_update_rule": rule, "d_iter": 1}
    network = {"concat": concat, "use_adain": adain, "double_layer_ReLUINSConvTranspose": double}
    training |= {"isDcontent": content, "no_ms": no_ms, "batch_size": batch}
    solver = gm_solver(domains, network, resolution=resolution, training=training)
    hold_still(solver)
    losses = solver.train_step(toy_batch(solver, min(batch, 6)), 1)
    assert all(value.isfinite() for value in losses.values())
    weights = solver.weights()
    total = sum(weights[name] * value.item() for name, value in losses.items() if name in weights)
    assert losses["total"].item() == pytest.approx(total, rel=1e-4)
    shares = [losses[f"component_{k}"].item() for k in range(3)]
    assert sum(shares) == pytest.approx(1, abs=1e-5) and min(shares) > 0
    for name, network in solver.networks.items():
        assert sum(p.grad.abs().sum().item() for p in network.parameters() if p.grad is not None) > 0, name
