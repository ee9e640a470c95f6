"""What the tests of DRIT and MDMM share: tiny experiments on pictures cut from photographs."""

import json
import math
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import same_tensors
from PIL import Image
from sklearn.datasets import load_sample_images

from configs.keys import MODELS
from configs.load import validate
from dataloader.dataset import Batch
from dataloader.unpaired import Unpaired
from solvers import solver_class
from solvers.run.checkpoint import load_checkpoint
from solvers.visualization import interpolation

TINY = {"base_width": 4, "attribute_dim": 3, "residual_blocks": 1, "dis_width": 4}
NARROW = {"base_width": 2, "dis_width": 2}  # for large pictures


def toy_config(model: str = "DRIT", resolution: int | list[int] = 32, **sections: dict):
    training = {"max_iters": 8, "batch_size": 2, **sections.pop("training", {})}
    network = {**TINY, **sections.pop("network", {})}
    top = {"id": "toy", "model": model, "dataset": "Folders", "resolution": resolution, "device": "cpu"}
    test = {"batch_size": 4, "after_training": False, **sections.pop("test", {})}
    return validate(
        {**top, "threads": 1, **sections, "training": training, "network": network, "test": test}, "toy"
    )


def toy_pictures(count: int, size: tuple[int, int], domains: int) -> Unpaired:
    """Windows of scikit-learn's two photographs; each domain has colours of its own."""
    rng, (height, width) = np.random.default_rng(0), size
    photographs = load_sample_images().images
    stacks = {}
    for domain in range(domains):
        photograph = np.roll(photographs[domain % 2], domain, axis=2)
        places = zip(*(rng.integers(0, n - side, count) for n, side in zip(photograph.shape, size)))
        stacks["ABCD"[domain]] = np.stack([photograph[y : y + height, x : x + width] for y, x in places])
    return Unpaired(stacks, size)


def toy_solver(model: str = "DRIT", domains: int = 2, tested: int = 6, **options):
    """A solver of `toy_config` on `toy_pictures`: of each domain six to train and `tested` to test."""
    config = toy_config(model, **options)
    counts = {"train": 6, "test": tested}

    class Toy(solver_class(MODELS[model])):
        def open_split(self, split: str) -> Unpaired:
            return toy_pictures(counts[split], config.size, domains)

    return Toy(config)


def make_run(values: dict, folder: Path):
    """A function that makes a solver of these values, as `check_resumes` asks for."""

    def make(name: str, **training):
        at = {"run_dir": str(folder / name), "training": {**values["training"], **training}}
        config = validate({**values, **at}, "toy")
        return solver_class(config)(config)

    return make


def check_resumes(make: Callable, folder: Path, stopped: int, end: int):
    """That a run resumed from iteration `stopped` ends with the tensors of one that never stopped; gives the
    resumed run's solver. `make(name, **training)` gives a solver whose run folder is `folder / name`."""
    runs = ("straight", "again")
    make(runs[0], max_iters=end, model_save_freq=stopped).train()
    restored = {"resume_iters": stopped, "restored_model_path": str(folder / runs[0])}
    again = make(runs[1], max_iters=end, model_save_freq=end, **restored)
    again.train()
    states = [load_checkpoint(folder / name / f"models/{end:06d}-checkpoint.pt") for name in runs]
    for key in ("networks", "optimizers", "scaler"):
        assert same_tensors(states[0][key], states[1][key]), key
    return again


def check_tests(solver, results: Path) -> dict[str, float]:
    """That test mode leaves finite numbers, which are returned, and grids of full size for every
    direction. Interpolations, of which there are many, are short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpolation, "STEPS", 2)
        patch.setattr(interpolation, "FRAMES", 2)
        solver.test()
    metrics = json.loads((results / "metrics.json").read_text())
    metrics.pop("protocol")
    assert all(map(math.isfinite, metrics.values()))
    names = solver.model.domains
    assert {f"reconstruction/l1/{name}" for name in names} <= metrics.keys()
    for here, there in permutations(names, 2):
        assert f"diversity/l1/{here}_to_{there}" in metrics
        for grid in (f"{here}_to_{there}_random_styles", f"content_{here}_style_{there}"):
            with Image.open(results / f"{grid}.png") as picture:
                height, width = solver.config.size
                assert picture.width >= width and picture.height >= height, grid
    return metrics


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
