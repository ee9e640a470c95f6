"""Pairs of pictures, in one of three layouts:

halves: files in train/ (test/, val/) whose left half is A and whose right half is B, as pix2pix has them;
folders: trainA/ and trainB/, where files of equal names (whatever their endings) are partners;
pair_folders: a folder for each pair in train/, with two pictures: by name the first is B and the second A.

On first use they are packed into a cache beside them (see cache.py), which is made again when they change.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from dataloader.cache import FILTERS, RESIZES, Shape, cached, digest, shaped, sides
from dataloader.packed import DataError, new_folder, read_split, write_meta
from dataloader.packing import SUFFIXES, is_image, list_images, pack_images, read_picture
from dataloader.preprocessing import Parser, run
from dataloader.sizes import Size, both_sides, jitter_sides, load_sides

if TYPE_CHECKING:  # workers need no PyTorch
    from dataloader.paired import Paired

HOW = "fetch one with: bash download/pix2pix.sh NAME (or set path_to_data)"
LAYOUTS = ("halves", "folders", "pair_folders")
EPILOG = """\
FOLDER holds train/, with A and B as halves of one file or a folder for each pair, or trainA/ and trainB/.
Training does the same when it first uses them.

example:
  python dataloader/pairs.py data/facades --resolution 256 --load-size 286
