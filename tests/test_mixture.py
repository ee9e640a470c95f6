"""The mixture's start at clusters of encoded images (training.mixture_start)."""

import copy

import numpy as np
import pytest
import torch
from conftest import same_tensors
from drit_toys import check_resumes, toy_batch, toy_solver
from sklearn.metrics import normalized_mutual_info_score
from torch import nn

from dataloader.unpaired import Unpaired
from models.gmvae import MixtureHead, MixturePosterior, MixturePrior, gaussian_loss
from models.gmvae_drit import GMVAEDRIT
from solvers.mixture import place_components

NETWORK = {"attribute_dim": None, "gaussian_size": 4, "num_classes": 3}
COLOURS = np.array([[230, 20, 20], [20, 230, 20], [20, 20, 230]])


def gm_solver(start: int, **training):
    return toy_solver("GMVAE-DRIT", network=NETWORK, training={"mixture_start": start, **training})


class MeanColours(nn.Module):
    """An attribute encoder that sees an image's mean colour and nothing else."""

    def __init__(self, components: int):
        super().__init__()
        self.head = MixtureHead(3, components, 4)

    def features(self, image: torch.Tensor, one_hot: torch.Tensor) -> torch.Tensor:
        return image.mean(dim=(2, 3))

    def forward(self, image: torch.Tensor, one_hot: torch.Tensor):
        return self.head(self.features(image, one_hot))


@pytest.fixture
def coloured():
    """A model and a data set whose domain B has images of three colours, A of one: (model, set, B's kind)."""
    rng = np.random.default_rng(0)
    kind = rng.permutation(np.repeat([0, 1, 2], (30, 20, 10)))
    noise = rng.integers(-8, 9, (60, 1, 1, 3))
    pictures = (COLOURS[kind][:, None, None] + noise + np.zeros((1, 32, 32, 1), int)).clip(0, 255)
    stacks = {"A": np.full((60, 32, 32, 3), 128, np.uint8), "B": pictures.astype(np.uint8)}
    torch.manual_seed(1)
    model = GMVAEDRIT(32, ("A", "B"), base_width=4, attribute_dim=4, residual_blocks=1, num_classes=3)
    model.enc_a = MeanColours(3)
    with torch.no_grad():  # a wide head, so that colours lie apart among the codes
        model.enc_a.head.of_image.weight.mul_(5)
        model.enc_a.head.z.weight.mul_(5)
    model.become_one_gaussian()
    return model, Unpaired(stacks, 32, flip=False), kind


def test_components_are_placed_at_the_clusters_of_the_domain_that_varies(coloured):
    model, dataset, kind = coloured
    images = dataset.at(np.arange(60), np.arange(60)).images[1]
    before = model.posterior(images, 1)
    assert torch.equal(before.probabilities, torch.full((60, 3), 1 / 3))
    place_components(model, dataset, 0, torch.device("cpu"))
    after = model.posterior(images, 1)
    chosen = after.probabilities.argmax(dim=1).numpy()
    assert normalized_mutual_info_score(kind, chosen) == pytest.approx(1)
    assert after.probabilities.max(dim=1).values.min() > 0.8
    codes, spread = before.means[:, 0].detach().double(), before.logvars[:, 0].detach().double().exp()
    for k in range(3):
        component, mine = chosen[kind == k][0], torch.from_numpy(kind == k)
        expected = codes[mine].var(dim=0, unbiased=False) + spread[mine].mean(dim=0)
        found = model.prior.logvars[component].exp().double()
        assert torch.allclose(model.prior.means[component].double(), codes[mine].mean(dim=0), atol=1e-3)
        assert torch.allclose(found, expected + 1e-3, rtol=0.01)


def test_placing_is_the_same_each_time_and_survives_images_that_are_all_alike(coloured):
    model, dataset, _ = coloured
    twin = copy.deepcopy(model)
    for one in (model, twin):
        place_components(one, dataset, 0, torch.device("cpu"))
    first = model.state_dict()
    assert all(torch.equal(value, first[name]) for name, value in twin.state_dict().items())
    grey = Unpaired({name: np.full((5, 32, 32, 3), 128, np.uint8) for name in "AB"}, 32, flip=False)
    model.become_one_gaussian()
    place_components(model, grey, 0, torch.device("cpu"))
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_standardising_features_changes_neither_posterior():
    torch.manual_seed(0)
    head, features = MixtureHead(6, 3, 4), 5 + 2 * torch.randn(40, 6)
    before = head(features)
    for _ in range(2):  # the second time there is something to undo
        shift, scale = torch.randn(6), 0.5 + torch.rand(6)
        head.standardise(shift, scale)
        after = head(features)
        assert torch.allclose(before.logits, after.logits, atol=1e-4)
        assert torch.allclose(before.means, after.means, atol=1e-4)
        assert torch.allclose(before.logvars, after.logvars, atol=1e-4)
    assert torch.equal(head.shift, shift) and torch.equal(head.scale, scale)


