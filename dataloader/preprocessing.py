"""What every preprocess_*.py shares: options, whether a set is made already, making it all or nothing, errors
as one line.
"""

import argparse
import hashlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from dataloader.packed import DataError, locked, new_folder, read_split, remove_leftovers

DATA = Path(__file__).resolve().parents[1] / "data"
SPLITS = ("train", "test")


class Plan(NamedTuple):
    """What is to be made: what every split's meta.json will say, and how to write the splits."""

    about: dict[str, Any]
    write: Callable[[Path], list[str]]
    """Write them into this empty folder; what is wrong with the files that were left out."""


def make(plan: Plan, target: Path, force: bool, source: Path | None = None) -> None:
    """Make the planned set at `target`, all or nothing, and say what came of it; where it is there already,
    only that. Raises DataError, as `check_target` does."""
    target = target.resolve()
    if target.parent.is_dir():
        with locked(target.parent):
            remove_leftovers(target)
    if not force and is_made(target, SPLITS, plan.about):
        print(f"{target} is there already, made from the same {plan.about['source']}; --force remakes it")
        return
    check_target(target, force, source)
    with new_folder(target) as work:
        left_out = plan.write(work)
    for line in left_out:
        print(f"left out: {line}")
    print(f"{target} is made from {plan.about['source']}")


def fingerprint(paths: Sequence[Path], root: Path) -> str:
    """SHA-256 of the files' names below `root` and their sizes: the same set, the same fingerprint on every
    machine. A file whose content changed and whose size did not goes unnoticed."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(os.fsencode(path.relative_to(root).as_posix()) + f"\0{path.stat().st_size}\n".encode())
    return digest.hexdigest()


def is_made(target: Path, splits: Sequence[str], about: dict[str, Any]) -> bool:
    """Whether every split is complete in `target` and its meta.json says what `about` says."""
    try:
        metas = [read_split(target / split)[0] for split in splits]
    except DataError:
        return False
    return all(meta.get(key) == value for meta in metas for key, value in about.items())


def check_target(target: Path, force: bool, source: Path | None = None, what: str = "pictures") -> None:
    """Refuse to put a packed set where something else stands: the `source` itself, files that are no packed
    set, or (without `force`) a packed set that is whole. Raises DataError."""
    if source is not None and source.resolve().is_relative_to(target.resolve()):
        raise DataError(f"{target} holds the {what} themselves; name another folder")
    if not target.exists():
        return
    names = sorted(os.listdir(target)) if target.is_dir() else ["a file"]
    splits = [name for name in names if (target / name / "meta.json").is_file()]
    if splits != names:
        raise DataError(f"{target} holds something else ({names[0]} ...); name another folder")
    if splits and not force and is_made(target, splits, {}):
        raise DataError(f"{target} was made otherwise; --force replaces it, or name another folder")


def find_splits(source: Path, holds: Callable[[Path], bool]) -> Path | None:
    """The folder with the splits: `source`, or the only folder directly in it for which `holds` is true.
    None where there is none, or more than one. Raises DataError where `source` is no folder."""
    if not source.is_dir():
        raise DataError(f"no folder at {source}")
    if holds(source):
        return source
    found = [path for path in sorted(source.iterdir()) if path.is_dir() and holds(path)]
    return found[0] if len(found) == 1 else None


# Command lines


class Parser(argparse.ArgumentParser):
    """With an example under --help; wrong usage is a DataError, so that `run` says it in one line."""

    def __init__(self, prog: str, description: str | None, epilog: str):
        plain = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=description, epilog=epilog, formatter_class=plain)

    def error(self, message: str) -> NoReturn:
        raise DataError(f"{message} (see --help)")

    def add_target(self, default: Path | None, words: str) -> None:
        self.add_argument("target", metavar="TARGET", type=Path, nargs="?", default=default, help=words)

    def add_skip_bad(self, what: str = "pictures") -> None:
        words = f"leave out {what} that cannot be read, and list them"
        self.add_argument("--skip-bad", action="store_true", help=words)

    def add_workers(self, words: str = "processes that read pictures; default: all cores") -> None:
        self.add_argument("--workers", metavar="N", type=whole, help=words)

    def add_force(self) -> None:
        self.add_argument("--force", action="store_true", help="make it again where it is there already")


def whole(text: str) -> int:
    """An argument that is a whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


def run(main: Callable[[list[str]], None], arguments: list[str] | None = None) -> int:
    """Call a preprocessing's main; its exit status. What a person can mend is one line on stderr, status
    2."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # names of files may hold anything
    try:
        with ending_cleanly():
            main(sys.argv[1:] if arguments is None else arguments)
        return 0
    except DataError as error:
        reason, status = str(error), 2
    except OSError as error:
        reason, status = f"{error.filename or 'the disk'}: {error.strerror or error}", 2
    except KeyboardInterrupt:
        reason, status = "interrupted", 130
    print(f"error: {' '.join(reason.split())}", file=sys.stderr)
    return status


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that unfinished folders are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        sys.exit(143)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except Exception:  # what a pool of workers raises when it is left while it starts
        if stopped:
            sys.exit(143)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
