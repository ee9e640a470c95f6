"""Losses of several models against closed forms, NumPy and derivatives taken numerically."""

import numpy as np
import pytest
import torch
from torch import nn

from solvers.losses import adversarial, gradient_penalty, least_squares


def test_least_squares_add_up_over_scales_what_numpy_says_of_each():
    logits = [torch.randn(4, 1, n, n, generator=torch.Generator().manual_seed(n)) for n in (6, 3)]
    want = sum(np.mean((x.numpy() - 1) ** 2) for x in logits)
    assert least_squares(logits, 1.0).item() == pytest.approx(want)
    assert least_squares([torch.full((2, 3), 0.5)], 0.5) == 0


def test_cross_entropy_of_logits_is_that_of_their_probabilities():
    logits = torch.tensor([[-3.0, 0.0, 2.5]])
    probability = 1 / (1 + np.exp(-logits.numpy()))
    assert adversarial([logits], 1.0).item() == pytest.approx(-np.log(probability).mean(), rel=1e-5)
    assert adversarial([logits], 0.0).item() == pytest.approx(-np.log(1 - probability).mean(), rel=1e-5)


@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
def test_a_linear_judge_is_penalised_by_its_slope_alone(slope):
    direction = torch.zeros(3, 4, 4)
    direction[0, 0, 0] = slope
    real, fake = torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4)
    found = gradient_penalty(lambda x: (x * direction).flatten(1).sum(dim=1), real, fake)
    assert found.item() == pytest.approx((slope - 1) ** 2, abs=1e-6)


def test_the_penalty_equals_one_whose_gradient_is_taken_by_differences():
    torch.manual_seed(0)
    judge = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Tanh(), nn.Conv2d(4, 1, 2)).double()
    real, fake = torch.randn(2, 3, 6, 6).double(), torch.randn(2, 3, 6, 6).double()
    torch.manual_seed(1)
    found = gradient_penalty(judge, real, fake)
    torch.manual_seed(1)
    share = torch.rand(2, 1, 1, 1)
    places, step, norms = fake + share * (real - fake), 1e-6, []
    for place in places:
        slopes = []
        for number in range(place.numel()):
            ends = [place.clone().flatten() for _ in range(2)]
            ends[0][number] += step
            ends[1][number] -= step
            with torch.no_grad():
                up, down = (judge(end.view(1, 3, 6, 6)).sum() for end in ends)
            slopes.append((up - down).item() / (2 * step))
        norms.append(np.linalg.norm(slopes))
    assert found.item() == pytest.approx(np.mean((np.array(norms) - 1) ** 2), rel=1e-5)


def test_the_penalty_teaches_the_judge_and_neither_image():
    judge = nn.Conv2d(3, 1, 2)
    real, fake = (torch.randn(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    gradient_penalty(judge, real, fake).backward()
    assert judge.weight.grad.abs().sum() > 0 and real.grad is None and fake.grad is None