"""


class Pair(NamedTuple):
    """Where the two images of a pair are: in two files, or as halves of one."""

    name: str
    a: Path
    b: Path | None = None


class Found(NamedTuple):
    """What a split holds."""

    pairs: list[Pair]
    files: dict[str, list[Path]]
    """All its pictures, by the name of their folder."""
    faults: list[str]
    """What is wrong with files that make no pair."""


def open_pairs(
    folder: Path,
    split: str,
    size: int | Size,
    direction: str = "AtoB",
    layout: str = "auto",
    load_size: int | Size | None = None,
    augment: str = "jitter",
    flip: bool = True,
    resize: str = "crop",
    filter: str = "bilinear",
) -> "Paired":
    """One split of a folder of pairs; packed first where it is not yet, for training at `load_size`, else at
    `size`. `resize` and `filter` are those of `Shape`, the rest those of `Paired`. Raises DataError."""
    from dataloader.paired import Paired

    folder, size = Path(folder), both_sides(size)
    try:
        load = load_sides(load_size, size) if load_size else jitter_sides(size)
    except ValueError as error:
        raise DataError(str(error)) from None
    load = size if augment == "none" else load
    shape = Shape(load if split == "train" else size, resize, filter)
    try:
        packed = pack_pairs(folder, split, shape, layout)[0]
    except OSError as error:
        place = error.filename or folder
        raise DataError(f"{place}: {error.strerror or error}; {folder} cannot be packed") from None
    except DataError as error:
        given = f"--resolution {Shape(size).side} {shape._replace(size=load).options} --layout {layout}"
        how = f"--skip-bad: python dataloader/pairs.py {folder} {given} --skip-bad"
        raise DataError(str(error).replace("--skip-bad", how)) from None
    pairs = read_split(packed)[1]["pairs"]
    return Paired(pairs, size, direction=direction, load_size=load, augment=augment, flip=flip)


def pack_pairs(
    folder: Path,
    split: str,
    shape: Shape,
    layout: str = "auto",
    workers: int | None = None,
    skip_bad: bool = False,
) -> tuple[Path, list[str]]:
    """The cache of one split in this shape, made where it is not there or the pictures have changed since,
    and what is wrong with files that were left out of it. Raises DataError, OSError."""
    layout, found = find_pairs(folder, split, layout)
    height, width = shape.size
    about = {
        "dataset": "Pairs",
        "layout": layout,
        "source": split if layout == "pair_folders" else ", ".join(found.files),
        "source_digest": digest(found.files),
        "resolution": height if height == width else [height, width],
        **shape.special,
    }
    made = partial(write_cache, found=found, shape=shape, about=about, workers=workers, skip_bad=skip_bad)
    return cached(folder, f"pairs-{shape.folder}", split, about, made)


def write_cache(
    target: Path, found: Found, shape: Shape, about: dict[str, object], workers: int | None, skip_bad: bool
) -> list[str]:
    """Write one split, all or nothing: `pairs`, uint8 [N, H, W, 6], A before B; what is wrong with the files
    that were left out."""
    if found.faults and not skip_bad:
        more = f" (and {len(found.faults) - 1} more)" if len(found.faults) > 1 else ""
        raise DataError(f"{found.faults[0]}{more}; --skip-bad leaves such files out")
    if not found.pairs:
        raise DataError(f"there is no pair for {target.name}; {found.faults[0]}")
    row = (*shape.size, 6)
    with new_folder(target) as work:
        packed = pack_images(
            found.pairs,
            work / "pairs.npy",
            partial(read_pair, shape=shape),
            row,
            label=f"{target.name} pairs",
            workers=workers,
            skip_bad=skip_bad,
        )
        kept = set(packed.kept)
        left_out = [pair.name for index, pair in enumerate(found.pairs) if index not in kept]
        write_meta(work, {"pairs": [len(kept), *row]}, **about, left_out=left_out)
    return [*found.faults, *packed.left_out]


def read_pair(pair: Pair, shape: Shape) -> np.ndarray:
    """Both images in this shape: uint8 [H, W, 6], A before B. Raises DataError where one cannot be read,
    where halves would be of unequal width, and where the proportions of two files differ (by more than a
    pixel of rounding) and are not to be squashed."""
    a = read_picture(pair.a)
    if pair.b is None:
        width, height = a.size
        if width % 2:
            raise DataError(f"{pair.a}: its {width} columns ({width} x {height}) are no two equal halves")
        a, b = (a.crop((left, 0, left + width // 2, height)) for left in (0, width // 2))
    else:
        b = read_picture(pair.b)
        (wide, high), (width, height) = a.size, b.size
        if shape.resize != "squash" and abs(wide * height - width * high) > max(wide, high, width, height):
            raise DataError(
                f"{pair.a} is {wide} x {high} and {pair.b} {width} x {height}, of other proportions, which"
                " only data.resize squash takes"
            )
    for path, picture in ((pair.a, a), (pair.b or pair.a, b)):
        if min(picture.size) < 2:
            raise DataError(f"{path}: {picture.width} x {picture.height} pixels are no picture")
    return np.concatenate([shaped(a, shape), shaped(b, shape)], axis=2)


# What a folder holds


def find_pairs(folder: Path, split: str, layout: str = "auto") -> tuple[str, Found]:
    """The layout, and what one split holds, in the order of names; val stands in where there is no test.
    Raises DataError where there is nothing, or where more than one layout would do and `layout` is "auto"."""
    if not folder.is_dir():
        raise DataError(f"no folder at {folder}; {HOW}")
    for name in (split, "val") if split == "test" else (split,):
        fitting = [kind for kind in LAYOUTS if has_layout(folder, name, kind)]
        if layout != "auto":
            fitting = [kind for kind in fitting if kind == layout]
        if len(fitting) > 1:
            raise DataError(f"{folder} could be read as {' or '.join(fitting)}; set data.layout to one")
        if fitting:
            find = {"halves": find_halves, "folders": find_partners, "pair_folders": find_pair_folders}
            return fitting[0], find[fitting[0]](folder, name)
    lone = [side for side in "AB" if (folder / f"{split}{side}").is_dir()]
    if len(lone) == 1 and layout in ("auto", "folders"):
        raise DataError(f"{folder} holds only {split}{lone[0]} of {split}A and {split}B; {HOW}")
    what = {
        "halves": f"{split}/ with pictures",
        "folders": f"{split}A/ and {split}B/",
        "pair_folders": f"{split}/ with a folder for each pair",
    }
    raise DataError(f"{folder} holds no {what.get(layout) or ', no '.join(what.values())}; {HOW}")


def has_layout(folder: Path, split: str, layout: str) -> bool:
    if layout == "folders":
        return all((folder / f"{split}{side}").is_dir() for side in "AB")
    place = folder / split
    if layout == "halves":
        return place.is_dir() and any(map(is_image, place.iterdir()))
    return place.is_dir() and any(subfolders(place))


def subfolders(folder: Path) -> Iterator[Path]:
    """Those that a person put there, in the order of their names."""
    return (p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith("."))


def find_halves(folder: Path, split: str) -> Found:
    paths = list_images(folder / split)
    return Found([Pair(path.name, path) for path in paths], {split: paths}, [])


def find_partners(folder: Path, split: str) -> Found:
    """Partners have one name, without its ending."""
    places = [folder / f"{split}{side}" for side in "AB"]
    files = {place.name: list_images(place) for place in places}
    named: list[dict[str, Path]] = []
    faults = []
    for paths in files.values():
        known: dict[str, Path] = {}
        for path in paths:
            if path.stem in known:
                faults.append(f"{path} has the name of {known[path.stem].name}: which is the partner?")
            known.setdefault(path.stem, path)
        named.append(known)
    for side, (mine, others) in enumerate((named, named[::-1])):
        by_case = {name.casefold(): path.name for name, path in others.items()}
        for name in mine.keys() - others.keys():
            near = by_case.get(name.casefold())
            faults.append(
                f"{mine[name]} has no partner in {places[1 - side].name}"
                + (f" ({near} differs in upper and lower case)" if near else "")
            )
    both = [name for name in named[0] if name in named[1]]
    return Found([Pair(name, named[0][name], named[1][name]) for name in both], files, sorted(faults))


def find_pair_folders(folder: Path, split: str) -> Found:
    """By name the first picture is B, the second A."""
    pairs, files, faults = [], {}, []
    for place in subfolders(folder / split):
        paths = sorted(filter(is_image, place.iterdir()))
        files[f"{split}/{place.name}"] = paths
        names = ", ".join(path.name for path in paths[:4]) + (" ..." if len(paths) > 4 else "")
        if len(paths) != 2:
            kinds = ", ".join(suffix[1:] for suffix in sorted(SUFFIXES))
            held = f"{len(paths)} picture{'s' * (len(paths) != 1)} ({names or kinds})"
            faults.append(f"{place} holds {held}, not two")
        elif paths[0].name.casefold() == paths[1].name.casefold():
            faults.append(f"{place}: {names} differ in upper and lower case only: which is the first?")
        else:
            pairs.append(Pair(place.name, paths[1], paths[0]))
    return Found(pairs, files, faults)


def main(arguments: list[str]) -> None:
    made = Parser("pairs.py", __doc__, EPILOG)
    made.add_argument("folder", metavar="FOLDER", type=Path, help="what holds train/, or trainA/ and trainB/")
    size = "the config's, N or HxW; 256"
    made.add_argument("--resolution", metavar="SIZE", type=sides, default=(256, 256), help=size)
    made.add_argument(
        "--load-size", metavar="SIZE", type=sides, help="its data.load_size; 286/256 of the other"
    )
    made.add_argument("--layout", choices=("auto", *LAYOUTS), default="auto", help="its data.layout; auto")
    made.add_argument("--resize", choices=RESIZES, default="crop", help="its data.resize; crop")
    made.add_argument("--filter", choices=FILTERS, default="bilinear", help="its data.filter; bilinear")
    made.add_skip_bad()
    made.add_workers()
    options = made.parse_args(arguments)
    load = options.load_size or jitter_sides(options.resolution)
    for split, size in (("train", load), ("test", options.resolution)):
        shape = Shape(size, options.resize, options.filter)
        packed, left_out = pack_pairs(
            options.folder, split, shape, options.layout, options.workers, options.skip_bad
        )
        for line in left_out:
            print(f"left out: {line}")
        print(f"{packed} is packed")


if __name__ == "__main__":
    sys.exit(run(main))
