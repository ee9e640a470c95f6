"""Cars: x is a car seen from the front, y the same car at the same elevation from one of 23 other sides.

The pictures are those of Reed et al. (NIPS 2015), or toy cars. x and y share the car; y's own is the angle.
"""

from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from dataloader.dataset import Batch, Dataset, Label, fitted_pictures
from dataloader.packed import read_set
from dataloader.sizes import Size, both_sides

HOW = "bash download/cars.sh (toy cars, without a download: bash download/cars.sh --toy)"


class Cars(Dataset):
    """One split of a set of cars. Labels of x and y: `car` (its number), `azimuth` (0 to 23, in steps of 15
    degrees from the front, which is 0; x is always 0) and `elevation` (0 to 3).

    A car is always shown whole and keeps its proportions, in the middle of the picture; where that is no
    square, the background goes on to both sides of it (`fitted_pictures`).
    """

    domains = ("x", "y")
    knows = MappingProxyType(
        {
            "car": Label("class", ("car",)),
            "elevation": Label("class", ("elevation",)),
            "azimuth": Label("angle", ("azimuth",), domain=1, period=24),
        }
    )
    partner_label = "car"

    def __init__(self, arrays: dict[str, np.ndarray], size: int | Size):
        self.views = arrays["images"]  # uint8 [rows, 24, H, H, 1 or 3], a row for each car and elevation
        self.car, self.elevation = (np.asarray(arrays[name], np.int64) for name in ("car", "elevation"))
        self.rows, self.azimuths = pair_order(self.car, self.views.shape[1])
        self.size = both_sides(size)
        self.streams = (len(self.rows),)

    @property
    def half_images(self) -> int:
        return len(self.views) * self.views.shape[1] // 2  # a front view is in 23 pairs

    def groups(self) -> tuple[np.ndarray | None, ...]:
        return (self.car[self.rows],)

    def read(self, *indices: np.ndarray) -> dict[str, Tensor]:
        (index,) = indices
        row, azimuth = self.rows[index], self.azimuths[index]
        raw = {
            "x": self.views[row, 0],
            "y": self.views[row, azimuth],
            "car": self.car[row],
            "azimuth": azimuth,
            "elevation": self.elevation[row],
        }
        return {name: torch.from_numpy(np.asarray(array)) for name, array in raw.items()}

    def render(self, raw: dict[str, Tensor], training: bool = False) -> Batch:
        images = tuple(fitted_pictures(raw[side], self.size).expand(-1, 3, -1, -1) for side in "xy")
        shared = {"car": raw["car"], "elevation": raw["elevation"]}
        labels = tuple(
            {**shared, "azimuth": azimuth} for azimuth in (torch.zeros_like(raw["azimuth"]), raw["azimuth"])
        )
        return Batch(images, labels)


def pair_order(car: np.ndarray, azimuths: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and azimuth of every pair, int64 each, from the car of every row.

    First come the odd azimuths, car by car, then the even ones, car by car. So a handful of pairs spread
    evenly over the set is of different cars from different sides, and so is each half of it.
    """
    row, azimuth = (values.ravel() for values in np.mgrid[: len(car), 1:azimuths])
    order = np.lexsort((azimuth, row, car[row], azimuth % 2 == 0))
    return row[order], azimuth[order]


def open_cars(folder: Path, split: str, size: int | Size) -> Cars:
    """One split of a preprocessed folder. Raises DataError."""
    arrays = read_set(folder, split, "Cars", HOW, needed=("images", "car", "elevation"))[1]
    return Cars(arrays, size)
