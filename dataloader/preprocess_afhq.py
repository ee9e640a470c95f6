"""Makes AFHQ in the packed format from its folders of pictures, version 1 or 2."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from dataloader.packed import DataError, locked, new_folder, remove_leftovers, write_meta
from dataloader.packing import (
    Parser,
    check_target,
    fingerprint,
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
    target = options.target.resolve()
    root = find_root(options.source)
    files = find_pictures(root)
    if root.resolve().is_relative_to(target):
        raise DataError(f"{target} holds the pictures themselves; name another folder")
    about = {
        "dataset": "AFHQ",
        "source": "AFHQ pictures",
        "source_digest": fingerprint(
            [path for domains in files.values() for paths in domains.values() for path in paths], root
        ),
        "resolution": options.resolution,
    }
    if target.parent.is_dir():
        with locked(target.parent):
            remove_leftovers(target)
    if not options.force and is_made(target, SPLITS, about):
        print(f"{target} is there already, made from the same {about['source']}; --force remakes it")
        return
    check_target(target, options.force)
    for line in write(target, files, about, options):
        print(f"left out: {line}")
    print(f"{target} is made from {about['source']}")


def parser() -> Parser:
    made = Parser(
        prog="preprocess_afhq.py",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("source", metavar="SOURCE", type=Path, help="the folder of pictures; see below")
    made.add_argument(
        "target", metavar="TARGET", type=Path, nargs="?", default=DATA / "AFHQ", help="to make; data/AFHQ"
    )
    made.add_argument(
        "--resolution", metavar="R", type=whole, default=RESOLUTION, help="store at R x R (256)"
    )
    made.add_argument(
        "--skip-bad", action="store_true", help="leave out pictures that cannot be read, and list them"
    )
    made.add_argument(
        "--workers", metavar="N", type=whole, help="processes that read pictures; default: all cores"
    )
    made.add_argument("--force", action="store_true", help="make it again where it is there already")
    return made


def find_root(source: Path) -> Path:
    """The folder with the splits: `source`, or the only folder of that kind directly in it. Raises
    DataError."""
    if not source.is_dir():
        raise DataError(f"no folder at {source}")
    folders = [source, *sorted(path for path in source.iterdir() if path.is_dir())]
    roots = [folder for folder in folders if domains_in(folder / "train") and test_folder(folder)]
    if not roots or (len(roots) > 1 and roots[0] != source):
        raise DataError(f"{source} has no train/ and test/ (or val/) with {', '.join(DOMAINS)} in them")
    return roots[0]


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


def write(
    target: Path,
    files: dict[str, dict[str, list[Path]]],
    about: dict[str, Any],
    options: argparse.Namespace,
) -> list[str]:
    """Make the set, all or nothing; what is wrong with the pictures that were left out. Raises DataError."""
    shape, left_out = (options.resolution, options.resolution, 3), []
    with new_folder(target) as work:
        for split, domains in files.items():
            (work / split).mkdir()
            shapes, gone = {}, {}
            for domain, paths in domains.items():
                packed = pack_images(
                    paths,
                    work / split / f"{domain}.npy",
                    partial(picture, resolution=options.resolution),
                    shape,
                    workers=options.workers,
                    skip_bad=options.skip_bad,
                    label=f"{split} {domain} pictures",
                )
                kept = set(packed.kept)
                shapes[domain] = [len(kept), *shape]
                gone[domain] = [path.name for index, path in enumerate(paths) if index not in kept]
                left_out += packed.left_out
            write_meta(work / split, shapes, **about, left_out=gone)
    return left_out


def picture(path: Path, resolution: int) -> np.ndarray:
    """uint8 [R, R, 3]. Raises DataError."""
    return resized(read_picture(path), resolution, resolution)


if __name__ == "__main__":
    sys.exit(run(main))
