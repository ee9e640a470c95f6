"""SIGINT and SIGTERM, by which a person or a scheduler ends a run."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from solvers.run.shortage import chain_of

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal came; `status` is what the program ends with."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number


@contextmanager
def interrupting() -> Iterator[None]:
    """Inside, both signals raise Interrupted, so that what is half-made is tidied up. Where Python lets no
    exception through, as while it frees an object, the program ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: Any) -> None:
        raise Interrupted(number)

    def end(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Interrupted):
            sys.__unraisablehook__(unraisable)
            return
        print(f"error: {unraisable.exc_value}", file=sys.stderr, flush=True)
        os._exit(unraisable.exc_value.status)

    hook, sys.unraisablehook = sys.unraisablehook, end
    before = {number: signal.signal(number, stop) for number in STOPPING}
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:  # what a library makes of an interruption on its way
        signalled = next((one for one in chain_of(error) if isinstance(one, Interrupted)), None)
        if signalled is None:
            raise
        raise signalled from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


class StopSignals:
    """While entered, the first of them is only remembered, as `number`, so that the loop can end after its
    iteration; a second one acts at once."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __enter__(self) -> "StopSignals":
        self.before = {number: signal.signal(number, self._remember) for number in STOPPING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _frame: Any) -> None:
        self.number = number
        signal.signal(number, self.before[number])

    def agree(self, largest: Callable[[int], int]) -> bool:
        """Whether a signal came to this process or to another; `largest` gives the most of all processes'
        numbers. Afterwards all know the same."""
        self.number = largest(self.number or 0) or None
        return self.number is not None

    @property
    def name(self) -> str:
        return "" if self.number is None else signal.Signals(self.number).name

    @property
    def status(self) -> int:
        """What the program ends with: 0 if none came."""
        return 0 if self.number is None else 128 + self.number
