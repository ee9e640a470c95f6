"""Makes MNIST-CDCB (or Digits-CDCB) in the packed format, from MNIST's files, from the original archive's
pictures or from scikit-learn's digits.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from dataloader.idx import FILES, read_idx_digits, variant
from dataloader.packed import DataError, locked, new_folder, remove_leftovers, write_meta, write_split
from dataloader.packing import (
    Parser,
    check_target,
    fingerprint,
    is_image,
    is_made,
    list_images,
    pack_images,
    read_picture,
    resized,
    run,
    whole,
)

DATA = Path(__file__).resolve().parents[1] / "data"
SPLITS = ("train", "test")
RESOLUTION = 256  # of the original pictures
ABOUT = """\
SOURCE is one of
  a folder with MNIST's four IDX files, gzipped or not
  a folder with the original MNIST-CDCB's train/ and test/: pictures, x their left half and y their right
  the word digits: the handwritten digits that scikit-learn carries

example:
  python dataloader/preprocess_mnist.py downloads/mnist data/MNIST-CDCB
"""


class Plan(NamedTuple):
    """What is to be made: what meta.json will say, and how to write it."""

    about: dict[str, Any]
    write: Callable[[Path], list[str]]
    """Make the set at this path; what is wrong with the pictures that were left out."""


def main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    digits = options.source == "digits"
    target = (options.target or DATA / ("Digits-CDCB" if digits else "MNIST-CDCB")).resolve()
    if digits:
        plan = plan_digits()
    elif any(variant(Path(options.source), name) for names in FILES.values() for name in names):
        plan = plan_idx(Path(options.source))
    else:
        plan = plan_pictures(Path(options.source), options)
    if options.resolution and "resolution" not in plan.about:
        raise DataError("--resolution is for original pictures; digits are drawn at any resolution")

    if target.parent.is_dir():
        with locked(target.parent):
            remove_leftovers(target)
    if not options.force and is_made(target, SPLITS, plan.about):
        print(f"{target} is there already, made from the same {plan.about['source']}; --force remakes it")
        return
    check_target(target, options.force)
    left_out = plan.write(target)
    for line in left_out:
        print(f"left out: {line}")
    print(f"{target} is made from {plan.about['source']}")


def parser() -> Parser:
    made = Parser(
        prog="preprocess_mnist.py",
        description=__doc__,
        epilog=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("source", metavar="SOURCE", help="what to make it from; see below")
    made.add_argument(
        "target",
        metavar="TARGET",
        type=Path,
        nargs="?",
        help="the folder to make; default: data/MNIST-CDCB, or data/Digits-CDCB for digits",
    )
    made.add_argument("--resolution", metavar="R", type=whole, help="store original pictures at R x R (256)")
    made.add_argument(
        "--skip-bad", action="store_true", help="leave out pictures that cannot be read, and list them"
    )
    made.add_argument(
        "--workers", metavar="N", type=whole, help="processes that read pictures; default: all cores"
    )
    made.add_argument("--force", action="store_true", help="make it again where it is there already")
    return made


def plan_digits() -> Plan:
    from dataloader.cdcb import pack_digits

    def write(target: Path) -> list[str]:
        pack_digits(target)
        return []

    return Plan({"dataset": "Digits-CDCB", "source": "sklearn.datasets.load_digits"}, write)


def plan_idx(source: Path) -> Plan:
    """From MNIST's files. Raises DataError."""
    splits = {split: read_idx_digits(source, split) for split in SPLITS}
    digest = hashlib.md5(usedforsecurity=False)
    for split, (digits, labels) in splits.items():
        if not len(digits):
            raise DataError(f"{source}: no digits in its {split} files")
        digest.update(digits.tobytes() + labels.tobytes())
    about = {"dataset": "MNIST-CDCB", "source": "MNIST IDX files", "source_digest": digest.hexdigest()}

    def write(target: Path) -> list[str]:
        from dataloader.cdcb import digit_arrays

        with new_folder(target) as work:
            for split, (digits, labels) in splits.items():
                write_split(work / split, digit_arrays(digits, labels, split), **about)
        return []

    return Plan(about, write)


def plan_pictures(source: Path, options: argparse.Namespace) -> Plan:
    """From the original archive's pictures. Raises DataError."""
    root = find_root(source)
    files = {split: list_images(root / split) for split in SPLITS}
    resolution = options.resolution or RESOLUTION
    about = {
        "dataset": "MNIST-CDCB",
        "source": "MNIST-CDCB pictures",
        "source_digest": fingerprint([path for split in SPLITS for path in files[split]], root),
        "resolution": resolution,
    }
    shape = (2, resolution, resolution, 3)

    def write(target: Path) -> list[str]:
        left_out = []
        with new_folder(target) as work:
            for split, paths in files.items():
                (work / split).mkdir()
                packed = pack_images(
                    paths,
                    work / split / "images.npy",
                    partial(picture_pair, resolution=resolution),
                    shape,
                    workers=options.workers,
                    skip_bad=options.skip_bad,
                    label=f"{split} pictures",
                )
                kept = set(packed.kept)
                gone = [path.name for index, path in enumerate(paths) if index not in kept]
                write_meta(work / split, {"images": [len(kept), *shape]}, **about, left_out=gone)
                left_out += packed.left_out
        return left_out

    return Plan(about, write)


def find_root(source: Path) -> Path:
    """The folder with train/ and test/: `source`, or the only folder of that kind directly in it."""
    if not source.is_dir():
        raise DataError(f"no folder at {source}")
    folders = [source, *sorted(path for path in source.iterdir() if path.is_dir())]
    roots = [
        folder
        for folder in folders
        if all(
            (folder / split).is_dir() and any(map(is_image, (folder / split).iterdir())) for split in SPLITS
        )
    ]
    if not roots or (len(roots) > 1 and roots[0] != source):
        raise DataError(f"{source} has neither MNIST's IDX files nor one train/ and test/ with pictures")
    return roots[0]


def picture_pair(path: Path, resolution: int) -> np.ndarray:
    """x and y, uint8 [2, R, R, 3], from the halves of a picture twice as wide as high. Raises DataError."""
    picture = read_picture(path)
    width, height = picture.size
    if width != 2 * height:
        raise DataError(f"{path}: is {width} x {height}; x and y side by side are twice as wide as high")
    halves = (picture.crop((left, 0, left + height, height)) for left in (0, height))
    return np.stack([resized(half, resolution, resolution) for half in halves])


if __name__ == "__main__":
    sys.exit(run(main))
