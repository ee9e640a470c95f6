import math

import pytest
import torch

from configs.keys.common import Training
from configs.keys.iiae import IIAETraining
from solvers.iiae import inter_tempering, inter_weight
from solvers.schedules import kl_annealing, learning_rate, seed_iteration


def test_milestones_equal_torchs_scheduler_step_by_step():
    training = Training(lr=0.1, milestones=[7, 3, 3], scheduler_gamma=0.5, max_iters=12)
    adam = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(adam, [3, 3, 7], gamma=0.5)
    for iteration in range(1, 13):
        assert learning_rate(training, iteration) == pytest.approx(adam.param_groups[0]["lr"])
        adam.step()
        scheduler.step()


def test_cosine_falls_from_the_full_rate_to_almost_zero():
    training = Training(lr=0.2, lr_schedule="cosine", max_iters=100)
    rates = [learning_rate(training, i) for i in range(1, 101)]
    assert rates[0] == 0.2 and 0 < rates[-1] < 1e-3 * 0.2
    assert rates[50] == pytest.approx(0.1)
    assert rates == sorted(rates, reverse=True)


def test_linear_is_constant_then_falls_to_almost_zero():
    training = Training(lr=1.0, lr_schedule="linear", max_iters=100)
    assert [learning_rate(training, i) for i in (1, 51, 76, 100)] == pytest.approx([1.0, 1.0, 0.5, 0.02])


def test_annealing_is_the_references():
    assert kl_annealing(0, 25_000) == 0
    assert kl_annealing(25_000, 25_000) == pytest.approx(1 - math.exp(-1))


def test_the_inter_kl_turns_from_the_references_into_the_exact_one_and_stays():
    training = IIAETraining(inter_kl="reference", inter_exact_iters=[10, 14], max_iters=20)
    assert [inter_tempering(training, i) for i in (1, 10, 11, 13, 14, 20)] == [0, 0, 0.25, 0.75, 1, 1]
    at_once = IIAETraining(inter_kl="reference", inter_exact_iters=[10, 10], max_iters=20)
    assert [inter_tempering(at_once, i) for i in (9, 10, 11)] == [0, 1, 1]
    assert inter_tempering(IIAETraining(inter_kl="exact"), 1) == 1
    assert inter_tempering(IIAETraining(inter_kl="reference"), 50_000) == 0


def test_the_inter_weight_grows_by_one_factor_an_iteration_to_its_end():
    keys = {"inter_kld_weight": 2.0, "inter_kld_weight_end": 32.0, "max_iters": 12}
    training = IIAETraining(inter_kl="reference", inter_exact_iters=[4, 8], **keys)
    assert [inter_weight(training, i) for i in (1, 8, 9, 10, 11, 12)] == pytest.approx([2, 2, 4, 8, 16, 32])
    assert inter_weight(IIAETraining(**keys), 3) == pytest.approx(4)
    annealed = IIAETraining(inter_anneal_iters=5.0, **keys)
    assert inter_weight(annealed, 3) == pytest.approx(4 * kl_annealing(3, 5.0))
    short = IIAETraining(inter_kl="reference", inter_exact_iters=[9, 12], **keys)
    assert [inter_weight(short, i) for i in (1, 11, 12)] == [2, 2, 2]  # a run that ends before stays
    assert {inter_weight(IIAETraining(inter_kld_weight=3.0), i) for i in (1, 700)} == {3.0}


def test_the_draws_of_an_iteration_depend_on_seed_rank_and_iteration_only():
    def draw(*key):
        seed_iteration(*key)
        return torch.randn(4).tolist()

    keys = [(0, 0, 1), (0, 0, 2), (0, 1, 1), (1, 0, 1), (0, 1, 0)]
    first = [draw(*key) for key in keys]
    assert [draw(*key) for key in reversed(keys)] == first[::-1]
    assert len({tuple(row) for row in first}) == len(keys)