def test_placing_standardises_what_the_head_sees(coloured):
    model, dataset, _ = coloured
    place_components(model, dataset, 0, torch.device("cpu"))
    seen = []
    model.enc_a.head.of_image.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for domain in (0, 1):
        model.posterior(dataset.at(np.arange(60), np.arange(60)).images[domain], domain)
    features = torch.cat(seen)
    assert features.mean(dim=0).abs().max() < 1e-3
    assert torch.allclose(features.std(dim=0), torch.ones(3), atol=0.02)


def test_until_its_start_the_mixture_is_one_gaussian_and_then_it_learns():
    solver = gm_solver(start=2, weight_decay=0.1)
    head, prior = solver.model.enc_a.head, solver.model.prior
    for iteration in (1, 2):
        solver.set_time(iteration)
        solver.train_step(toy_batch(solver), iteration)
        assert not prior.means.any() and not prior.logvars.any()
        assert not any(parameter.any() for parameter in head.of_components())
    placed = {}
    for iteration in (3, 4):
        solver.set_time(iteration)
        solver.train_step(toy_batch(solver), iteration)
        placed[iteration] = prior.means.detach().clone()
    assert placed[3].any() and not torch.equal(placed[3], placed[4])
    assert head.of_component.weight.any()


@pytest.mark.parametrize(
    ("given", "later"), [({}, 2), ({"w_gauss_mixture": 6}, 6), ({"w_gauss_mixture": 0}, 0)]
)
def test_the_gaussian_terms_weight_may_change_when_components_are_placed(given, later):
    solver = gm_solver(start=1, w_gauss=2, bound_scale="image", **given)
    found = []
    for iteration in (1, 2, 3):
        solver.set_time(iteration)
        solver.train_step(toy_batch(solver), iteration)
        found.append(solver.weights()["gauss"])
    assert found == [2, later, later]


def test_with_no_start_the_mixture_learns_from_the_first_iteration():
    solver = gm_solver(start=0)
    before = solver.model.prior.means.detach().clone()
    assert before.any()
    solver.set_time(1)
    solver.train_step(toy_batch(solver), 1)
    assert not torch.equal(solver.model.prior.means, before)


@pytest.mark.parametrize(("stop", "moments"), [(2, 0), (3, 0), (5, 0), (3, 0.1), (5, 0.1)])
def test_a_run_stopped_about_the_start_goes_on_bit_for_bit(tmp_path, stop, moments):
    options = {"batch_size": 2, "sample_freq": 100, "print_freq": 100}

    def make(name, **more):
        return toy_solver(
            "GMVAE-DRIT",
            network=NETWORK,
            run_dir=str(tmp_path / name),
            training={**options, "mixture_start": 3, "prior_moments": moments, **more},
        )

    check_resumes(make, tmp_path, stop, 6)


# Moments of codes


def posterior_of(images: int, components: int = 3, size: int = 4) -> MixturePosterior:
    torch.manual_seed(2)
    logits = 2 * torch.randn(images, components)
    means = torch.randn(images, components, size) + 3 * torch.randn(components, size)
    return MixturePosterior(logits, means, torch.randn(images, components, size) - 1)


def some_of(posterior: MixturePosterior, which: torch.Tensor) -> MixturePosterior:
    return MixturePosterior(*(values[which] for values in posterior[:3]))


def test_what_follows_codes_ends_where_the_gaussian_term_is_least_for_each_domain():
    posterior, domain = posterior_of(60), torch.arange(60) % 3
    prior = MixturePrior(3, 4, followed=2)  # and of a third domain's images nothing is kept
    for _ in range(400):
        prior.follow(prior.offsets(posterior, domain), 0.1)
    for number in range(2):
        mine = some_of(posterior, domain == number)
        q = mine.probabilities.double().numpy()
        means, variances = mine.means.double().numpy(), mine.logvars.double().exp().numpy()
        assert prior.shares[number].numpy() == pytest.approx(q.mean(axis=0), rel=1e-4)
        for k in range(3):
            mean = np.average(means[:, k], axis=0, weights=q[:, k])
            variance = np.average(variances[:, k] + (means[:, k] - mean) ** 2, axis=0, weights=q[:, k])
            assert prior.code_means[number, k].numpy() == pytest.approx(mean, abs=1e-4)
            assert prior.code_variances[number, k].numpy() == pytest.approx(variance, rel=1e-3)
        best, other = MixturePrior(3, 4), MixturePrior(3, 4)
        with torch.no_grad():
            best.means.copy_(prior.code_means[number])
            best.logvars.copy_(prior.code_variances[number].log())
        slopes, steep = (
            torch.autograd.grad(gaussian_loss(mine, one()), [one.means, one.logvars]) for one in (best, other)
        )
        assert all(a.abs().max() < 1e-3 * b.abs().max() for a, b in zip(slopes, steep))


