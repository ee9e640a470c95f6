"""Makes MNIST-CDCB (or Digits-CDCB) in the packed format, from MNIST's files, from the original archive's
pictures or from scikit-learn's digits.
"""

import argparse
import hashlib
import sys
from functools import partial
from pathlib import Path

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from dataloader.cdcb_pictures import find_pictures, picture_pair
from dataloader.idx import FILES, read_idx_digits, variant
from dataloader.packed import DataError, write_meta, write_split
from dataloader.packing import pack_images
from dataloader.preprocessing import DATA, SPLITS, Parser, Plan, find_splits, fingerprint, make, run, whole

RESOLUTION = 256  # of the original pictures
ABOUT = """\
SOURCE is one of
  a folder with MNIST's four IDX files, gzipped or not
  a folder with the original MNIST-CDCB's train/ and test/: pictures, x their left half and y their right
  a folder with IIAE-Pytorch's trainX/, trainY/, testX/ and testY/
  the word digits: the handwritten digits that scikit-learn carries

example:
  python dataloader/preprocess_mnist.py downloads/mnist data/MNIST-CDCB
"""


def main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    digits = options.source == "digits"
    target = options.target or DATA / ("Digits-CDCB" if digits else "MNIST-CDCB")
    if digits:
        plan = plan_digits()
    elif any(variant(Path(options.source), name) for names in FILES.values() for name in names):
        plan = plan_idx(Path(options.source))
    else:
        plan = plan_pictures(Path(options.source), options)
    if options.resolution and "resolution" not in plan.about:
        raise DataError("--resolution is for original pictures; digits are drawn at any resolution")
    make(plan, target, options.force)


def parser() -> Parser:
    made = Parser("preprocess_mnist.py", __doc__, ABOUT)
    made.add_argument("source", metavar="SOURCE", help="what to make it from; see below")
    made.add_target(None, "the folder to make; default: data/MNIST-CDCB, or data/Digits-CDCB for digits")
    made.add_argument("--resolution", metavar="R", type=whole, help="store original pictures at R x R (256)")
    made.add_skip_bad()
    made.add_workers()
    made.add_force()
    return made


def plan_digits() -> Plan:
    def write(work: Path) -> list[str]:
        from dataloader.cdcb import write_digits

        write_digits(work)
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

    def write(work: Path) -> list[str]:
        from dataloader.cdcb import digit_arrays

        for split, (digits, labels) in splits.items():
            write_split(work / split, digit_arrays(digits, labels, split), **about)
        return []

    return Plan(about, write)


def plan_pictures(source: Path, options: argparse.Namespace) -> Plan:
    """From the original archive's pictures, or IIAE-Pytorch's. Raises DataError."""
    root = find_splits(source, lambda folder: all(find_pictures(folder, split) for split in SPLITS))
    if root is None:
        raise DataError(
            f"{source} has neither MNIST's IDX files nor one train/ and test/ (or trainX/, trainY/, testX/"
            " and testY/) with pictures"
        )
    found = {split: find_pictures(root, split) for split in SPLITS}
    files = [path for split in found.values() for paths in split.files.values() for path in paths]
    resolution = options.resolution or RESOLUTION
    about = {
        "dataset": "MNIST-CDCB",
        "source": "MNIST-CDCB pictures",
        "source_digest": fingerprint(files, root),
        "resolution": resolution,
    }

    def write(work: Path) -> list[str]:
        reasons, row = [], (2, resolution, resolution, 3)
        for split, (pairs, _) in found.items():
            (work / split).mkdir()
            packed = pack_images(
                pairs,
                work / split / "images.npy",
                partial(picture_pair, resolution=resolution),
                row,
                label=f"{split} pictures",
                workers=options.workers,
                skip_bad=options.skip_bad,
            )
            kept = set(packed.kept)
            left_out = [pair for index, pair in enumerate(pairs) if index not in kept]
            names = [(pair[0] if isinstance(pair, tuple) else pair).name for pair in left_out]
            write_meta(work / split, {"images": [len(kept), *row]}, **about, left_out=names)
            reasons += packed.left_out
        return reasons

    return Plan(about, write)


if __name__ == "__main__":
    sys.exit(run(main))
