"""SIGINT and SIGTERM, by which a person or a scheduler ends a run."""

import signal
from typing import Any


class StopSignals:
    """While entered, the first of them is only remembered, as `number`, so that the loop can end after its
    iteration; a second one acts at once."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __enter__(self) -> "StopSignals":
        self.before = {
            number: signal.signal(number, self._remember) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _frame: Any) -> None:
        self.number = number
        signal.signal(number, self.before[number])

    @property
    def name(self) -> str:
        return "" if self.number is None else signal.Signals(self.number).name
