"""Where a command writes: a folder that appears whole or not at all, and names in it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dataloader.packed import DataError, new_folder


@contextmanager
def output_folder(target: Path, force: bool, mark: str, sources: Iterable[Path] = ()) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` where all goes well. Raises DataError where there is
    something already; with `force` only where that is no folder with the file `mark`, by which the command
    knows its own, or holds one of the `sources`."""
    check_output(target, force, mark, sources)
    with new_folder(target) as work:
        yield work


def check_output(target: Path, force: bool, mark: str, sources: Iterable[Path] = ()) -> None:
    whole = target.resolve()
    if not whole.exists() and not target.is_symlink():
        return
    if not whole.is_dir() or target.is_symlink():
        raise DataError(f"{target} is no folder; name another with --output")
    if not any(whole.iterdir()):
        return
    if not force:
        raise DataError(f"{target} is there already; --force replaces it, or name another with --output")
    if not (whole / mark).is_file():
        raise DataError(f"{target} holds no {mark}, so it is not of this command; name another with --output")
    for source in sources:
        if source.resolve().is_relative_to(whole):
            raise DataError(f"{source} is in {target}, which would be replaced; name another with --output")


class Names:
    """Paths below an output folder, none of which is given twice."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def new(self, wanted: Path, endings: Iterable[str]) -> Path:
        """`wanted` without its own ending where that leaves it alone, else with it, else with a number: the
        beginning of the paths that have these endings."""
        endings = list(endings)
        options = [wanted.with_suffix(""), wanted]
        number = 2
        while True:
            for path in options:
                ours = {f"{path}{ending}".casefold() for ending in endings}
                if not ours & self.taken:
                    self.taken |= ours
                    return path
            options, number = [wanted.with_name(f"{wanted.name}-{number}")], number + 1
