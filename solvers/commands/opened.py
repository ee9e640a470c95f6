"""A finished run, or what `export` made of one, opened for use: config, model and checkpoint, without the
data that it learned from."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from configs.keys.common import Config, Test
from configs.load import load_config, validate
from dataloader.dataset import Dataset, Facts, facts_of
from models.translator import Translator
from solvers import make_solver, solver_class
from solvers.evaluation.validation import load_tested
from solvers.run.checkpoint import load_first
from solvers.run.folder import RunError
from solvers.solver import Solver

WEIGHTS, ABOUT = "model.safetensors", "export.json"  # of an exported folder, beside config.json


@dataclass
class Opened:
    """`model` is in eval mode on `device`; `choice` says how its iteration was chosen."""

    where: Path
    config: Config
    model: Translator
    facts: dict[str, Any]
    iteration: int
    choice: dict[str, Any]
    device: torch.device

    @property
    def domains(self) -> tuple[str, ...]:
        return self.model.domains


def open_run(where: Path, which: int | str | None = None, device: str | None = None) -> Opened:
    """What stands at `where`: a run folder, one of its .pt files, or an exported folder. `which` is an
    iteration, "latest" or "best"; None: as the config's section test says. Raises RunError, CheckpointError,
    ConfigError, DataError."""
    if (where / ABOUT).is_file():
        return open_export(where, device)
    if where.is_file():
        state = first_state(where, "latest")
        config = validate(as_written(state.get("config") or {}), f"{where}: the config in it")
    elif (where / "config.json").is_file():
        state = first_state(where, which if isinstance(which, int) else "latest")
        config = load_config(where / "config.json")
    else:
        what = "has no config.json" if where.is_dir() else "does not exist"
        raise RunError(f"{where} {what}; give a run's folder, or one that `export` made")
    solver = bare_solver(config, state.get("facts"), device)
    select = "best" if which == "best" else "last" if which is not None else config.test.select
    test = Test(test_iters=which if isinstance(which, int) else "latest", select=select)
    iteration, choice = load_tested(solver.load, where, test, solver.reporter.say)
    return opened(where, config, solver, iteration, choice)


def as_written(values: dict[str, Any]) -> dict[str, Any]:
    """The config that a checkpoint holds as a file would have it: by the keys' own names, without nulls."""
    return {
        key.removesuffix("_"): as_written(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }


def open_export(where: Path, device: str | None) -> Opened:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = load_config(where / "config.json")
    try:
        about = json.loads((where / ABOUT).read_text())
        solver = bare_solver(config, about["facts"], device)
        solver.tested_model.load_state_dict(load_file(where / WEIGHTS))
        return opened(where, config, solver, int(about["iteration"]), {"chosen": about["chosen"]})
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{where} is damaged ({error}); export it again") from None
    except RuntimeError as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"{where / WEIGHTS} does not fit {where / 'config.json'}; export it again") from None


def opened(where: Path, config: Config, solver: Solver, iteration: int, choice: dict[str, Any]) -> Opened:
    solver.tested_model.eval()
    facts = facts_of(solver.test_set)
    return Opened(where, config, solver.tested_model, facts, iteration, choice, solver.device)


def first_state(where: Path, which: int | str) -> dict[str, Any]:
    """The first checkpoint that can be read. Raises CheckpointError."""
    return load_first(where, which, lambda state: state, lambda line: None)[1]


def bare_solver(config: Config, facts: dict[str, Any] | None, device: str | None) -> Solver:
    """The solver with its networks built by these facts, without the data; with the data's test split where a
    checkpoint of an older version holds no facts."""
    changes: dict[str, Any] = {"train": 0, "test": Test(metrics=[]), "compile": False}
    changes["precision"] = "fp32"
    if device is not None:
        values = config.model_dump(mode="json", by_alias=True, exclude_none=True)
        changes["device"] = validate({**values, "device": device}, "--device").device
    bare = config.model_copy(update=changes)
    if facts is None:
        return make_solver(bare)
    stand_in = Facts(facts, config.size)

    class Bare(solver_class(type(config))):
        def open_split(self, split: str) -> Dataset:
            return stand_in

    return Bare(bare)
