"""Packs the cars of Reed et al. (Deep Visual Analogy-Making, NIPS 2015), or toy cars, from their .mat files.

Stored is every view once, by car and elevation; pairs are made when they are read (dataloader/cars.py).
"""

import hashlib
import io
import os
import re
import struct
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # run as a file: imports start at the repository's root, not in this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from PIL import Image
from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError
from tqdm import tqdm

from dataloader.packed import DataError, new_folder, write_meta
from dataloader.packing import npy_header
from dataloader.preprocessing import DATA, SPLITS, Parser, check_target, is_made, run, whole

AZIMUTHS, ELEVATIONS = 24, 4
MOST = 1024  # pixels: a car four times as wide as any known set's, 300 MB
NAME = re.compile(r"car_(\d+)_mesh\.mat")
UNREADABLE = (  # what SciPy raises on damaged files
    OSError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    MatReadError,
    struct.error,
    zlib.error,
)
EPILOG = """\
splits:
  paper      cars numbered 192 and up are for testing; all four elevations, in colour, at their own size
  reference  the last 14 cars are for testing; elevation 3 alone, grey, at 128 x 128

example:
  python dataloader/preprocess_cars.py downloads/nips2015-analogy-data data/Cars --split paper
"""


class Recipe(NamedTuple):
    """What a split of the literature keeps of a car."""

    elevations: tuple[int, ...]
    grey: bool
    resolution: int | None  # None: as it comes


RECIPES = {"paper": Recipe((0, 1, 2, 3), False, None), "reference": Recipe((3,), True, 128)}
FIRST_TEST_CAR, LAST_TEST_CARS = 192, 14  # of the paper and of the reference


class Packed(NamedTuple):
    """Whether the set was written just now, and what is wrong with each file that was left out."""

    written: bool
    left_out: list[str]


def pack_cars(
    source: Path,
    target: Path,
    split: str = "paper",
    resolution: int | None = None,
    test_from: int | None = None,
    skip_bad: bool = False,
    force: bool = False,
    workers: int | None = None,
    bar: bool = False,
) -> Packed:
    """Pack all car_*_mesh.mat under `source` into `target`, all or nothing, always to the same bytes.

    `resolution` overrides the split's; with `test_from`, cars of that number and up are for testing. Does
    nothing where `target` was made of the same files in the same way. Raises DataError: no files, a bad one
    (with `skip_bad` it is left out), an empty split, or (without `force`) another set at `target`.
    """
    files, recipe = find_cars(source), RECIPES[split]
    recipe = recipe._replace(resolution=resolution or recipe.resolution)
    parts = divide(files, split, test_from)
    workers = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        ahead = partial(run_ahead, pool, 2 * workers)
        about = {
            "dataset": "Cars",
            "source": f"{len(files)} files, {files[min(files)].name} to {files[max(files)].name}",
            "source_sha256": hash_files(files, ahead),
            "recipe": {"name": split, **recipe._asdict(), "elevations": list(recipe.elevations)},
            "test_cars": list(parts["test"]),
        }
        if not force and is_made(target, SPLITS, about):
            return Packed(False, [])
        check_target(target, force, source, ".mat files")
        size, left_out = recipe.resolution or native_size(files), []
        bar_ = tqdm(total=len(files), desc="cars", unit="", disable=None if bar else True)
        with new_folder(target) as work, bar_ as done:
            for part, some in parts.items():
                left_out += pack_part(work / part, some, recipe, size, skip_bad, about, ahead, done.update)
    return Packed(True, left_out)


def find_cars(source: Path) -> dict[int, Path]:
    """The files by the number in their name, in its order, anywhere under `source`. Raises DataError."""
    if not source.is_dir():
        raise DataError(f"no folder at {source}; name the one that holds car_001_mesh.mat and so on")
    files: dict[int, Path] = {}
    for path in sorted(source.rglob("car_*_mesh.mat")):
        if match := NAME.fullmatch(path.name):
            number = int(match[1])
            if number in files:
                raise DataError(f"car {number} is there twice: {files[number]} and {path}; keep one")
            files[number] = path
    if not files:
        raise DataError(f"no car_*_mesh.mat in {source} or below it")
    return {number: files[number] for number in sorted(files)}


def divide(files: dict[int, Path], split: str, test_from: int | None) -> dict[str, dict[int, Path]]:
    """The files of the training and of the test cars, by number. Raises DataError where either has none."""
    if test_from is None and split == "reference":
        test_from = list(files)[-LAST_TEST_CARS] if len(files) > LAST_TEST_CARS else 0
        rule = f"needs more than {LAST_TEST_CARS} cars"
    else:
        test_from = FIRST_TEST_CAR if test_from is None else test_from
        rule = f"needs cars below {test_from} and from it on"
    parts = {"train": {}, "test": {}}
    for number, path in files.items():
        parts["test" if number >= test_from else "train"][number] = path
    if not all(parts.values()):
        there = f"{len(files)} cars, {min(files)} to {max(files)}"
        raise DataError(f"this split {rule}; there are {there}; --test-from sets the first test car")
    return parts


