"""StarGAN's networks, losses and gradients, against plain computations; what it reads and makes."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from attribute_toys import attribute_solver, domain_solver, three_kinds
from conftest import same_tensors
from drit_toys import hold_still, tensors, toy_batch

from dataloader.domains import attribute_vectors
from models.blocks import append
from models.stargan import Discriminator, DomainStarGAN, Generator, Residual, StarGAN, likeliest
from solvers.losses import gradient_penalty
from solvers.run.folder import RunError

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


@pytest.mark.parametrize("identity", [0, 20])
@pytest.mark.parametrize("kind", ["attributes", "exclusive", "domains"])
def test_losses_and_both_players_gradients_equal_a_plain_rebuild(
    kind, identity, float64, monkeypatch, tmp_path
):
    weights = {"lambda_cls": 1.5, "lambda_rec": 7.0, "lambda_gp": 3.0, "lambda_id": identity}
    training = {**weights, "batch_size": 2}
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
    if identity:
        want = torch.stack([have[n] if n % 4 == 0 else row for n, row in enumerate(want)])

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
    if identity:
        own = range(0, len(x), 4)
        gen["identity"] = torch.stack([(made[n] - x[n]).abs().mean() for n in own]).mean()
        gen["total"] = gen["total"] + 20 * gen["identity"]
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


@pytest.mark.parametrize("halvings", [0, 1, 2])
def test_residual_blocks_see_the_image_halved_so_often(halvings):
    generator, seen = Generator(3, 4, 1, halvings), []
    (block,) = (layer for layer in generator.main if isinstance(layer, Residual))
    block.register_forward_hook(lambda *a: seen.append(a[1][0]))
    assert generator(torch.randn(2, 3, 32, 36), torch.zeros(2, 3)).shape == (2, 3, 32, 36)
    assert seen[0].shape == (2, 4 * 2**halvings, 32 >> halvings, 36 >> halvings)


def test_instance_norm_takes_wanted_attributes_away_inside_and_batch_norm_does_not():
    image = torch.randn(1, 3, 32, 32).expand(2, -1, -1, -1)
    wanted = torch.tensor([[0.0, 1, 0], [1, 0, 0]])
    apart = {}
    for norm in ("instance", "batch"):
        torch.manual_seed(0)
        generator = Generator(3, 4, 1, norm=norm)
        normed, inside = generator.main[1], slice(3, -3)  # a 7 x 7 convolution met no zeros there
        with torch.no_grad():
            a, b = normed(generator.main[0](append(image, wanted)))[..., inside, inside]
            if norm == "instance":  # one factor and one shift a channel is all that is left of the border
                a, b = (x - x.mean((1, 2), keepdim=True) for x in (a, b))
                a, b = (x / x.std((1, 2), keepdim=True) for x in (a, b))
        apart[norm] = (a - b).abs().max().item()
    assert apart["instance"] < 1e-4 and apart["batch"] > 0.1


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
