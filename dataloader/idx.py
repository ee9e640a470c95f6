"""MNIST's IDX files, gzipped or not."""

import gzip
import math
import struct
from pathlib import Path

import numpy as np

from dataloader.packed import DataError

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read_idx_digits(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Digits uint8 [N, 28, 28] and labels uint8 [N] of one split. Raises DataError."""
    digits, labels = (read_idx(find(folder, name)) for name in FILES[split])
    if digits.ndim != 3 or labels.shape != digits.shape[:1]:
        raise DataError(
            f"{folder}: images {digits.shape} and labels {labels.shape} of {split} do not belong together"
        )
    return digits, labels


def has_idx(folder: Path) -> bool:
    """Whether all four of MNIST's files are in `folder`."""
    return all(variant(folder, name) is not None for names in FILES.values() for name in names)


def variant(folder: Path, name: str) -> Path | None:
    """The file of this name in `folder`, gzipped or not, with '-' or '.' before 'idx'; None if there is
    none."""
    names = [n + end for n in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    return next((folder / n for n in names if (folder / n).is_file()), None)


def find(folder: Path, name: str) -> Path:
    path = variant(folder, name)
    if path is None:
        raise DataError(f"{folder}: {name} (or {name}.gz) is missing")
    return path


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array in one IDX file. Raises DataError where it is truncated or something else."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read()
    except (OSError, EOFError, gzip.zlib.error) as error:
        raise DataError(f"{path}: cannot be unpacked ({error}); download it again") from None
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise DataError(f"{path}: no IDX file of bytes")
    dims = data[3]
    shape = struct.unpack_from(f">{dims}I", data, 4) if len(data) >= 4 + 4 * dims else ()
    if len(data) != 4 + 4 * dims + math.prod(shape):
        raise DataError(f"{path}: is truncated or has bytes left over; download it again")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dims).reshape(shape)
