"""models/best.json: which of a run's checkpoints is the best on validation data."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from solvers.run.checkpoint import CheckpointError
from solvers.run.folder import RunFolder, write_whole


class Best(NamedTuple):
    """The checkpoint with the best validation number, and that number."""

    iteration: int
    by: str
    value: float

    @property
    def choice(self) -> dict[str, Any]:
        """For the protocol in metrics.json."""
        return {"chosen": f"best by {self.by} on validation", "value": self.value}


def best_file(where: Path) -> Path:
    """Of a run folder or its models/ folder."""
    return (where / "models" if (where / "models").is_dir() else where) / "best.json"


def write_best(run: RunFolder, best: Best) -> None:
    write_whole(best_file(run.root), json.dumps(best._asdict(), indent=2) + "\n")


def read_best(where: Path) -> Best | None:
    """None where it is damaged. Raises CheckpointError where there is none."""
    file = best_file(where)
    try:
        found = json.loads(file.read_text())
        return Best(int(found["iteration"]), str(found["by"]), float(found["value"]))
    except FileNotFoundError:
        raise CheckpointError(
            f"{where} has no best checkpoint, since it was trained without validation; use test.select=last"
        ) from None
    except (OSError, KeyError, TypeError, ValueError):
        return None
