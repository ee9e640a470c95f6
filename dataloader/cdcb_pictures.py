"""MNIST-CDCB as pictures, in one of two layouts:

train/ and test/ with pictures twice as wide as high, x their left half and y their right, as in the authors'
archive;
trainX/, trainY/, testX/ and testY/ with a picture each, as IIAE-Pytorch prepares them from that: partners
have one name, or, where no name is in both folders, one place in the order of names.

Read directly they are packed on first use into a cache beside them (see cache.py). No PyTorch here: the
workers that pack do without it.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataloader.cache import cached, digest
from dataloader.packed import DataError, new_folder, write_meta
from dataloader.packing import is_image, list_images, pack_images, read_picture, resized
from dataloader.preprocessing import SPLITS

Source = Path | tuple[Path, Path]
"""Where a pair is: in one file's halves, or x and y each in its own."""


class Found(NamedTuple):
    """What a split holds."""

    pairs: list[Source]
    files: dict[str, list[Path]]
    """All its pictures, by the name of their folder."""


def find_pictures(folder: Path, split: str) -> Found | None:
    """One split, in the order of names; the halves where both layouts are there, since IIAE-Pytorch makes the
    other from them, file by file. None where there is neither. Raises DataError where a partner is
    missing."""
    if holds_pictures(folder / split):
        paths = list_images(folder / split)
        return Found(list(paths), {split: paths})
    sides = [folder / f"{split}{side}" for side in "XY"]
    if not any(map(holds_pictures, sides)):
        return None
    files = {side.name: list_images(side) for side in sides}
    return Found(list(partners(*files.values())), files)


def has_pictures(folder: Path) -> bool:
    """Whether `folder` holds any part of these layouts."""
    return any(holds_pictures(folder / f"{split}{side}") for split in SPLITS for side in ("", "X", "Y"))


def holds_pictures(folder: Path) -> bool:
    return folder.is_dir() and any(map(is_image, folder.iterdir()))


def partners(x: list[Path], y: list[Path]) -> list[tuple[Path, Path]]:
    """The files of x and of y, each in the order of names, as pairs. Raises DataError."""
    names = [{path.stem for path in paths} for paths in (x, y)]
    if names[0] & names[1]:
        for paths, others, place in ((x, names[1], y), (y, names[0], x)):
            if lone := next((path for path in paths if path.stem not in others), None):
                raise DataError(f"{lone} has no partner in {place[0].parent}")
    if len(x) != len(y):
        raise DataError(
            f"{x[0].parent} holds {len(x)} pictures and {y[0].parent.name} {len(y)}, which make no pairs"
        )
    return list(zip(x, y))


def pack_pictures(folder: Path, split: str, resolution: int) -> Path:
    """The cache of one split at this resolution, made where it is not there or the pictures have changed
    since: `images`, uint8 [N, 2, R, R, 3], x before y. Raises DataError."""
    found = find_pictures(folder, split)
    if found is None:
        raise DataError(f"{folder} holds no {split}/ with pictures, and no {split}X/ and {split}Y/")
    about = {
        "dataset": "MNIST-CDCB",
        "source": f"pictures of {', '.join(found.files)}",
        "source_digest": digest(found.files),
        "resolution": resolution,
    }

    def write(target: Path) -> list[str]:
        with new_folder(target) as work:
            row = (2, resolution, resolution, 3)
            convert = partial(picture_pair, resolution=resolution)
            pack_images(found.pairs, work / "images.npy", convert, row, label=f"{split} pairs")
            write_meta(work, {"images": [len(found.pairs), *row]}, **about)
        return []

    try:
        return cached(folder, f"cdcb-{resolution}", split, about, write)[0]
    except OSError as error:
        place = error.filename or folder
        raise DataError(f"{place}: {error.strerror or error}; {folder} cannot be packed") from None
    except DataError as error:
        how = f"python dataloader/preprocess_mnist.py {folder} TARGET --resolution {resolution} --skip-bad"
        raise DataError(str(error).replace("--skip-bad", f"--skip-bad: {how}")) from None


def picture_pair(source: Source, resolution: int) -> np.ndarray:
    """x and y, uint8 [2, R, R, 3], from the halves of a picture twice as wide as high, or from two square
    ones. Raises DataError."""
    if isinstance(source, tuple):
        pictures = [read_picture(path) for path in source]
        for path, (width, height) in zip(source, (picture.size for picture in pictures)):
            if width != height:
                raise DataError(f"{path}: is {width} x {height}; x and y are squares")
    else:
        picture = read_picture(source)
        width, height = picture.size
        if width != 2 * height:
            raise DataError(
                f"{source}: is {width} x {height}; x and y side by side are twice as wide as high"
            )
        pictures = [picture.crop((left, 0, left + height, height)) for left in (0, height)]
    return np.stack([resized(picture, resolution, resolution) for picture in pictures])
