"""Folders of pictures as the CycleGAN data sets are laid out: trainA, trainB, trainC ... and testA, testB
..., one folder per domain, with pictures of any size and kind.

On first use they are packed into a cache beside them, FOLDER/.packed (or ~/.cache/cross-domain-translation,
where FOLDER cannot be written), which is made again when the folders change.
"""

import hashlib
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from dataloader.packed import DataError, locked, new_folder, read_split, write_meta
from dataloader.packing import list_images, pack_stacks, read_picture, resized
from dataloader.preprocessing import Parser, is_made, run, whole

if TYPE_CHECKING:  # workers need no PyTorch
    from dataloader.unpaired import Unpaired

HOW = "fetch one with: bash download/cyclegan.sh NAME (or set path_to_data)"
CACHE = Path(".cache/cross-domain-translation")  # below the home folder
EPILOG = """\
FOLDER holds trainA, trainB ... and testA, testB ...; training does the same when it first uses them.

example:
  python dataloader/folders.py data/horse2zebra --load-size 256
"""


def open_folders(folder: Path, split: str, resolution: int, load_size: int | None = None) -> "Unpaired":
    """One split of a folder of domains, named by their letters, in alphabetical order; packed first where it
    is not yet, at `load_size` (None: the resolution). Raises DataError."""
    from dataloader.unpaired import Unpaired

    size = load_size or resolution
    if size < resolution:
        raise DataError(f"load_size {size} is below the resolution, {resolution}, that is cut from it")
    try:
        packed = pack_folders(Path(folder), split, size)[0]
    except OSError as error:
        place = error.filename or folder
        raise DataError(f"{place}: {error.strerror or error}; {folder} cannot be packed") from None
    except DataError as error:
        how = f"--skip-bad: python dataloader/folders.py {folder} --load-size {size} --skip-bad"
        raise DataError(str(error).replace("--skip-bad", how)) from None
    return Unpaired(read_split(packed)[1], resolution, load_size=size)


def pack_folders(
    folder: Path, split: str, size: int, workers: int | None = None, skip_bad: bool = False
) -> tuple[Path, list[str]]:
    """The cache of one split at `size`, made where it is not there or the folders have changed since, and
    what is wrong with pictures that were left out of it. Raises DataError, OSError."""
    files = {domain: list_images(path) for domain, path in find_domains(folder, split).items()}
    about = {
        "dataset": "Folders",
        "source": f"{split}{', '.join(files)}",
        "source_digest": digest(files),
        "resolution": size,
    }
    beside, elsewhere = folder / ".packed", own_cache(folder)
    for root in (beside, elsewhere):
        if (root / str(size) / split).is_dir() and is_made(root / str(size), [split], about):
            return root / str(size) / split, []
    root = beside if can_write(beside) else elsewhere
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):  # another process may be making the same
        made = root / str(size) / split
        if is_made(made.parent, [split], about):
            return made, []
        return made, write_cache(made, files, size, about, workers, skip_bad)


def write_cache(
    target: Path,
    files: dict[str, list[Path]],
    size: int,
    about: dict[str, Any],
    workers: int | None,
    skip_bad: bool,
) -> list[str]:
    """Write one split, all or nothing; what is wrong with the pictures that were left out."""
    with new_folder(target) as work:
        packed = pack_stacks(
            work,
            files,
            partial(square_picture, size=size),
            (size, size, 3),
            label=f"{target.name}{{name}} pictures",
            workers=workers,
            skip_bad=skip_bad,
        )
        write_meta(work, packed.shapes, **about, left_out=packed.left_out)
    return packed.reasons


def square_picture(path: Path, size: int) -> np.ndarray:
    """The middle square of a picture, as large as fits, at `size`: uint8 [size, size, 3], bilinear with
    antialiasing. Raises DataError."""
    picture = read_picture(path)
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return resized(picture.crop((left, top, left + side, top + side)), size, size)


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


def main(arguments: list[str]) -> None:
    made = Parser("folders.py", __doc__, EPILOG)
    made.add_argument("folder", metavar="FOLDER", type=Path, help="what holds trainA, trainB ...")
    size = "the config's load_size or resolution; 256"
    made.add_argument("--load-size", metavar="N", type=whole, default=256, help=size)
    made.add_skip_bad()
    made.add_workers()
    options = made.parse_args(arguments)
    for split in ("train", "test"):
        packed, left_out = pack_folders(
            options.folder, split, options.load_size, options.workers, options.skip_bad
        )
        for line in left_out:
            print(f"left out: {line}")
        print(f"{packed} is packed")


if __name__ == "__main__":
    sys.exit(run(main))