def test_what_is_followed_adds_up_over_processes_and_without_images_nothing_moves():
    posterior, domain = posterior_of(8), torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
    prior = MixturePrior(3, 4, followed=2)
    parts = [prior.offsets(some_of(posterior, part), domain[part]) for part in torch.arange(8).split(3)]
    assert torch.allclose(sum(parts), prior.offsets(posterior, domain), atol=1e-5)
    before = copy.deepcopy(prior.state_dict())
    prior.follow(prior.offsets(posterior, torch.zeros(8)), 0.5)
    after = prior.state_dict()
    for name in ("code_means", "code_variances", "shares"):
        assert torch.equal(after[name][1], before[name][1]) and not torch.equal(
            after[name][0], before[name][0]
        )


def test_random_styles_have_the_moments_of_their_domains_codes_and_come_as_often():
    prior = MixturePrior(3, 2, followed=2)
    prior.code_means.copy_(torch.tensor([[[0.0, 0], [50, 0], [0, 50]], [[9.0, 9], [9, 9], [9, 9]]]))
    prior.code_variances[0, 2] = 4
    prior.shares[0] = torch.tensor([0.7, 0.0, 0.3])
    drawn = prior.sample(4000, torch.Generator().manual_seed(0), domain=0)
    found = torch.cdist(drawn, prior.code_means[0]).argmin(dim=1)
    shares = found.bincount(minlength=3) / 4000
    assert shares.tolist() == pytest.approx([0.7, 0, 0.3], abs=0.03)
    assert drawn[found == 0].std(dim=0).tolist() == pytest.approx([1, 1], abs=0.1)
    assert drawn[found == 2].std(dim=0).tolist() == pytest.approx([2, 2], abs=0.2)
    assert (prior.sample(5, component=1, domain=0)[:, 0] > 40).all()
    assert prior.sample(50, domain=1).mean().item() == pytest.approx(9, abs=0.5)
    assert prior.sample(50).abs().max() < 8  # p(z|y) itself


def test_moments_of_codes_change_nothing_in_training():
    states = {}
    for rate in (0, 0.3):
        torch.manual_seed(3)
        solver = gm_solver(start=2, prior_moments=rate)
        batch = toy_batch(solver)
        for iteration in (1, 2, 3, 4):
            torch.manual_seed(iteration)
            solver.set_time(iteration)
            solver.train_step(batch, iteration)
        states[rate] = solver.model.state_dict()
    extra = {name for name in states[0.3] if name not in states[0]}
    assert extra == {"prior.code_means", "prior.code_variances", "prior.shares"}
    assert same_tensors({name: states[0.3][name] for name in states[0]}, states[0])
    even = torch.full((2, 3), 1 / 3)
    assert not torch.equal(states[0.3]["prior.shares"], even)
    drawn = solver.model.sample_style(500, 1, component=0)
    assert drawn.mean(dim=0).detach().tolist() == pytest.approx(
        states[0.3]["prior.code_means"][1, 0].tolist(), abs=0.5
    )


def test_until_components_are_placed_moments_are_those_of_one_gaussian_and_then_begin_at_the_components():
    solver = gm_solver(start=2, prior_moments=0.1)
    prior, kept = solver.model.prior, []
    follow, solver.follow_codes = solver.follow_codes, lambda *given: kept.append(given)
    for iteration in (1, 2):
        solver.set_time(iteration)
        solver.train_step(toy_batch(solver), iteration)
    assert not kept and not prior.code_means.any() and (prior.code_variances == 1).all()
    solver.set_time(3)
    solver.train_step(toy_batch(solver), 3)
    assert len(kept) == 1 and prior.code_means.any()
    assert torch.equal(prior.code_means[0], prior.code_means[1])
    learned = prior.means  # for one step since
    assert torch.allclose(prior.code_means[0], learned, atol=0.01)
    before = prior.code_means.clone()
    follow(*kept[0])
    assert not torch.equal(prior.code_means, before)
