"""The packed format: a folder per split that holds uint8 arrays as .npy, read by memory map, and a meta.json.

    <data set>/train/meta.json  digits.npy or images.npy, colours.npy, labels.npy ...
    <data set>/test/...

`new_folder` writes it: the folder appears complete, under its own name, or not at all.
"""

import fcntl
import json
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1


class DataError(ValueError):
    """A data set that is missing or broken; the message is one line that says what to do."""


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`; on success everything in it is synced and it becomes `target`,
    in place of a folder that stood there. On any failure it is removed and `target` stays as it was. What
    runs that were killed left behind is removed first."""
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.parent):
        remove_leftovers(target)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        in_use = os.open(work, os.O_RDONLY)
        lock(in_use)
    try:
        yield work
        work.chmod(0o755)
        for path in sorted(work.rglob("*")):
            sync(path)
        sync(work)
        with locked(target.parent):
            swap(work, target)
        sync(target.parent)
        shutil.rmtree(work.with_suffix(".old"), ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(in_use)


def swap(work: Path, target: Path) -> None:
    """Give `work` the name of `target`; what stood there gets another, or its own again where that fails."""
    old = work.with_suffix(".old")
    if target.exists():
        target.rename(old)
    try:
        work.rename(target)
    except BaseException:  # an interruption, too
        if old.exists():
            old.rename(target)
        raise


def remove_leftovers(target: Path) -> None:
    """Remove the work folders for `target` that no living process holds locked."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.[^.]+\.(part|old)")
    for path in [path for path in target.parent.iterdir() if ours.fullmatch(path.name)]:
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:  # finished in the meantime, or another user's
            continue
        try:
            if lock(handle, patience=0.5):  # a killed run's last child may hold it a moment longer
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(handle)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone among the processes that do this for `folder`."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        lock(handle)
        yield
    finally:
        os.close(handle)


def lock(handle: int, patience: float = math.inf) -> bool:
    """Lock an open folder until it is closed or the process ends, however it ends; whether that succeeded
    within `patience` seconds. It never does on file systems without locks."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        except OSError:
            return False


def sync(path: Path) -> None:
    """Flush a file's or folder's contents to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_split(folder: Path, arrays: dict[str, np.ndarray], **meta: Any) -> None:
    """Write one split: each array as NAME.npy, then meta.json with their shapes and `meta`."""
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    write_meta(folder, {name: list(array.shape) for name, array in arrays.items()}, **meta)


def write_meta(folder: Path, shapes: dict[str, list[int]], **meta: Any) -> None:
    """Write the meta.json that makes `folder` a split: format, number of items, shapes and what else is
    given."""
    count = next(iter(shapes.values()))[0]
    text = json.dumps({"format": FORMAT, "count": count, "arrays": shapes, **meta}, indent=2)
    (folder / "meta.json").write_text(text + "\n")


def read_split(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The meta and the memory-mapped arrays of one split, checked against each other. Raises DataError."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if meta["format"] != FORMAT:
            raise DataError(
                f"{folder} is of format {meta['format']}, this program reads {FORMAT}; preprocess it again"
            )
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in meta["arrays"]
        }
        wrong = [name for name, array in arrays.items() if list(array.shape) != meta["arrays"][name]]
    except DataError:
        raise
    except (OSError, EOFError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{folder} is damaged ({error}); preprocess it again") from None
    if wrong:
        raise DataError(
            f"{folder}: {wrong[0]}.npy has another shape than meta.json says; preprocess it again"
        )
    return meta, arrays


def read_set(
    folder: Path, split: str, name: str, how: str, needed: Collection[str] = (), kin: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """`read_split` of the data set `name`, or one of its `kin`, with the `needed` arrays. Raises DataError,
    with the command `how` that makes it where there is none, and where there is another."""
    if not is_packed(folder):
        raise DataError(f"no {name} at {folder}; make it with: {how} (or set path_to_data)")
    meta, arrays = read_split(folder / split)
    if meta.get("dataset") not in (name, *kin):
        other = meta.get("dataset", "another data set")
        raise DataError(f"{folder} holds {other}, not {name}; set path_to_data")
    if missing := [array for array in needed if array not in arrays]:
        raise DataError(f"{folder / split} is damaged (it has no {missing[0]}); preprocess it again")
    return meta, arrays


def is_packed(folder: Path) -> bool:
    """Whether `folder` holds at least one finished split."""
    return any((folder / split / "meta.json").is_file() for split in ("train", "test", "val"))
