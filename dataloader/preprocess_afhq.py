"""Makes AFHQ in the packed format from its folders of pictures, version 1 or 2."""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from dataloader.packed import DataError, write_meta
from dataloader.packing import list_images, pack_stacks, read_picture, resized
from dataloader.preprocessing import DATA, SPLITS, Parser, Plan, find_splits, fingerprint, make, run, whole

DOMAINS = ("cat", "dog", "wild")
RESOLUTION = 256
EPILOG = """\
SOURCE holds train/ and test/ (version 2) or val/ (version 1), each with two or all of cat/, dog/ and wild/.
Pictures stored larger than the config's resolution let training's random crops keep all their detail.

example:
  python dataloader/preprocess_afhq.py downloads/afhq data/AFHQ --resolution 256
"""


def main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    root = find_splits(
        options.source, lambda folder: bool(domains_in(folder / "train") and test_folder(folder))
    )
    if root is None:
        domains = ", ".join(DOMAINS)
        raise DataError(f"{options.source} has no train/ and test/ (or val/) with {domains} in them")
    make(plan(root, options), options.target, options.force, source=root)


def parser() -> Parser:
    made = Parser("preprocess_afhq.py", __doc__, EPILOG)
    made.add_argument("source", metavar="SOURCE", type=Path, help="the folder of pictures; see below")
    made.add_target(DATA / "AFHQ", "to make; data/AFHQ")
    made.add_argument(
        "--resolution", metavar="R", type=whole, default=RESOLUTION, help="store at R x R (256)"
    )
    made.add_skip_bad()
    made.add_workers()
    made.add_force()
    return made


def plan(root: Path, options: argparse.Namespace) -> Plan:
    """Raises DataError where the splits do not hold the same domains, or too few."""
    files = find_pictures(root)
    every = [path for domains in files.values() for paths in domains.values() for path in paths]
    resolution = options.resolution
    about = {
        "dataset": "AFHQ",
        "source": "AFHQ pictures",
        "source_digest": fingerprint(every, root),
        "resolution": resolution,
    }

    def write(work: Path) -> list[str]:
        left_out = []
        for split, domains in files.items():
            (work / split).mkdir()
            packed = pack_stacks(
                work / split,
                domains,
                partial(picture, resolution=resolution),
                (resolution, resolution, 3),
                label=f"{split} {{name}} pictures",
                workers=options.workers,
                skip_bad=options.skip_bad,
            )
            write_meta(work / split, packed.shapes, **about, left_out=packed.left_out)
            left_out += packed.reasons
        return left_out

    return Plan(about, write)


def test_folder(root: Path) -> Path | None:
    """test/, or val/ where there is none."""
    return next((root / name for name in ("test", "val") if domains_in(root / name)), None)


def domains_in(folder: Path) -> list[str]:
    return [domain for domain in DOMAINS if (folder / domain).is_dir()]


def find_pictures(root: Path) -> dict[str, dict[str, list[Path]]]:
    """The pictures by split and domain. Raises DataError."""
    folders = dict(zip(SPLITS, (root / "train", test_folder(root))))
    domains = {split: domains_in(folder) for split, folder in folders.items()}
    if domains["train"] != domains["test"]:
        train, test = (", ".join(domains[split]) for split in SPLITS)
        raise DataError(f"{root}: train/ has {train}, and {folders['test'].name}/ has {test}")
    if len(domains["train"]) < 2:
        raise DataError(f"{root} has only {domains['train'][0]}; two of {', '.join(DOMAINS)} are needed")
    return {
        split: {domain: list_images(folder / domain) for domain in domains[split]}
        for split, folder in folders.items()
    }


def picture(path: Path, resolution: int) -> np.ndarray:
    """uint8 [R, R, 3]. Raises DataError."""
    return resized(read_picture(path), resolution, resolution)


if __name__ == "__main__":
    sys.exit(run(main))
