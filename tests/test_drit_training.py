"""DRIT's and MDMM's losses and steps against plain computations, and whole runs at many sizes."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import same_tensors
from drit_toys import NARROW, check_resumes, check_tests, hold_still, tensors, toy_batch, toy_solver

from benchmarks import plain_drit
from solvers.drit import cross_cycle
from solvers.losses import frozen, mode_seeking


def gradients(solver) -> dict[str, list[torch.Tensor]]:
    return {name: [p.grad for p in net.parameters()] for name, net in solver.networks.items()}


@pytest.mark.parametrize("concat", [0, 1])
@pytest.mark.parametrize(("no_ms", "batch"), [(0, 3), (1, 1)])
def test_gradients_equal_those_of_the_authors_order(concat, no_ms, batch, float64):
    """One forward pass and one backward pass against two of each, at equal weights and draws, and where mode
    seeking's gradients don't hide all others."""
    network = {"concat": concat, "content_noise": 0, "init_std": 0.2}
    solver = toy_solver(training={"d_iter": 1, "no_ms": no_ms}, network=network)
    hold_still(solver)
    images = toy_batch(solver, batch)
    torch.manual_seed(5)
    solver.train_step(images, 1)
    ours = gradients(solver)
    w = {name: tensors(net) for name, net in solver.networks.items()}
    wanted = plain_drit.step(w, *images.images, noise=0, mode_seeking=not no_ms, seed=5)
    assert ours.keys() == wanted.keys()
    for name, expected in wanted.items():
        largest = max(g.abs().max().item() for g in expected)
        assert largest > 0, name
        for mine, theirs in zip(ours[name], expected, strict=True):
            assert mine.dtype == torch.float64
            assert torch.allclose(mine, theirs, rtol=1e-6, atol=1e-8 * largest), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_latent_regression_teaches_generator_and_content_encoder_but_not_the_attribute_encoder(precision):
    solver = toy_solver(precision=precision)
    images, domains = solver.sides(toy_batch(solver))
    with solver.autocast():
        made = cross_cycle(solver.model, images, domains, solver.draws(2))
    loss = sum(F.l1_loss(seen, made.draws[0]) for seen in made.regressed)
    loss.backward()
    assert not any(p.grad is not None and p.grad.any() for p in solver.model.enc_a.parameters())
    assert all(p.requires_grad for p in solver.model.enc_a.parameters())
    for part in (solver.model.gen, solver.model.enc_c):
        assert sum(p.grad.abs().sum().item() for p in part.parameters() if p.grad is not None) > 0


def test_discriminators_learn_nothing_from_the_generators_loss():
    solver = toy_solver(training={"d_iter": 1})
    images, domains = solver.sides(toy_batch(solver))
    made = cross_cycle(solver.model, images, domains, solver.draws(2))
    sum(solver.generator_losses(images, domains, made).values()).backward()
    judges = [net for name, net in solver.networks.items() if name.startswith("dis")]
    assert all(p.grad is None and p.requires_grad for net in judges for p in net.parameters())


def test_frozen_networks_are_free_again_after_an_error():
    layer = torch.nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="stop"), frozen(layer):
        assert not layer.weight.requires_grad
        raise RuntimeError("stop")
    assert layer.weight.requires_grad


def test_mode_seeking_equals_a_computation_by_hand():
    z1, z2 = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 2.0]])  # |z1 - z2|: (1 + 4) / 2 = 2.5
    one, two = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)  # |G1 - G2| = 0.5
    assert mode_seeking([z1, z2], [one, two]).item() == pytest.approx(1 / (0.5 / 2.5 + 1e-5))
    assert mode_seeking([z1, z2], [one, one]).item() == pytest.approx(1e5, rel=1e-3)


def test_the_terms_are_what_their_names_say():
    solver = toy_solver(training={"d_iter": 1}, network={"content_noise": 0})
    images, domains = solver.sides(toy_batch(solver))
    made = cross_cycle(solver.model, images, domains, solver.draws(2))
    terms = solver.generator_losses(images, domains, made)
    cycled = sum((made.cycled[s] - images[s]).abs().mean() for s in (0, 1))
    assert terms["cross_cycle"].item() == pytest.approx(cycled.item(), rel=1e-5)
    own = sum((made.reconstructed[s] - images[s]).abs().mean() for s in (0, 1))
    assert terms["self_rec"].item() == pytest.approx(own.item(), rel=1e-5)
    kl = 0.0
    for posterior in made.posteriors:
        for mean, logvar in zip(posterior.mean, posterior.logvar):
            kl += sum(0.5 * (m * m + math.exp(v) - 1 - v) for m, v in zip(mean.tolist(), logvar.tolist())) / 2
    assert terms["attribute_kl"].item() == pytest.approx(kl, rel=1e-4, abs=1e-5)
    half = 0.0  # the encoder's wish: 1/2 for both domains
    for content in made.contents:
        for logit in solver.networks["disContent"](content).flatten().tolist():
            p = 1 / (1 + math.exp(-logit))
            half -= 0.5 * (math.log(p) + math.log(1 - p)) / 2
    assert terms["content_adv"].item() == pytest.approx(half, rel=1e-4)


@pytest.mark.parametrize("model", ["DRIT", "MDMM"])
def test_with_mode_seeking_both_random_images_are_judged_as_published(model):
    solver = toy_solver(model, training={"d_iter": 1, "no_ms": 0})
    images, domains = solver.sides(toy_batch(solver))
    made = cross_cycle(solver.model, images, domains, solver.draws(len(images[0])))
    both = solver.generator_losses(images, domains, made)
    wanted = 0.0
    for draw in (0, 1):
        seen = solver.seen_by_discriminators(made.translated, [side[draw] for side in made.randoms])
        for name in (name for name in solver.discriminators if name.endswith("2")):
            logits = solver.networks[name](seen[name])[: 1 if model == "MDMM" else None]
            heard = sum(torch.log1p((-x).exp()).mean().item() for x in logits)
            wanted += 2 * heard if model == "MDMM" else heard
    assert both["adv_random"].item() == pytest.approx(wanted, rel=1e-4)
    solver.training.ms_adversarial = "first"
    first = solver.generator_losses(images, domains, made)
    assert first["adv_random"].item() < 0.7 * wanted
    assert {key: both[key] for key in ("adv", "latent")} == {key: first[key] for key in ("adv", "latent")}


def test_weights_multiply_their_terms():
    names = ("adv", "content_adv", "cross_cycle", "self_rec", "attribute_kl", "content_l2", "latent", "ms")
    training = {f"{name}_weight": 2.0**n for n, name in enumerate(names)}
    solver = toy_solver(training={"d_iter": 1, **training})
    losses = solver.train_step(toy_batch(solver), 1)
    terms = {"adv": "adv", "adv_random": "adv", "mode_seeking": "ms"}
    total = sum(
        training[f"{terms.get(name, name)}_weight"] * value.item()
        for name, value in losses.items()
        if name not in ("total", "dis", "dis_content")
    )
    assert losses["total"].item() == pytest.approx(total, rel=1e-5)


def test_the_content_discriminator_learns_alone_in_all_but_every_d_iterth_iteration():
    solver = toy_solver(training={"d_iter": 3})
    batch = toy_batch(solver)
    for iteration in (1, 2, 3):
        solver.set_time(iteration)
        before = {name: same(net) for name, net in solver.networks.items()}
        losses = solver.train_step(batch, iteration)
        moved = {name for name, net in solver.networks.items() if not same_tensors(before[name], same(net))}
        assert moved == ({"disContent"} if iteration < 3 else set(solver.networks))
        assert ("total" in losses) == (iteration == 3)


def same(network: torch.nn.Module) -> dict:
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


def test_the_content_discriminators_gradient_is_clipped_and_its_rate_scaled():
    solver = toy_solver(training={"dcontent_clip": 1e-3, "dcontent_lr_scale": 0.25, "lr": 1e-3})
    solver.set_time(1)
    assert solver.optimizers["disContent"].param_groups[0]["lr"] == pytest.approx(2.5e-4)
    assert solver.optimizers["disA"].param_groups[0]["lr"] == pytest.approx(1e-3)
    solver.train_step(toy_batch(solver), 1)
    norm = torch.cat([p.grad.flatten() for p in solver.networks["disContent"].parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_without_a_content_discriminator_every_iteration_teaches_the_rest():
    solver = toy_solver(training={"isDcontent": 0, "d_iter": 3})
    losses = solver.train_step(toy_batch(solver), 1)
    assert "disContent" not in solver.networks
    assert "total" in losses and "content_adv" not in losses and "dis_content" not in losses


def test_no_ms_leaves_out_the_second_draw_and_its_term():
    on, off = (toy_solver(training={"d_iter": 1, "no_ms": flag}) for flag in (0, 1))
    assert (len(on.draws(2)), len(off.draws(2))) == (2, 1)
    assert "mode_seeking" in on.train_step(toy_batch(on), 1)
    assert "mode_seeking" not in off.train_step(toy_batch(off), 1)


def test_dis_keys_change_the_discriminators_that_they_name():
    def discriminator(**network):
        return toy_solver(network=network).networks["disA"]

    assert len(discriminator(dis_scale=2).Diss) == 2
    assert not hasattr(discriminator(dis_scale=1), "Diss")
    image = torch.rand(1, 3, 32, 32)
    plain, normed = discriminator(), discriminator(dis_norm="Instance")
    assert not any(isinstance(m, torch.nn.InstanceNorm2d) for m in plain.modules())
    first, scaled = normed(image)[0], normed(image * 30)[0]
    assert torch.allclose(first, scaled, atol=0.05 * first.abs().max().item() + 1e-3)
    spectral = discriminator(dis_spectral_norm=1).state_dict()
    assert any(key.endswith("parametrizations.weight.original") for key in spectral)


def test_paired_data_is_taken_apart():
    solver = toy_solver()
    solver.test_set.paired = True
    batch = toy_batch(solver, 3)
    (a, b), _ = solver.sides(batch)
    assert torch.equal(a, batch.images[0])
    assert all(torch.equal(b[i], batch.images[1][i - 1]) for i in range(3))


def test_pairs_of_many_domains_are_of_two_different_ones_and_all_occur():
    solver = toy_solver("MDMM", 3)
    seen = set()
    for iteration in range(1, 20):
        solver.set_time(iteration)
        batch = toy_batch(solver, 4)
        (a, b), (first, second) = solver.sides(batch)
        for i in range(4):
            assert first[i] != second[i]
            assert torch.equal(a[i], batch.images[first[i]][i]) and torch.equal(
                b[i], batch.images[second[i]][i]
            )
            seen.add((first[i].item(), second[i].item()))
    assert len(seen) == 6


def test_many_domains_losses_equal_a_plain_computation():
    solver = toy_solver("MDMM", 3, training={"isDcontent": 1, "d_iter": 1, "lambda_cls": 3.0})
    hold_still(solver)
    images, domains = solver.sides(toy_batch(solver))
    made = cross_cycle(solver.model, images, domains, solver.draws(2))
    terms = solver.generator_losses(images, domains, made)
    truth = torch.eye(3)[torch.cat(domains)]
    cls = 0.0
    for name, fakes in (("dis1", made.translated), ("dis2", [side[0] for side in made.randoms])):
        p = torch.sigmoid(solver.networks[name](torch.cat(fakes))[1])
        cls = cls - (truth * p.log() + (1 - truth) * (1 - p).log()).mean()
    assert terms["cls"].item() == pytest.approx(cls.item(), rel=1e-4)
    wrong = 0.0  # the encoder is taught toward the other domains
    for content, domain in zip(made.contents, domains):
        p = torch.sigmoid(solver.networks["disContent"](content)[:, :, 0, 0])
        other = 1 - torch.eye(3)[domain]
        wrong = wrong - (other * p.log() + (1 - other) * (1 - p).log()).mean() / 2
    assert terms["content_adv"].item() == pytest.approx(wrong.item(), rel=1e-4)
    judged = 0.0
    for name, fakes in (("dis1", made.translated), ("dis2", [side[0] for side in made.randoms])):
        real, domain = solver.networks[name](torch.cat(images))
        fake, _ = solver.networks[name](torch.cat(fakes))
        judged = judged - 2 * (torch.sigmoid(real).log().mean() + torch.sigmoid(-fake).log().mean())
        judged = judged + 3 * F.binary_cross_entropy(torch.sigmoid(domain), truth)
    assert solver.teach_discriminators(images, domains, made)["dis"].item() == pytest.approx(
        judged.item(), rel=1e-4
    )


def test_a_number_of_domains_that_the_data_has_not_is_refused():
    with pytest.raises(RuntimeError, match="num_domains is 4 and the data has 3"):
        toy_solver("MDMM", 3, network={"num_domains": 4})


CASES = [  # model, domains, resolution, batch, concat, pictures to test, more
    ("DRIT", 2, 32, 1, 1, 6, {}),
    ("DRIT", 2, 32, 2, 0, 6, {"dis_spectral_norm": 1}),
    ("DRIT", 2, 64, 3, 1, 6, {"dis_norm": "Instance", "dis_scale": 1}),
    ("DRIT", 2, 216, 1, 0, 1, NARROW),
    ("DRIT", 2, 256, 3, 1, 1, NARROW),
    ("MDMM", 3, 32, 1, 0, 6, {}),
    ("MDMM", 3, 64, 8, 1, 6, {"dis_spectral_norm": 1}),
    ("MDMM", 2, 32, 2, 1, 6, {}),
    ("MDMM", 3, 216, 2, 1, 1, NARROW),
    ("MDMM", 3, 256, 1, 0, 1, NARROW),
]


@pytest.mark.parametrize(("model", "domains", "resolution", "batch", "concat", "tested", "more"), CASES)
def test_it_trains_resumes_bit_for_bit_within_a_d_iter_phase_and_tests(
    model, domains, resolution, batch, concat, tested, more, tmp_path: Path
):
    def solver(name: str, **training):
        shared = {"isDcontent": 1, "d_iter": 3, "batch_size": batch, "print_freq": 2, "sample_freq": 4}
        return toy_solver(
            model,
            domains,
            tested,
            resolution=resolution,
            run_dir=str(tmp_path / name),
            network={"concat": concat, **more},
            training={**shared, **training},
        )

    again = check_resumes(solver, tmp_path, stopped=4, end=6)  # in the middle of a phase of three
    check_tests(again, tmp_path / "again/results")


@pytest.mark.parametrize("resolution", [216, 256])
@pytest.mark.parametrize(("model", "concat"), [("DRIT", 0), ("DRIT", 1), ("MDMM", 1)])
def test_the_large_resolutions_train(model, concat, resolution):
    network = {"concat": concat, **NARROW}
    options = {"resolution": resolution, "training": {"d_iter": 1, "isDcontent": 1}, "network": network}
    solver = toy_solver(model, 2, **options)
    losses = solver.train_step(toy_batch(solver, 1), 1)
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_bf16_trains():
    solver = toy_solver(precision="bf16", training={"d_iter": 1})
    losses = solver.train_step(toy_batch(solver), 1)
    assert all(torch.isfinite(loss) and loss.dtype == torch.float32 for loss in losses.values())
