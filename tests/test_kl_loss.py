"""The mixture's losses against computations of another kind: numeric integration, many draws, plain loops."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from models.blocks import Gaussian
from models.gmvae import (
    MixtureHead,
    MixturePosterior,
    MixturePrior,
    categorical_loss,
    gaussian_loss,
    reconstruction_loss,
)


def random_mixture(seed: int, batch: int = 3, kinds: int = 4, size: int = 2):
    draw = torch.Generator().manual_seed(seed)
    posterior = MixturePosterior(
        2 * torch.randn(batch, kinds, generator=draw),
        2 * torch.randn(batch, kinds, size, generator=draw),
        torch.randn(batch, kinds, size, generator=draw),
    )
    prior = Gaussian(torch.randn(kinds, size, generator=draw), torch.randn(kinds, size, generator=draw))
    return posterior, prior


def softmax(logits: torch.Tensor) -> np.ndarray:
    powers = np.exp(logits.double().numpy())
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(4))
def test_the_gaussian_loss_equals_numeric_integration(seed):
    posterior, prior = random_mixture(seed)
    q = softmax(posterior.logits)
    expected = 0.0
    for b, y, d in np.ndindex(*posterior.means.shape):
        mean, scale = posterior.means[b, y, d].item(), math.exp(posterior.logvars[b, y, d].item() / 2)
        inferred = stats.norm(mean, scale)
        prior_scale = math.exp(prior.logvar[y, d].item() / 2)
        z = np.linspace(mean - 12 * scale, mean + 12 * scale, 20_001)
        gap = inferred.logpdf(z) - stats.norm(prior.mean[y, d].item(), prior_scale).logpdf(z)
        expected += q[b, y] * np.trapezoid(inferred.pdf(z) * gap, z) / len(q)
    assert gaussian_loss(posterior, prior).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", range(2))
def test_the_gaussian_loss_is_the_mean_over_draws_of_y_and_z(seed):
    posterior, prior = random_mixture(seed, batch=1)
    rng = np.random.default_rng(seed)
    y = rng.choice(4, 400_000, p=softmax(posterior.logits)[0])
    mean, scale = posterior.means[0].numpy()[y], np.exp(posterior.logvars[0].numpy() / 2)[y]
    z = rng.normal(mean, scale)
    of_prior = stats.norm.logpdf(z, prior.mean.numpy()[y], np.exp(prior.logvar.numpy() / 2)[y])
    gaps = (stats.norm.logpdf(z, mean, scale) - of_prior).sum(axis=1)
    error = gaps.std() / math.sqrt(len(gaps))
    assert abs(gaussian_loss(posterior, prior).item() - gaps.mean()) < 5 * error < 0.2


def test_the_gaussian_loss_tells_the_right_mixture_from_wrong_ones():
    codes = torch.tensor([[-3.0, 1.0], [4.0, 0.0], [0.0, -2.0]])  # one image of each component
    right = Gaussian(codes.clone(), torch.full((3, 2), -1.0))
    posterior = MixturePosterior(20 * torch.eye(3), codes.expand(3, 3, 2), torch.full((3, 3, 2), -1.0))
    best = gaussian_loss(posterior, right).item()
    assert best == pytest.approx(0, abs=1e-4)
    wrong = {
        "components exchanged": right._replace(mean=codes[[1, 2, 0]]),
        "one place for all": right._replace(mean=codes.mean(dim=0).expand(3, 2)),
        "moved": right._replace(mean=codes + 0.5),
        "too wide": right._replace(logvar=torch.full((3, 2), 1.0)),
        "too narrow": right._replace(logvar=torch.full((3, 2), -3.0)),
    }
    for name, prior in wrong.items():
        assert gaussian_loss(posterior, prior).item() > best + 0.1, name


def test_the_prior_learns_a_mixture_by_the_gaussian_loss():
    codes = torch.tensor([[-3.0, 1.0], [4.0, 0.0]])
    posterior = MixturePosterior(20 * torch.eye(2), codes.expand(2, 2, 2), torch.full((2, 2, 2), -1.0))
    torch.manual_seed(0)
    prior = MixturePrior(2, 2)
    descent = torch.optim.LBFGS(prior.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        descent.zero_grad()
        value = gaussian_loss(posterior, prior())
        value.backward()
        return value

    assert descent.step(loss) > 1
    assert torch.allclose(prior().mean, codes, atol=0.01)
    assert torch.allclose(prior().logvar, torch.full((2, 2), -1.0), atol=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_the_categorical_loss_equals_a_plain_sum(seed):
    logits = 3 * torch.randn(5, 7, generator=torch.Generator().manual_seed(seed))
    expected = sum(stats.entropy(row, np.full(7, 1 / 7)) for row in softmax(logits)) / 5
    assert categorical_loss(logits).item() == pytest.approx(expected, rel=1e-4)


def test_the_categorical_loss_goes_from_nothing_to_log_k_and_has_a_gradient():
    assert categorical_loss(torch.zeros(2, 5)).item() == pytest.approx(0, abs=1e-6)
    assert categorical_loss(200 * torch.eye(5)).item() == pytest.approx(math.log(5))
    logits = torch.tensor([[1.0, 0.0, -1.0]], requires_grad=True)
    categorical_loss(logits).backward()
    assert logits.grad.abs().min() > 1e-3


@pytest.mark.parametrize("kind", ["bce", "mse"])
def test_the_reconstruction_loss_equals_a_plain_loop_on_0_to_1(kind):
    rng = np.random.default_rng(0)
    made, images = rng.uniform(-0.99, 0.99, (2, 2, 3, 4, 4))
    expected = 0.0
    for p, t in zip((made.ravel() + 1) / 2, (images.ravel() + 1) / 2):
        bce = -t * math.log(p) - (1 - t) * math.log(1 - p)
        expected += (bce if kind == "bce" else (p - t) ** 2) / 2  # over a batch of two
    found = reconstruction_loss(torch.from_numpy(made), torch.from_numpy(images), kind)
    assert found.item() == pytest.approx(expected)


def test_reconstructions_at_the_end_of_the_range_give_finite_gradients():
    before = torch.tensor([[[[30.0, -30.0, 9.0, -9.0]]]], requires_grad=True)
    reconstruction_loss(before.tanh(), -before.detach().sign(), "bce").backward()
    assert before.grad.isfinite().all()


def test_draws_of_z_have_the_mixtures_moments_at_a_low_temperature():
    posterior, _ = random_mixture(3, batch=1)
    many = MixturePosterior(*(part.expand(40_000, *part.shape[1:]) for part in posterior[:3]), 0.01)
    torch.manual_seed(0)
    z = many.sample()
    q = torch.from_numpy(softmax(posterior.logits))[0, :, None]
    mean = (q * posterior.means[0]).sum(dim=0)
    square = (q * (posterior.means[0].square() + posterior.logvars[0].exp())).sum(dim=0)
    assert torch.allclose(posterior.mean[0].double(), mean)
    assert torch.allclose(z.mean(dim=0).double(), mean, atol=0.05)
    assert torch.allclose(z.square().mean(dim=0).double(), square, rtol=0.04)


@pytest.mark.parametrize("hard", [False, True])
def test_draws_teach_both_q_of_y_and_q_of_z(hard):
    head = MixtureHead(6, 3, 4)
    posterior = head(torch.randn(2, 6))._replace(hard=hard)
    posterior.sample().square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())


def test_hard_draws_are_of_one_component_and_soft_ones_lie_between():
    means = torch.eye(4)[None].expand(500, 4, 4)
    posterior = MixturePosterior(torch.zeros(500, 4), means, torch.full((500, 4, 4), -60.0), 1.0, True)
    torch.manual_seed(0)
    hard, soft = posterior.sample(), posterior._replace(hard=False).sample()
    assert torch.allclose(hard.amax(dim=1), torch.ones(500), atol=1e-5)
    assert soft.amax(dim=1).mean() < 0.9 and torch.allclose(soft.sum(dim=1), torch.ones(500), atol=1e-4)


def test_the_head_gives_for_every_component_what_it_gives_for_its_one_hot_vector():
    head, features = MixtureHead(6, 3, 4), torch.randn(2, 6)
    posterior = head(features)
    for k in range(3):
        y = torch.eye(3)[k].expand(2, 3)
        out = head.z(torch.relu(head.of_image(features) + head.of_component(y)))
        assert torch.allclose(posterior.means[:, k], out[:, :4], atol=1e-6)
        assert torch.allclose(posterior.logvars[:, k], out[:, 4:], atol=1e-6)


def test_prior_draws_come_from_the_learned_components_in_equal_parts():
    prior = MixturePrior(3, 2)
    with torch.no_grad():
        prior.means.copy_(torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]]))
        prior.logvars.copy_(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, -2.0]]))
    z = prior.sample(30_000, torch.Generator().manual_seed(0))
    which = torch.cdist(z, prior.means).argmin(dim=1)
    for k in range(3):
        own = z[which == k]
        assert len(own) / 30_000 == pytest.approx(1 / 3, abs=0.02)
        assert torch.allclose(own.mean(dim=0), prior.means[k], atol=0.1)
        assert torch.allclose(own.var(dim=0).log(), prior.logvars[k], atol=0.1)
        one = prior.sample(2_000, torch.Generator().manual_seed(1), component=k)
        assert (torch.cdist(one, prior.means).argmin(dim=1) == k).all()
        assert not one.requires_grad
    for missing in (-1, 3):
        with pytest.raises(ValueError, match="of a mixture of 3"):
            prior.sample(1, component=missing)


def test_a_component_of_the_prior_cannot_shrink_onto_a_point():
    prior = MixturePrior(1, 1)
    with torch.no_grad():
        prior.logvars.fill_(-1000)
    posterior = MixturePosterior(torch.zeros(1, 1), prior.means[None].detach(), torch.zeros(1, 1, 1))
    assert gaussian_loss(posterior, prior()).isfinite()
