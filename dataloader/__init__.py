"""Data sets by the name that a config gives them.

PyTorch is loaded when a set is opened, not before: preprocessing and its workers do without it.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataloader.packed import DataError

if TYPE_CHECKING:
    from dataloader.dataset import Dataset

OPENERS = {  # name: module, function(folder, split, resolution) -> Dataset
    "MNIST-CDCB": ("dataloader.cdcb", "open_mnist"),
    "Digits-CDCB": ("dataloader.cdcb", "open_digits"),
    "Cars": ("dataloader.cars", "open_cars"),
    "AFHQ": ("dataloader.afhq", "open_afhq"),  # option: domains
    "Folders": ("dataloader.folders", "open_folders"),  # option: load_size
    "Colour-Modes": ("dataloader.colour_modes", "open_colour_modes"),
    "MNIST-M": ("dataloader.mnist_m", "open_mnist_m"),
}


def open_dataset(name: str, folder: str | Path, split: str, resolution: int, **options: Any) -> "Dataset":
    """One split ("train" or "test") of the data set `name` in `folder`, with the options that its opener has.
    Raises DataError with what to do about it."""
    module, function = OPENERS[name]
    return getattr(import_module(module), function)(Path(folder), split, resolution, **options)


__all__ = ["OPENERS", "DataError", "open_dataset"]
