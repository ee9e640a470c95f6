"""What the tests of DRIT and MDMM share: tiny experiments on pictures cut from photographs."""

import numpy as np
import torch
from sklearn.datasets import load_sample_images

from configs.load import validate
from dataloader.dataset import Batch
from dataloader.unpaired import Unpaired
from solvers import SOLVERS

TINY = {"base_width": 4, "attribute_dim": 3, "residual_blocks": 1, "dis_width": 4}


def toy_config(model: str = "DRIT", resolution: int = 32, **sections: dict):
    training = {"max_iters": 8, "batch_size": 2, **sections.pop("training", {})}
    network = {**TINY, **sections.pop("network", {})}
    top = {"id": "toy", "model": model, "dataset": "Folders", "resolution": resolution, "device": "cpu"}
    test = {"batch_size": 4, "after_training": False, **sections.pop("test", {})}
    return validate(
        {**top, "threads": 1, **sections, "training": training, "network": network, "test": test}, "toy"
    )


def toy_pictures(count: int, side: int, domains: int) -> Unpaired:
    """Windows of scikit-learn's two photographs; each domain has colours of its own."""
    rng = np.random.default_rng(0)
    photographs = load_sample_images().images
    stacks = {}
    for domain in range(domains):
        photograph = np.roll(photographs[domain % 2], domain, axis=2)
        places = zip(*(rng.integers(0, n - side, count) for n in photograph.shape[:2]))
        stacks["ABCD"[domain]] = np.stack([photograph[y : y + side, x : x + side] for y, x in places])
    return Unpaired(stacks, side)


def toy_solver(model: str = "DRIT", domains: int = 2, **options):
    """A solver of `toy_config` on `toy_pictures`."""
    config = toy_config(model, **options)
    base = SOLVERS[model]
    toys = type(
        "Toy", (base,), {"open_split": lambda self, split: toy_pictures(6, config.resolution, domains)}
    )
    return toys(config)


def toy_batch(solver, count: int = 2) -> Batch:
    """The first `count` images of every domain, in PyTorch's default precision."""
    batch = solver.test_set.at(*[np.arange(count)] * len(solver.test_set.streams))
    return batch._replace(images=tuple(x.to(torch.get_default_dtype()) for x in batch.images))


def tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(network.named_parameters())


def hold_still(solver) -> None:
    """Steps that leave every weight as it is, so that gradients can be looked at afterwards."""
    for optimizer in solver.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = 0.0
