"""Pictures of one domain with known attributes: CelebA, DeepFashion, or a folder with a table (see
attribute_tables.py).

On first use they are packed into a cache beside them (see cache.py), which is made again when they or their
tables change. It holds all attributes, so that a config may choose others.
"""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from dataloader.attribute_tables import SPLITS, Source, and_more, find_source, read_source
from dataloader.cache import FILTERS, RESIZES, Shape, cached, shaped, sides
from dataloader.packed import DataError, new_folder, read_split, write_meta
from dataloader.packing import pack_images, read_picture
from dataloader.preprocessing import Parser, run, whole
from dataloader.sizes import Size, both_sides

if TYPE_CHECKING:  # workers need no PyTorch
    from dataloader.attributed import Attributed

EPILOG = """\
FOLDER holds CelebA's img_align_celeba/ and list_attr_celeba.txt, DeepFashion's pictures, or pictures and
attributes.csv; training does the same when it first uses them.

example:
  python dataloader/attributes.py data/CelebA --resolution 128 --crop 178
"""


def open_attributes(
    folder: Path,
    split: str,
    size: int | Size,
    attributes: Sequence[str] | None = None,
    exclusive: Sequence[Sequence[str]] | None = None,
    crop: int | None = None,
    resize: str = "crop",
    filter: str = "bilinear",
    flip: bool = True,
) -> "Attributed":
    """One split, packed first where it is not yet. `attributes` chooses some (None: the usual ones of the
    set, or all), `exclusive` groups them (None: as is usual), `crop` is cut from the middle of pictures
    first; `resize` and `filter` are those of `Shape`. Raises DataError."""
    from dataloader.attributed import Attributed

    folder, shape = Path(folder), Shape(both_sides(size), resize, filter)
    try:
        packed = pack_attributes(folder, split, shape, crop)[0]
    except OSError as error:
        place = error.filename or folder
        raise DataError(f"{place}: {error.strerror or error}; {folder} cannot be packed") from None
    except DataError as error:
        given = shape.options.replace("--load-size", "--resolution") + (f" --crop {crop}" if crop else "")
        how = f"--skip-bad: python dataloader/attributes.py {folder} {given} --skip-bad"
        raise DataError(str(error).replace("--skip-bad", how)) from None
    meta, arrays = read_split(packed)
    known = meta["attributes"]
    names = list(attributes or meta["usual"])
    columns = numbers_of(names, known, "data.attributes")
    if exclusive is None:  # of what is usual, the part that is chosen
        exclusive = [[name for name in group if name in names] for group in meta["exclusive"]]
    groups = [numbers_of(group, names, "data.exclusive") for group in exclusive if len(group) > 1]
    return Attributed(
        arrays["images"],
        np.asarray(arrays["labels"])[:, columns],
        names,
        shape.size,
        groups,
        sources=arrays.get("sources"),
        flip=flip,
        has_validation=meta["has_validation"],
    )


def numbers_of(names: Sequence[str], known: Sequence[str], key: str) -> list[int]:
    """The places of `names` among `known`. Raises DataError, with the nearest name where one is close."""
    for name in names:
        if name not in known:
            lower = {other.lower(): other for other in known}
            close = get_close_matches(name.lower(), lower, 1, 0.5)
            hint = f"did you mean {lower[close[0]]}?" if close else f"there are {', '.join(known)}"
            raise DataError(f"{key}: there is no attribute {name}; {hint}")
    return [known.index(name) for name in names]


def pack_attributes(
    folder: Path,
    split: str,
    shape: Shape,
    crop: int | None = None,
    workers: int | None = None,
    skip_bad: bool = False,
) -> tuple[Path, list[str]]:
    """The cache of one split in this shape, made where it is not there or the folder has changed since, and
    what is wrong with rows and pictures that were left out of it. Raises DataError, OSError."""
    source = find_source(folder)
    height, width = shape.size
    about = {
        "dataset": "Attributes",
        "source": source.kind,
        "source_digest": source.digest,
        "resolution": height if height == width else [height, width],
        "crop": crop,
        **shape.special,
    }
    made = partial(
        write_cache, source=source, shape=shape, crop=crop, about=about, workers=workers, skip_bad=skip_bad
    )
    name = f"attributes-{shape.folder}" + (f"-crop{crop}" if crop else "")
    return cached(folder, name, split, about, made)


