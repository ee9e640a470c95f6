"""Several processes look at a split together: each sees a run of its batches, and the first then gets what
the others kept, in the order of the batches, so that it has what it would have kept alone."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from solvers.evaluation.codes import Rows
from solvers.run import distributed

BYTES = 1 << 25  # of rows that travel at once


class Piece(NamedTuple):
    """Something that is kept: where it stands, and the rows of a Rows of `count` or the items of a list."""

    path: tuple[Any, ...]
    values: Any
    places: np.ndarray | None = None
    count: int = 0


@contextmanager
def first_alone(share: tuple[int, int]) -> Iterator[None]:
    """What is inside is done by the first process, and by the others after it."""
    rank, world = share
    if world > 1 and rank:
        distributed.barrier()
    yield
    if world > 1 and not rank:
        distributed.barrier()


def gather(watching: list[Any]) -> None:
    """Bring all that was kept to the first process."""
    for piece in distributed.to_first(pieces(watching)):
        take(watching, piece)


def pieces(watching: Iterable[Any]) -> Iterator[Piece]:
    """Of the attributes that each one names in `kept`: Rows, lists of what was seen in one batch after
    another, and lists and dicts of these."""
    for number, one in enumerate(watching):
        for name in one.kept:
            yield from within(getattr(one, name), (number, name))


def within(kept: Any, path: tuple[Any, ...]) -> Iterator[Piece]:
    if isinstance(kept, Rows):
        places = kept.written()
        step = max(1, BYTES // max(1, kept.array[:1].nbytes)) if len(places) else 1
        for first in range(0, len(places), step):
            some = places[first : first + step]
            yield Piece(path, kept.array[some], some, len(kept))
    elif isinstance(kept, dict):
        for key, value in kept.items():
            yield from within(value, (*path, key))
    elif any(isinstance(value, Rows | dict | list) for value in kept):
        for key, value in enumerate(kept):
            yield from within(value, (*path, key))
    elif kept:
        yield Piece(path, list(kept))


def take(watching: list[Any], piece: Piece) -> None:
    """Add a piece from another process to what was kept here."""
    number, name, *keys = piece.path
    kept = getattr(watching[number], name)
    for key in keys:
        if isinstance(kept, dict) and key not in kept:
            kept[key] = [] if piece.places is None else Rows(piece.count)
        kept = kept[key]
    if piece.places is None:
        kept.extend(piece.values)
    else:
        kept.put(piece.places, piece.values)
