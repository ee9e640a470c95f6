"""What the finished runs of a table say, as `main.py compare` reads them: values by seed, which is best, and
what was measured otherwise than in the first run.
"""

import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.tables_declared import Row, Table
from benchmarks.tables_runs import Job
from solvers.commands.compare import Group, Run, measured, read_run
from solvers.commands.compare import table as compared

TURNED = {"x": "y", "y": "x", "real_x": "real_y", "real_y": "real_x", "x_to_y": "y_to_x", "y_to_x": "x_to_y"}
FAMILIES = {  # of numbers that are not named after theirs
    **dict.fromkeys(("kid", "fid", "precision", "recall", "density", "coverage"), "realism"),
    **{"probe": "probes", "probe_mlp": "probes", "retrieval_at_5": "retrieval"},
}
OF_ALL = ""  # in place of a family: what concerns them all, such as the data


@dataclass
class Line:
    """A row with results: its finished runs, by seed."""

    row: Row
    jobs: list[Job]
    group: Group

    def find(self, numbers: str) -> tuple[str, list[float]]:
        """The number that this line has of those with | between, by its own name, and its values."""
        turned = getattr(self.group.runs[0].config.data, "direction", "AtoB") == "BtoA"
        for name in (part.strip() for part in numbers.split("|")):
            name = "/".join(TURNED.get(part, part) for part in name.split("/")) if turned else name
            if values := self.group.values(name):
                return name, values
        return "", []


@dataclass
class Entry:
    """One number of one line: its values by seed, and how it compares."""

    values: list[float]
    strange: bool = False  # measured otherwise than in the first run
    best: bool = False

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None


class Results:
    def __init__(self, table: Table, jobs: list[Job]):
        """Of jobs that are finished. Raises RunError, ConfigError."""
        self.table = table
        self.lines = []
        for row in table.rows:
            mine = [job for job in jobs if job.row is row]
            if mine:
                runs = [read_run(job.folder.root) for job in mine]
                self.lines.append(Line(row, mine, Group(runs, row.label)))
        rows, _ = compared([line.group for line in self.lines])
        self.about = {row["name"]: row for row in rows if row["numbers"]}
        self.runs = [run for line in self.lines for run in line.group.runs]
        self.first = next((run for run in self.runs if run.protocol), None)
        self.apart = {line.row.folder: self.all_apart(line) for line in self.lines}

    def all_apart(self, line: Line) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for run in line.group.runs:
            if self.first is not None and run.protocol:
                for family, text in apart(self.first, run):
                    if not (line.row.of and text.startswith("checkpoint")):  # a file, of a run chosen alike
                        found.setdefault(family, []).append(text)
        return found

    def entries(self, numbers: str) -> list[Entry | None]:
        """Of each line; None where it has none of these numbers."""
        found: list[Entry | None] = []
        better = ""
        for line in self.lines:
            name, values = line.find(numbers)
            better = better or (self.about[name]["better"] if name else "")
            odd = self.apart[line.row.folder].keys() & {family_of(name), OF_ALL}
            known = name in line.group.runs[0].metrics  # and no fact of the training
            found.append(Entry(values, known and bool(odd)) if name else None)
        fair = [one.mean for one in found if one and not one.strange and math.isfinite(one.mean)]
        if better and not is_real(numbers) and len(set(fair)) > 1:
            best = max(fair) if better == "higher" else min(fair)
            for one in found:
                if one is not None:
                    one.best = one.mean == best and not one.strange
        return found

    def chance(self, numbers: str) -> str:
        name = next((found for line in self.lines if (found := line.find(numbers)[0])), "")
        return self.about[name]["chance"] if name and not is_real(numbers) else ""


def is_real(numbers: str) -> bool:
    """Whether it is of real images, and so of no system."""
    return numbers.rpartition("/")[2].startswith("real_")


def family_of(number: str) -> str:
    """Of numbers in solvers/evaluation, the family that measures this one."""
    parts = number.split("/")
    if parts[0] == "translation" and parts[1].removeprefix("reference_") in ("l1", "psnr", "ssim", "lpips"):
        return "reconstruction"
    return FAMILIES.get(parts[0], parts[0])


# --- What is not measured alike


def apart(first: Run, other: Run) -> Iterator[tuple[str, str]]:
    """By family in what another run was not measured as the first. What only one of them could measure, as
    a direction or styles that the other has not, is no difference."""
    shared = {*(first.protocol.get("families") or {})} & {*(other.protocol.get("families") or {})}
    mine, theirs = measured(first, shared), measured(other, shared)
    for key in mine.keys() & theirs.keys():
        if mine[key] != theirs[key]:
            family, comma, _ = key.partition(", ")
            pairs = list(leaves(key, value_of(mine[key]), value_of(theirs[key])))
            for name, (a, b) in pairs:
                yield family if comma else OF_ALL, f"{name}: {b}, not {a}"


def value_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def leaves(name: str, mine: Any, theirs: Any) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Where two values differ, among the keys that both have."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in mine:
            if key in theirs:
                yield from leaves(f"{name}, {key}", mine[key], theirs[key])
    elif mine != theirs and "none" not in (mine, theirs):  # styles: none
        yield name, (mine, theirs)