def write_cache(
    target: Path,
    source: Source,
    shape: Shape,
    crop: int | None,
    about: dict[str, Any],
    workers: int | None,
    skip_bad: bool,
) -> list[str]:
    """Write one split, all or nothing: `images` uint8 [N, H, W, 3], `labels` uint8 [N, attributes] and,
    where it is known who is shown, `sources` int64 [N]; what was wrong with what was left out."""
    known = read_source(source)
    if known.faults and not skip_bad:
        raise DataError(f"{known.faults[0]}{and_more(known.faults)}; --skip-bad leaves such out")
    counts = dict(zip(SPLITS, np.bincount(known.splits, minlength=len(SPLITS)).tolist()))
    split = "val" if target.name == "test" and not counts["test"] else target.name
    chosen = np.flatnonzero(known.splits == SPLITS.index(split))
    if not len(chosen):
        raise DataError(f"no picture in {source.root} is of the split {target.name}")
    with new_folder(target) as work:
        packed = pack_images(
            [known.files[index] for index in chosen],
            work / "images.npy",
            partial(shaped_picture, root=source.root, shape=shape, crop=crop),
            (*shape.size, 3),
            label=f"{target.name} pictures",
            workers=workers,
            skip_bad=skip_bad,
        )
        kept = chosen[packed.kept]
        arrays = {"labels": known.values[kept]}
        if known.sources is not None:
            arrays["sources"] = known.sources[kept]
        for name, array in arrays.items():
            np.save(work / f"{name}.npy", array, allow_pickle=False)
        write_meta(
            work,
            {"images": [len(kept), *shape.size, 3]} | {name: list(a.shape) for name, a in arrays.items()},
            **about,
            attributes=known.attributes,
            usual=known.usual or known.attributes,
            exclusive=known.exclusive,
            has_validation=bool(counts["val"] and counts["test"]),
            left_out=[known.files[index] for index in np.setdiff1d(chosen, kept)],
        )
    return [*known.faults, *packed.left_out]


def shaped_picture(name: str, root: Path, shape: Shape, crop: int | None) -> np.ndarray:
    """A picture below `root` in this shape, of its middle square of `crop` pixels: uint8 [H, W, 3]. Raises
    DataError."""
    picture = read_picture(root / name)
    if crop:
        width, height = picture.size
        if min(width, height) < crop:
            raise DataError(f"{root / name}: its {width} x {height} pixels hold no data.crop of {crop}")
        left, top = (width - crop) // 2, (height - crop) // 2
        picture = picture.crop((left, top, left + crop, top + crop))
    return shaped(picture, shape)


def main(arguments: list[str]) -> None:
    made = Parser("attributes.py", __doc__, EPILOG)
    made.add_argument("folder", metavar="FOLDER", type=Path, help="what holds the pictures and their table")
    size = "the config's, N or HxW; 128"
    made.add_argument("--resolution", metavar="SIZE", type=sides, default=(128, 128), help=size)
    made.add_argument("--crop", metavar="N", type=whole, help="its data.crop; none")
    made.add_argument("--resize", choices=RESIZES, default="crop", help="its data.resize; crop")
    made.add_argument("--filter", choices=FILTERS, default="bilinear", help="its data.filter; bilinear")
    made.add_skip_bad("rows and pictures")
    made.add_workers()
    options = made.parse_args(arguments)
    shape = Shape(options.resolution, options.resize, options.filter)
    splits = ["train", "test"]
    for split in splits:
        packed, left_out = pack_attributes(
            options.folder, split, shape, options.crop, options.workers, options.skip_bad
        )
        for line in left_out:
            print(f"left out: {line}")
        print(f"{packed} is packed")
        if split == "train" and read_split(packed)[0]["has_validation"]:
            splits.append("val")


if __name__ == "__main__":
    sys.exit(run(main))
