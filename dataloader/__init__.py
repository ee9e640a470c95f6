"""Data sets, each a module here, and the opening of one split.

PyTorch is loaded when a set is opened, not before: preprocessing and its workers do without it.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataloader.packed import DataError

if TYPE_CHECKING:
    from dataloader.dataset import Dataset


def open_dataset(opener: str, folder: str | Path, split: str, size: Any, **options: Any) -> "Dataset":
    """One split ("train" or "test") of the data set in `folder` that `opener` ("module:function") opens, as
    images of `size` (a number, or height and width), with the options that it has. Raises DataError with what
    to do about it."""
    folder = Path(folder)
    there = next(filter(os.path.exists, (folder, *folder.parents)), None)
    if there and not there.is_dir():
        raise DataError(f"{there} is a file, where a folder is needed; set path_to_data")
    module, _, function = opener.partition(":")
    return getattr(import_module(module), function)(folder, split, size, **options)


__all__ = ["DataError", "open_dataset"]
