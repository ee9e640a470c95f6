"""Folders of pictures as the CycleGAN data sets are laid out: trainA, trainB, trainC ... and testA, testB
..., one folder per domain, with pictures of any size and kind.

On first use they are packed into a cache beside them (see cache.py), which is made again when the folders
change.
"""

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from dataloader.cache import FILTERS, RESIZES, Shape, cached, digest, shaped, sides
from dataloader.packed import DataError, new_folder, read_split, write_meta
from dataloader.packing import list_images, pack_stacks, read_picture
from dataloader.preprocessing import Parser, run
from dataloader.sizes import Size, both_sides, load_sides

if TYPE_CHECKING:  # workers need no PyTorch
    from dataloader.unpaired import Unpaired

HOW = "fetch one with: bash download/cyclegan.sh NAME (or set path_to_data)"
EPILOG = """\
FOLDER holds trainA, trainB ... and testA, testB ...; training does the same when it first uses them.

example:
  python dataloader/folders.py data/horse2zebra --load-size 256
  python dataloader/folders.py data/horse2zebra --load-size 144x192 --resize squash --filter bicubic
"""


def open_folders(
    folder: Path,
    split: str,
    size: int | Size,
    load_size: int | Size | None = None,
    resize: str = "crop",
    filter: str = "bilinear",
) -> "Unpaired":
    """One split of a folder of domains, named by their letters, in alphabetical order; packed first where it
    is not yet, at `load_size` (a number is the shorter side; None: the images' own `size`). `resize` and
    `filter` are those of `Shape`. Raises DataError."""
    from dataloader.unpaired import Unpaired

    size = both_sides(size)
    try:
        shape = Shape(load_sides(load_size, size), resize, filter)
    except ValueError as error:
        raise DataError(str(error)) from None
    try:
        packed = pack_folders(Path(folder), split, shape)[0]
    except OSError as error:
        place = error.filename or folder
        raise DataError(f"{place}: {error.strerror or error}; {folder} cannot be packed") from None
    except DataError as error:
        how = f"--skip-bad: python dataloader/folders.py {folder} {shape.options} --skip-bad"
        raise DataError(str(error).replace("--skip-bad", how)) from None
    return Unpaired(read_split(packed)[1], size, load_size=shape.size)


def pack_folders(
    folder: Path, split: str, shape: int | Shape, workers: int | None = None, skip_bad: bool = False
) -> tuple[Path, list[str]]:
    """The cache of one split in this shape (a number: squares of it), made where it is not there or the
    folders have changed since, and what is wrong with pictures that were left out of it. Raises DataError,
    OSError."""
    shape = Shape(both_sides(shape)) if isinstance(shape, int) else shape
    height, width = shape.size
    files = {domain: list_images(path) for domain, path in find_domains(folder, split).items()}
    about = {
        "dataset": "Folders",
        "source": f"{split}{', '.join(files)}",
        "source_digest": digest(files),
        "resolution": height if height == width else [height, width],
        **shape.special,  # nothing for what older caches hold, which stay valid
    }
    made = partial(write_cache, files=files, shape=shape, about=about, workers=workers, skip_bad=skip_bad)
    return cached(folder, shape.folder, split, about, made)


def write_cache(
    target: Path,
    files: dict[str, list[Path]],
    shape: Shape,
    about: dict[str, Any],
    workers: int | None,
    skip_bad: bool,
) -> list[str]:
    """Write one split, all or nothing; what is wrong with the pictures that were left out."""
    with new_folder(target) as work:
        packed = pack_stacks(
            work,
            files,
            partial(shaped_picture, shape=shape),
            (*shape.size, 3),
            label=f"{target.name}{{name}} pictures",
            workers=workers,
            skip_bad=skip_bad,
        )
        write_meta(work, packed.shapes, **about, left_out=packed.left_out)
    return packed.reasons


def shaped_picture(path: Path, shape: Shape) -> np.ndarray:
    """The picture in a file in this shape: uint8 [H, W, 3]. Raises DataError."""
    return shaped(read_picture(path), shape)


def find_domains(folder: Path, split: str) -> dict[str, Path]:
    """The folders of one split by their letter, in alphabetical order; valA, valB ... where there is no
    testA. Raises DataError where there are none, or one, or not those of the training split."""
    if not folder.is_dir():
        raise DataError(f"no folder at {folder}; {HOW}")
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        if (match := re.fullmatch(r"(train|test|val)([A-Z])", path.name)) and path.is_dir():
            found.setdefault(match[1], {})[match[2]] = path
    domains = found.get(split) or (found.get("val") if split == "test" else None)
    if not domains:
        raise DataError(f"{folder} holds no {split}A, {split}B ...; {HOW}")
    if len(domains) < 2:
        raise DataError(f"{folder} holds only {split}{min(domains)}; translation needs two domains or more")
    if lone := sorted(domains.keys() ^ found.get("train", domains).keys()):
        raise DataError(f"{folder}: domain {lone[0]} is in only one of train and {split}")
    return domains


def main(arguments: list[str]) -> None:
    made = Parser("folders.py", __doc__, EPILOG)
    made.add_argument("folder", metavar="FOLDER", type=Path, help="what holds trainA, trainB ...")
    size = "the config's load_size or resolution, N or HxW; 256"
    made.add_argument("--load-size", metavar="SIZE", type=sides, default=(256, 256), help=size)
    made.add_argument("--resize", choices=RESIZES, default="crop", help="the config's data.resize; crop")
    made.add_argument("--filter", choices=FILTERS, default="bilinear", help="its data.filter; bilinear")
    made.add_skip_bad()
    made.add_workers()
    options = made.parse_args(arguments)
    shape = Shape(options.load_size, options.resize, options.filter)
    for split in ("train", "test"):
        packed, left_out = pack_folders(options.folder, split, shape, options.workers, options.skip_bad)
        for line in left_out:
            print(f"left out: {line}")
        print(f"{packed} is packed")


if __name__ == "__main__":
    sys.exit(run(main))
