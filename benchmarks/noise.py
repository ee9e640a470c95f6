"""The experiments that are timed: every model at its published size, on pictures of noise, so that no data
set is needed."""

from typing import Any, NamedTuple

import numpy as np

from configs.keys import MODELS
from configs.load import validate
from dataloader.attributed import Attributed
from dataloader.dataset import Batch, Dataset
from dataloader.paired import Paired
from dataloader.unpaired import Unpaired
from solvers import solver_class
from solvers.solver import Solver

PICTURES = 8  # of each domain
ATTRIBUTES = 5  # as many as StarGAN's of CelebA


class Case(NamedTuple):
    """One model as it is timed. All players learn in every iteration, so `training` has `d_iter` or
    `n_critic` 1 where there is such a key; all else is the config's default."""

    model: str
    data: str  # Pairs, Folders (unpaired) or Attributes
    resolution: int
    batch_size: int
    training: dict[str, Any] = {}  # noqa: RUF012


CASES = {
    "iiae": Case("IIAE", "Pairs", 256, 16),
    "drit": Case("DRIT", "Folders", 216, 2, {"d_iter": 1}),
    "gmvae_drit": Case("GMVAE-DRIT", "Folders", 216, 2, {"d_iter": 1}),
    "cyclegan": Case("CycleGAN", "Folders", 256, 1),
    "stargan": Case("StarGAN", "Attributes", 128, 16, {"n_critic": 1}),
    "pix2pix": Case("pix2pix", "Pairs", 256, 1),
    "mdmm": Case("MDMM", "Folders", 216, 2, {"d_iter": 1}),
    "unit": Case("UNIT", "Folders", 256, 1),
    "bicyclegan": Case("BicycleGAN", "Pairs", 256, 2),
    "vae_gan": Case("VAEGAN", "Attributes", 64, 64),
    "paired_vae_gan": Case("PairedVAEGAN", "Pairs", 64, 64),
}


def noise_pictures(data: str, size: tuple[int, int]) -> Dataset:
    rng, shape = np.random.default_rng(0), (PICTURES, *size)
    if data == "Pairs":
        return Paired(rng.integers(0, 256, (*shape, 6), np.uint8), size, augment="none")
    pictures = rng.integers(0, 256, (*shape, 3), np.uint8)
    if data == "Folders":
        return Unpaired({"x": pictures, "y": pictures[::-1].copy()}, size)
    names = [f"attribute_{number}" for number in range(ATTRIBUTES)]
    return Attributed(pictures, rng.integers(0, 2, (PICTURES, ATTRIBUTES), np.uint8), names, size)


def make_solver(
    case: Case,
    width: int | None = None,
    training: dict[str, Any] | None = None,
    network: dict[str, Any] | None = None,
    **options: Any,
) -> Solver:
    """The solver of this case on noise. `width` narrows its networks; None leaves the published widths.
    `training`, `network` and `options` go into the config. Raises as the config and the solver do."""
    values = {"id": "benchmark", "model": case.model, "dataset": case.data, "resolution": case.resolution}
    keys = MODELS[case.model].model_fields["network"].default_factory.model_fields
    narrow = {key: width for key in ("base_width", "dis_width", "enc_width") if width and key in keys}
    if width and "hidden" in keys:
        narrow["hidden"] = 16 * width
    sections = {
        "training": {"batch_size": case.batch_size, **case.training, **(training or {})},
        "network": {**narrow, **(network or {})},
    }
    config = validate({**values, **options, **sections}, "benchmark")

    class Noise(solver_class(type(config))):
        def open_split(self, split: str) -> Dataset:
            return noise_pictures(case.data, config.size)

    return Noise(config)


def noise_batch(solver: Solver, count: int) -> Batch:
    """`count` of the training items of each domain, on the solver's device."""
    data = solver.train_set
    return data.at(*(np.arange(count) % length for length in data.streams), device=solver.device)
