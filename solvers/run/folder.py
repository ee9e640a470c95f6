"""A run's folder: where everything that one run writes goes, and how a run is found again."""

import json
import re
import shlex
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from configs.keys.common import Config
from solvers.run.shortage import whole


class RunError(RuntimeError):
    """A run folder that cannot be used as asked; the message is one line that says what to do."""


class RunFolder:
    """The paths of one run. Nothing is made before `create`."""

    def __init__(self, root: Path):
        self.root = root
        self.logs, self.samples = root / "logs", root / "samples"
        self.models, self.results = root / "models", root / "results"
        self.metrics = self.logs / "metrics.jsonl"
        self.config = root / "config.json"
        self.begun = False  # whether an iteration of training was finished

    def create(self, config: Config, versions: dict[str, str]) -> None:
        """Make the folders and write the whole config beside the versions that run it. Raises RunError."""
        try:
            for folder in (self.logs, self.samples, self.models, self.results):
                folder.mkdir(parents=True, exist_ok=True)
            values = config.model_dump(mode="json", by_alias=True, exclude_none=True)
            values |= {"versions": versions, "differs_from_paper": config.differences()}
            write_whole(self.config, json.dumps(values, indent=2) + "\n")
        except OSError as error:
            raise RunError(
                f"cannot write to {self.root}: {error.strerror}; set output_dir or run_dir elsewhere"
            ) from None

    @property
    def word(self) -> str:
        """The word that names this folder on the command line, as a shell reads it."""
        return shlex.quote(f"run_dir={self.root}")

    def check_results(self) -> None:
        """Whether test mode can write here, as it may not in somebody else's run. Raises RunError."""
        probe = self.results / ".probe"
        try:
            self.results.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise RunError(
                f"cannot write to {self.results}: {error.strerror}; give test.test_path a .pt file of it: "
                "results then go to a folder of their own in output_dir"
            ) from None

    def remove(self) -> None:
        """Remove what `create` made, and what has come into its folders."""
        for folder in (self.logs, self.samples, self.models, self.results):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.config, self.root / f".{self.config.name}.part"):
            file.unlink(missing_ok=True)

    def sample_folder(self, iteration: int) -> Path:
        folder = self.samples / f"{iteration:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def append_metrics(self, row: dict[str, Any]) -> None:
        with self.metrics.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl: an iteration and numbers by name. A line that a killed run left
        unfinished, or that is damaged, is passed over."""
        if not self.metrics.exists():
            return []
        rows = map(parsed, self.metrics.read_bytes().splitlines())
        return [row for row in rows if type(row.get("iteration")) is int and all(map(number, row.values()))]

    def forget_after(self, iteration: int) -> None:
        """Drop the rows of metrics.jsonl that a resumed run will write again."""
        rows = [row for row in self.read_metrics() if row["iteration"] <= iteration]
        if self.metrics.exists():
            write_whole(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))


def parsed(text: bytes) -> dict[str, Any]:
    """A JSON object; an empty one where the text is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def write_whole(path: Path, text: str) -> None:
    """Write `text` so that `path` is either as before or complete. Raises Shortage."""
    with whole(path, path.with_name(f".{path.name}.part"), len(text)) as part:
        part.write_text(text, encoding="utf-8")


def new_run(config: Config) -> RunFolder:
    """The folder of a run that starts anew. Raises RunError where `run_dir` already holds one."""
    if config.run_dir is not None:
        folder = RunFolder(Path(config.run_dir))
        if folder.root.exists() and not folder.root.is_dir():
            raise RunError(f"run_dir {folder.root} is a file; give a folder")
        if any(folder.models.glob("*-checkpoint.pt")):
            raise RunError(
                f"run_dir {folder.root} already holds a trained run; "
                "go on with training.resume_iters=latest or give another run_dir"
            )
        return folder
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{config.id}"
    roots = (Path(config.output_dir) / (name if n == 1 else f"{name}-{n}") for n in range(1, 1000))
    return RunFolder(next(root for root in roots if not root.exists()))


def find_run(config: Config) -> RunFolder | None:
    """The run that this config means when it names no other: `run_dir`, or the newest of this id in
    `output_dir` that has a checkpoint; None if there is none."""
    if config.run_dir is not None:
        return RunFolder(Path(config.run_dir)) if Path(config.run_dir).is_dir() else None
    stamp = re.compile(r"(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)_" + re.escape(config.id) + r"(?:-(\d+))?")
    found = [
        (match[1], int(match[2] or 1), path)
        for path in Path(config.output_dir).glob("*")
        if (match := stamp.fullmatch(path.name))
    ]
    runs = [RunFolder(path) for *_, path in sorted(found, reverse=True)]
    return next((run for run in runs if any(run.models.glob("*-checkpoint.pt"))), None)
