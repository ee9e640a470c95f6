"""The cache of a folder of pictures: the shape they are packed in, where it stands and when it is made.

It stands beside them, FOLDER/.packed (or in ~/.cache/cross-domain-translation, where FOLDER cannot be
written), and is made again when the pictures change. No PyTorch here: the workers that pack do without it.
"""

import argparse
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from dataloader.packed import locked
from dataloader.packing import resized
from dataloader.preprocessing import is_made, whole
from dataloader.sizes import Size, around, fit_within, middle_window

RESIZES = ("crop", "squash", "fit")
FILTERS = ("bilinear", "bicubic")
CACHE = Path(".cache/cross-domain-translation")  # below the home folder


class Shape(NamedTuple):
    """The size that pictures are stored in, and how they come to it."""

    size: Size
    resize: str = "crop"
    """crop: the middle of a picture, as large as it can be in the size's proportions; squash: all of it,
    whatever its proportions become; fit: all of it in its proportions, with borders."""
    filter: str = "bilinear"

    @property
    def side(self) -> str:
        """The size as one word: N of a square, else HxW."""
        height, width = self.size
        return str(height) if height == width else f"{height}x{width}"

    @property
    def special(self) -> dict[str, str]:
        """What differs from a cropped bilinear picture, by key."""
        usual = self._field_defaults
        return {name: getattr(self, name) for name in usual if getattr(self, name) != usual[name]}

    @property
    def folder(self) -> str:
        """The cache folder's name."""
        return "-".join((self.side, *self.special.values()))

    @property
    def options(self) -> str:
        """These on the command line."""
        special = (f" --{name} {value}" for name, value in self.special.items())
        return f"--load-size {self.side}{''.join(special)}"


def cached(
    folder: Path, name: str, split: str, about: dict[str, Any], write: Callable[[Path], list[str]]
) -> tuple[Path, list[str]]:
    """The packed split in the cache `name` of this folder, made by `write` (which gets its path) where it is
    not there or its meta.json says something else than `about`; and what `write` gave back. Raises OSError,
    and what `write` raises."""
    beside, elsewhere = folder / ".packed", own_cache(folder)
    for root in (beside, elsewhere):
        if (root / name / split).is_dir() and is_made(root / name, [split], about):
            return root / name / split, []
    root = beside if can_write(beside) else elsewhere
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):  # another process may be making the same
        made = root / name / split
        if is_made(made.parent, [split], about):
            return made, []
        return made, write(made)


def shaped(picture: Image.Image, shape: Shape) -> np.ndarray:
    """A picture in this shape: uint8 [H, W, 3], resized with antialiasing. Borders go on with its outermost
    pixels."""
    width, height = picture.size
    inner = shape.size
    if shape.resize == "crop":
        top, left, high, wide = middle_window((height, width), shape.size)
        picture = picture.crop((left, top, left + wide, top + high))
    elif shape.resize == "fit":
        inner = fit_within((height, width), shape.size)
    pixels = resized(picture, *inner, shape.filter)
    return np.pad(pixels, (*around(inner, shape.size), (0, 0)), mode="edge")


def digest(files: dict[str, list[Path]]) -> str:
    """SHA-256 of the pictures' domains, names, sizes and times of change."""
    made = hashlib.sha256()
    for domain, paths in files.items():
        for path in paths:
            facts = path.stat()
            name = os.fsencode(f"{domain}/{path.name}")
            made.update(name + f"\0{facts.st_size} {facts.st_mtime_ns}\n".encode())
    return made.hexdigest()


def own_cache(folder: Path) -> Path:
    """Where the cache of a folder that cannot be written stands."""
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return Path.home() / CACHE / name


def can_write(root: Path) -> bool:
    """Whether files can be made in `root`, which is made itself where it is not there."""
    try:
        root.mkdir(exist_ok=True)
        trial = root / ".trial"
        trial.touch()
        trial.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def sides(text: str) -> Size:
    """An argument that is a size: N, or HxW."""
    numbers = [whole(part) for part in text.split("x")]
    if len(numbers) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; N, or HxW as 144x192")
    return numbers[0], numbers[-1]
