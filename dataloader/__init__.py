"""Data sets by the name that a config gives them."""

from collections.abc import Callable
from pathlib import Path

from dataloader.cdcb import open_digits, open_mnist
from dataloader.dataset import Batch, Dataset
from dataloader.packed import DataError

OPENERS: dict[str, Callable[[Path, str, int], Dataset]] = {
    "MNIST-CDCB": open_mnist,
    "Digits-CDCB": open_digits,
}


def open_dataset(name: str, folder: str | Path, split: str, resolution: int) -> Dataset:
    """One split ("train" or "test") of the data set `name` in `folder`. Raises DataError with what to do
    about it."""
    return OPENERS[name](Path(folder), split, resolution)


__all__ = ["OPENERS", "Batch", "DataError", "Dataset", "open_dataset"]
