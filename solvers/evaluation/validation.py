"""Validation while a run trains: a few families of numbers on data that training does not see, and which
checkpoint is the best by one of them."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from configs.keys.common import Config, Test, Training
from dataloader.dataset import Dataset
from dataloader.held_out import Subset
from solvers.evaluation.codes import View
from solvers.evaluation.evaluate import measure
from solvers.evaluation.family import named
from solvers.run.best import Best, best_file, read_best, write_best
from solvers.run.checkpoint import CheckpointError, checkpoint_file
from solvers.run.folder import RunError, RunFolder
from solvers.run.reporter import Reporter
from solvers.visualization.answers import meaning_of

CHEAP = ("retrieval", "reconstruction")
BEST_BY = ("retrieval/shared", "reconstruction/l1")  # the first that there is, where a config names none
MARK = "validation/"  # begins the numbers' names in metrics.jsonl


class Validation:
    """What is measured, and the best so far. The best is that of the rows of metrics.jsonl, the first of
    equals, so that a resumed run knows it, too.

    It measures once when it is made, before training: so what cannot be measured, or be chosen by, is known
    then. Raises RunError."""

    def __init__(self, view: View, training: Training):
        self.training, self.best = training, None
        split = "held-out train" if isinstance(view.dataset, Subset) else "val"
        settings = families_to_validate(view.settings, training)
        self.view = replace(view, settings=settings, say=lambda line: None, split=split)
        numbers, protocol = self._measure()
        self.by, self.names, self.higher = choose_by(training.best_by, numbers, protocol["numbers"])
        self.left_out = protocol["left_out"] if training.validate_ else {}

    @property
    def plan(self) -> str:
        """What will be done, in a line."""
        dataset = self.view.dataset
        what = f"{len(dataset):,} {'pairs' if dataset.paired else 'images'} ({self.view.split})"
        without = "".join(f"; without {name} ({reason})" for name, reason in self.left_out.items())
        every = f"every {self.training.validation_freq} iterations"
        return f"Validation {every} on {what}; best by {self.by}{without}"

    def recall(self, run: RunFolder) -> None:
        """The best of the rows that a run's folder has, as far as its checkpoint is there; best.json says the
        same afterwards."""
        self.best = None
        for row in run.read_metrics():
            if checkpoint_file(run.models, row["iteration"]).exists():
                self._consider(row)
        if self.best is not None:
            write_best(run, self.best)
        else:
            best_file(run.root).unlink(missing_ok=True)

    def look(self, iteration: int, reporter: Reporter) -> bool:
        """Measure and report; whether this iteration is the best so far."""
        numbers = {MARK + name: value for name, value in self._measure()[0].items()}
        new_best = self._consider({"iteration": iteration, **numbers})
        if new_best:
            standing = f"the best so far by {self.by}"
        elif self.best is not None:
            standing = f"best by {self.by}: {self.best.value:.4g} at iteration {self.best.iteration}"
        else:
            standing = f"no best by {self.by} yet"
        reporter.validation(iteration, numbers, standing)
        return new_best

    def _measure(self) -> tuple[dict[str, float], dict[str, Any]]:
        """In eval mode, which is left again, and float32."""
        model = self.view.model
        was_training = model.training
        model.eval()
        try:
            return measure(self.view)
        finally:
            model.train(was_training)

    def _consider(self, row: dict[str, Any]) -> bool:
        values = [row[MARK + name] for name in self.names if MARK + name in row]
        value = sum(values) / len(values) if len(values) == len(self.names) else math.nan
        if not math.isfinite(value):
            return False
        if self.best is not None and (value <= self.best.value if self.higher else value >= self.best.value):
            return False
        self.best = Best(row["iteration"], self.by, value)
        return True


def choose_by(
    wanted: str | None, numbers: dict[str, float], meanings: dict[str, dict[str, Any]]
) -> tuple[str, list[str], bool]:
    """What names the best: a number's name or the beginning of several, these numbers' names, and whether
    higher is better. Raises RunError."""
    for by in BEST_BY if wanted is None else (wanted.rstrip("/"),):
        names = [name for name in numbers if name == by or name.startswith(f"{by}/")]
        ways = {(meaning_of(name, meanings) or {}).get("better", "") for name in names}
        if names and ways in ({"higher"}, {"lower"}):
            return by, names, ways == {"higher"}
        if names and wanted is not None:
            raise RunError(f"training.best_by: {wanted} has no one way that is better; name a single number")
    allowed = ", ".join(numbers) or "none, since training.validate leaves nothing to measure"
    raise RunError(f"training.best_by: got {json.dumps(wanted)}; allowed: {allowed}; or how several begin")


def families_to_validate(settings: Test, training: Training) -> Test:
    """Test mode's settings with the families of training.validate. Raises RunError."""
    names = CHEAP if training.validate_ is None else training.validate_
    named(names, "training.validate")
    return settings.model_copy(update={"metrics": list(names)})


def check_validation(config: Config, dataset: Dataset | None) -> None:
    """Whether validation can do what the config asks for, as far as that is known before there is a model;
    `dataset` is what it looks at, None without validation. Raises RunError."""
    training = config.training
    if dataset is None:
        if config.train and config.test.select == "best":
            raise RunError('test.select: got "best" without validation; set training.validation_freq')
        return
    if training.validation_freq > training.max_iters:
        raise RunError(
            f"training.validation_freq: got {training.validation_freq}; allowed: at most max_iters, "
            f"{training.max_iters}, or 0 for none"
        )
    settings = families_to_validate(config.test, training)
    for family in named(settings.metrics, "training.validate"):
        family.check(settings, dataset)


def trained_on_it(state: dict[str, Any], training: Training) -> bool:
    """Whether a checkpoint's training may have seen what is held out now."""
    config = state.get("config")
    before = config.get("training") if isinstance(config, dict) else None
    before = before if isinstance(before, dict) else {}
    held_out = before.get("validation_freq") and before.get("validation_share")
    return held_out != training.validation_share


def load_tested(
    load: Callable[..., int], where: Path, test: Test, say: Callable[[str], None]
) -> tuple[int, dict[str, Any]]:
    """Load by `Solver.load` what the section test says of `where`, a folder or a file: its iteration, and how
    it was chosen. Where the best is gone or damaged, it is the latest, with a warning. Raises
    CheckpointError."""
    which = test.test_iters
    if test.select == "best" and which == "latest" and where.is_dir():
        best = read_best(where)
        if best is not None:
            try:
                return load(where, best.iteration, training=False), best.choice
            except CheckpointError as error:
                fault = str(error)
        else:
            fault = f"{best_file(where)} is damaged"
        say(f"Warning: the best checkpoint cannot be tested, the latest is instead: {fault}")
    iteration = load(where, which, training=False)
    return iteration, {"chosen": "last" if which == "latest" and where.is_dir() else "as the config says"}
