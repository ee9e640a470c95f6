"""Time as a pure function: everything that changes during training, computed from the iteration alone."""

import math
from bisect import bisect_right

import numpy as np
import torch

from configs.schema import GMVAEDRITTraining, IIAETraining, Training


def learning_rate(training: Training, iteration: int) -> float:
    """The learning rate of iteration 1, 2, ... max_iters. Milestones as torch's MultiStepLR stepped once an
    iteration: the first iteration after milestone m runs at the lowered rate."""
    done = iteration - 1
    match training.lr_schedule:
        case "milestones":
            factor = training.scheduler_gamma ** bisect_right(sorted(training.milestones), done)
        case "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * min(1.0, done / training.max_iters)))
        case "linear":
            factor = min(1.0, 2 * max(0.0, 1 - done / training.max_iters))
    return training.lr * factor


def kl_annealing(iteration: int, constant: float) -> float:
    """1 - exp(-t / T): IIAE's weight of the KLs to the prior, from 0 to 1."""
    return -math.expm1(-iteration / constant)


def inter_tempering(training: IIAETraining, iteration: int) -> float:
    """The power of r's variance that IIAE's inter KL divides the squared distance of the means by: 1 in the
    KL itself, 0 in the PyTorch reference's, and from 0 to 1 over inter_exact_iters."""
    if training.inter_kl == "exact":
        return 1.0
    if training.inter_exact_iters is None:
        return 0.0
    start, end = training.inter_exact_iters
    if not start < iteration < end:
        return float(iteration >= end)
    return (iteration - start) / (end - start)


def inter_weight(training: IIAETraining, iteration: int) -> float:
    """The weight of IIAE's inter KLs: inter_kld_weight, annealed with inter_anneal_iters as T where that is
    not 0, and on a geometric way to inter_kld_weight_end where that is given."""
    weight = training.inter_kld_weight
    if training.inter_kld_weight_end is not None:
        start = training.inter_exact_iters[1] if training.inter_exact_iters else 0
        if iteration > start:  # never in a run that ends before
            done = (iteration - start) / (training.max_iters - start)
            weight *= (training.inter_kld_weight_end / weight) ** done
    if training.inter_anneal_iters:
        weight *= kl_annealing(iteration, training.inter_anneal_iters)
    return weight


def gumbel_temperature(training: GMVAEDRITTraining, iteration: int, images: int) -> float:
    """The Gumbel-softmax's temperature, which falls once per epoch: max(init_temp * exp(-rate * e), min_temp)
    after e epochs of `images` images, of each domain of which an iteration takes a batch."""
    if not training.decay_temp:
        return training.init_temp
    epoch = (iteration - 1) * training.batch_size // images
    return max(training.init_temp * math.exp(-training.decay_temp_rate * epoch), training.min_temp)


def seed_iteration(seed: int, rank: int, iteration: int) -> None:
    """Seed every generator that a training step draws from, by (seed, rank, iteration)."""
    torch.manual_seed(int(np.random.SeedSequence([seed, rank, iteration]).generate_state(1, np.uint64)[0]))