def pack_part(
    folder: Path,
    files: dict[int, Path],
    recipe: Recipe,
    size: int,
    skip_bad: bool,
    about: dict[str, Any],
    ahead: Callable[[Callable, Iterable], Iterator[Future]],
    progress: Callable[[], Any],
) -> list[str]:
    """Write one split, car after car; what is wrong with the cars that were left out. Raises DataError."""
    views = (AZIMUTHS, size, size, 1 if recipe.grey else 3)
    bad, cars = {}, []
    folder.mkdir()
    with (folder / "images.npy").open("wb") as file:
        file.write(npy_header(0, views))
        for (number, path), future in zip(
            files.items(), ahead(partial(read_car, recipe=recipe, size=size), files.values())
        ):
            error = future.exception()
            if isinstance(error, DataError):
                if not skip_bad:
                    raise DataError(f"{error}; --skip-bad leaves such files out")
                bad[path.name] = str(error)
            else:
                file.write(future.result())
                cars.append(number)
            progress()
        if not cars:
            raise DataError(f"no {folder.name} car can be read; the first: {next(iter(bad.values()))}")
        file.seek(0)
        file.write(npy_header(len(cars) * len(recipe.elevations), views))
    labels = {
        "car": np.repeat(np.array(cars, np.int32), len(recipe.elevations)),
        "elevation": np.tile(np.array(recipe.elevations, np.uint8), len(cars)),
    }
    for name, values in labels.items():
        np.save(folder / f"{name}.npy", values)
    shapes = {"images": [len(labels["car"]), *views], **{name: [*a.shape] for name, a in labels.items()}}
    write_meta(folder, shapes, **about, left_out=list(bad))
    return list(bad.values())


def run_ahead(pool: ThreadPoolExecutor, ahead: int, function: Callable, items: Iterable) -> Iterator[Future]:
    """`function` of each item as futures, in order, at most `ahead` of them at a time."""
    pending: deque[Future] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) == ahead:
                yield pending.popleft()
        while pending:
            yield pending.popleft()
    finally:
        for future in pending:
            future.cancel()


def read_car(path: Path, recipe: Recipe, size: int) -> np.ndarray:
    """One car's views as uint8 [elevations, 24, size, size, channels], resized with antialiasing where the
    recipe asks for a resolution. Raises DataError, naming the file, where it is not as it should be."""
    data = read_bytes(path)
    own = stored_size(path, data)
    if own != size and not recipe.resolution:
        raise DataError(f"{path}: its views are {own} pixels wide, not {size} as others'; set --resolution")
    try:
        views = loadmat(io.BytesIO(data), variable_names=["im"])["im"]  # [H, W, 3, 24, 4]
    except UNREADABLE as error:
        raise DataError(f"{path}: is damaged ({error})") from None
    views = views[..., recipe.elevations].transpose(4, 3, 0, 1, 2)  # [elevations, 24, H, W, 3]
    made = np.empty((*views.shape[:2], size, size, 1 if recipe.grey else 3), np.uint8)
    for index in np.ndindex(views.shape[:2]):
        picture = Image.fromarray(np.ascontiguousarray(views[index])).convert("L" if recipe.grey else "RGB")
        if own != size:
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        made[index] = np.asarray(picture).reshape(size, size, -1)
    return made


def native_size(files: dict[int, Path]) -> int:
    """Height and width of the views in the first file that can be read. Raises DataError."""
    first = None
    for path in files.values():
        try:
            return stored_size(path, read_bytes(path))
        except DataError as error:
            first = first or error
    raise first


def stored_size(path: Path, data: bytes) -> int:
    """Height and width of the views in a .mat, by its header. Raises DataError where it holds none."""
    if data[:19] == b"MATLAB 7.3 MAT-file" or b"\x89HDF\r\n\x1a\n" in (data[:8], data[512:520]):
        raise DataError(f"{path}: is a MATLAB 7.3 (HDF5) file; save it again in MATLAB with -v7")
    try:
        variables = {name: (shape, kind) for name, shape, kind in whosmat(io.BytesIO(data))}
    except UNREADABLE as error:
        raise DataError(f"{path}: is no MATLAB file, or a damaged one ({error})") from None
    if "im" not in variables:
        raise DataError(f"{path}: holds no variable im{' but ' + ', '.join(variables) if variables else ''}")
    shape, kind = variables["im"]
    if kind != "uint8" or shape[2:] != (3, AZIMUTHS, ELEVATIONS) or shape[0] != shape[1] or not shape[0]:
        wanted = f"uint8 [size, size, 3, {AZIMUTHS}, {ELEVATIONS}]"
        raise DataError(f"{path}: im is {kind} {[*map(int, shape)]}; it must be {wanted}")
    if shape[0] > MOST:
        raise DataError(f"{path}: its views are {shape[0]} pixels wide; {MOST} is the most")
    return int(shape[0])


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def hash_files(files: dict[int, Path], ahead: Callable[[Callable, Iterable], Iterator[Future]]) -> str:
    """SHA-256 over the numbers and contents of all files: the same set, the same hash on every machine."""
    hashes = ahead(lambda path: hashlib.sha256(read_bytes(path)).hexdigest(), files.values())
    lines = [f"{number} {future.result()}\n" for number, future in zip(files, hashes)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def main(arguments: list[str]) -> None:
    options = vars(parser().parse_args(arguments))
    packed = pack_cars(**options, bar=True)
    for line in packed.left_out:
        print(f"left out: {line}")
    target = options["target"]
    print(f"{target} is ready" if packed.written else f"{target} is there already; --force makes it again")


def parser() -> Parser:
    made = Parser("preprocess_cars.py", __doc__, EPILOG)
    made.add_argument(
        "source", metavar="SOURCE", type=Path, help="the folder with car_*_mesh.mat, or one above"
    )
    made.add_target(DATA / "Cars", "to make; data/Cars")
    made.add_argument("--split", choices=RECIPES, default="paper", help="see below; default: paper")
    made.add_argument("--resolution", metavar="N", type=whole, help="store views at N x N instead")
    made.add_argument(
        "--test-from", metavar="N", type=whole, help="cars of this number and up are for testing"
    )
    made.add_skip_bad("files")
    made.add_workers("threads; default: one per core")
    made.add_force()
    return made


if __name__ == "__main__":
    sys.exit(run(main))
