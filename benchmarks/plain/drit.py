"""DRIT, by the functions of benchmarks/plain_drit.py; no losses are given back, for these give gradients,
which tests compare."""

from torch import Tensor

from benchmarks import plain_drit
from dataloader.dataset import Batch
from solvers.solver import Solver


def step(solver: Solver, batch: Batch) -> dict[str, Tensor]:
    weights = {name: dict(network.named_parameters()) for name, network in solver.networks.items()}
    seeking = not solver.training.no_ms
    plain_drit.step(weights, *batch.images, solver.optimizers, mode_seeking=seeking)
    return {}
