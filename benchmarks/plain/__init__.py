"""A plain training iteration of each model, as public code orders it: what ours is timed against, and
compared with for equality in tests.

Plain is: float32, tensors laid out channel by channel, optimisers that step one tensor after the other
(`foreach` and `fused` off, as they once were), real and made images judged in passes of their own, and images
made anew for each player where the authors' code makes them anew. What can only help it is on: cuDNN
chooses its fastest algorithms, and layers are our own modules. DRIT alone is written out to the last layer
(benchmarks/plain_drit.py).

Every module has `step(solver, batch)`, one iteration of all players, which gives the losses by the names that
ours have. `solver` holds networks, weights of losses and optimisers.
"""

from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor

from dataloader.dataset import Batch
from solvers.solver import Solver

MODULES = {
    "IIAE": "iiae",
    "DRIT": "drit",
    "MDMM": "mdmm",
    "GMVAE-DRIT": "mdmm",
    "CycleGAN": "cyclegan",
    "StarGAN": "stargan",
    "pix2pix": "pix2pix",
    "UNIT": "unit",
    "BicycleGAN": "bicyclegan",
    "VAEGAN": "vae_gan",
    "PairedVAEGAN": "paired_vae_gan",
}

Step = Callable[[Solver, Batch], dict[str, Tensor]]


def step_of(model: str) -> Step:
    return import_module(f"{__name__}.{MODULES[model]}").step


def make_plain(solver: Solver) -> None:
    """Take from a solver that has taken no step what is not plain. Its precision is to be fp32."""
    for network in solver.networks.values():
        network.to(memory_format=torch.contiguous_format)
    for optimizer in solver.optimizers.values():
        for group in optimizer.param_groups:
            group |= {"foreach": False, "fused": False}


def clear(solver: Solver, *names: str) -> None:
    for name in names:
        solver.optimizers[name].zero_grad()


def stepped(solver: Solver, *names: str) -> None:
    for name in names:
        solver.optimizers[name].step()
