"""Time as a pure function: everything that changes during training, computed from the iteration alone."""

import math
from bisect import bisect_right

import numpy as np
import torch

from configs.keys.common import Training


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


def seed_iteration(seed: int, rank: int, iteration: int, part: int = 0) -> None:
    """Seed every generator that a training step draws from, by (seed, rank, iteration), and of a part of a
    batch, counted from 1, by its number."""
    entropy = [seed, rank, iteration, *([part] if part else [])]
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))
