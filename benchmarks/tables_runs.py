"""The runs of a table: each an ordinary run folder that main.py makes in a process of its own, begun, gone on
with or left as it is, as what lies there says.
"""

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.tables_budget import ROOT, for_minutes, last_error, measure
from benchmarks.tables_declared import Row, Table
from configs.keys import DATASETS
from configs.keys.common import Config
from configs.load import ConfigError, load_config
from dataloader.packed import DataError
from solvers.commands.compare import settings
from solvers.run.cores import usable_cores
from solvers.run.folder import RunError, RunFolder, write_whole
from solvers.run.lock import RunLock

PATIENCE = 60  # seconds that a run's folder may stay in use by a process that is just being stopped
PLAN = "plan.json"  # the budget, the trials, and when and where each run was begun


@dataclass
class Job:
    """One run of a row."""

    row: Row
    seed: int
    words: list[str]  # CONFIG key=value ..., without the folder
    folder: RunFolder

    @property
    def name(self) -> str:
        return self.folder.root.name

    @property
    def config(self) -> Config:
        """Raises ConfigError."""
        return load_config(ROOT / self.words[0], self.words[1:])


class Plan:
    """What must stay the same when a table is gone on with, and what its page tells, in a file."""

    def __init__(self, place: Path, budget: float | None, only_read: bool = False):
        """Raises DataError where the table there has another budget, or has none yet and is `only_read`,
        which takes the budget as it is."""
        self.path, self.only_read = place / PLAN, only_read
        self.said: dict[str, Any] = {"budget": budget, "trials": {}, "begun": {}}
        if self.path.is_file():
            try:
                self.said = json.loads(self.path.read_text())
                before = self.said["budget"]
            except (OSError, ValueError, KeyError, TypeError):
                raise DataError(f"{self.path} is damaged; remove it, or give another --output") from None
            if only_read:
                return
            if before != budget:
                was, now = spelled_budget(before), spelled_budget(budget)
                raise DataError(f"{place} was made {was}, not {now}; give the same, or another --output")
        elif only_read:
            raise DataError(f"no table at {place}")

    @property
    def budget(self) -> float | None:
        return self.said["budget"]

    def seconds(self, row: Row, words: list[str]) -> float:
        """What an iteration takes with these words, measured once. Raises DataError."""
        known = self.said["trials"]
        if (command := shlex.join(words)) not in known:
            if self.only_read:
                raise DataError(f"{row.label} was not timed so; give the options of the runs")
            print(f"{row.label}: how long does an iteration take?", flush=True)
            known[command] = measure(words, self.said["budget"])
            self.write()
        return known[command]

    def begin(self, job: Job) -> None:
        """Note when and where."""
        load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
        now = {"date": f"{datetime.now():%Y-%m-%d}", "machine": machine(), "load": load}
        self.said["begun"].setdefault(job.name, []).append(now)
        self.write()

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, json.dumps(self.said, indent=2) + "\n")


def spelled_budget(minutes: float | None) -> str:
    return "without --budget" if minutes is None else f"with --budget {minutes:g}"


def machine() -> str:
    """The processor, the cores that this process may use, and PyTorch's version."""
    import torch

    from benchmarks.limits import processor

    graphics = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{processor()}, {usable_cores()} cores{graphics}, PyTorch {torch.__version__}"


# --- What there is to run


def base_words(row: Row, data: Path | None, given: list[str]) -> list[str]:
    """CONFIG key=value ... of a row, the same for all seeds."""
    keys = list(row.keys)
    if data is not None:
        keys = [key for key in keys if not key.startswith("path_to_data=")]
        keys.append(f"path_to_data={data.resolve()}")
    return [f"configs/{row.config}.json", *keys, *given]


def jobs_of(
    table: Table, seeds: int, plan: Plan, data: Path | None, given: list[str], place: Path
) -> list[Job]:
    """The runs of a table, all rows' first seeds first. Measures what iterations take where there is a
    budget. Raises DataError for a config that cannot be, and for data that are not there."""
    rows = [row for row in table.rows if row.config]
    words = {row.folder: base_words(row, data, given) for row in rows}
    try:
        configs = {name: load_config(ROOT / said[0], said[1:]) for name, said in words.items()}
        for config in configs.values():
            check_data(config)
        if plan.budget is not None:
            trained = {row.folder: row for row in rows if not row.of}
            schedules = {
                name: for_minutes(configs[name], plan.budget, plan.seconds(row, words[name]))
                for name, row in trained.items()
            }
            words = {row.folder: [*words[row.folder], *schedules[row.of or row.folder]] for row in rows}
        jobs = [
            Job(row, seed, [*words[row.folder], f"seed={seed}"], RunFolder(place / f"{row.folder}_s{seed}"))
            for seed in range(seeds)
            for row in rows
        ]
        for job in jobs:
            check_same(job)
    except ConfigError as error:
        raise DataError(str(error)) from None
    return jobs


def check_data(config: Config) -> None:
    """Whether the data are there, where they are not made on first use. Raises DataError."""
    made_by = DATASETS[config.dataset].made_by
    if not made_by.startswith("itself") and not (ROOT / config.data_folder).is_dir():
        raise DataError(
            f"no {config.dataset} at {config.data_folder}; make it by {made_by}, or give --data FOLDER"
        )


def experiment(config: Config) -> dict[str, str]:
    """What must be the same for a run to be this one."""
    place = json.dumps(str((ROOT / config.data_folder).resolve()))
    found = {**settings(config), "seed": str(config.seed), "path_to_data": place}
    found.pop("differs_from_paper", None)  # follows from the rest
    return found


def check_same(job: Job) -> None:
    """Whether what lies in the run's folder, if anything, is of this very config. Raises DataError,
    ConfigError."""
    if not job.folder.config.is_file():
        return
    wanted, found = experiment(job.config), experiment(load_config(job.folder.config))
    for key, left_open in (("precision", "auto"), ("threads", 0)):  # a run keeps what that came to mean
        if getattr(job.config, key) == left_open:
            found.pop(key, None), wanted.pop(key, None)
    for key in dict.fromkeys([*wanted, *found]):
        if wanted.get(key) != found.get(key):
            what = f"{key} {found.get(key, 'unset')}, not {wanted.get(key, 'unset')}"
            raise DataError(
                f"{job.folder.root} was run with {what}; remove that folder, or give another --output"
            )


def is_finished(job: Job) -> bool:
    """Whether the trained run was tested."""
    tested = tested_at(job.folder)
    last = job.config.training.max_iters
    return tested is not None and (tested == last or job.config.test.select == "best")


def tested_at(folder: RunFolder) -> int | None:
    """Which iteration's results lie there."""
    try:
        return int(json.loads((folder.results / "metrics.json").read_text())["iteration"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


# --- Running


def run_job(job: Job, plan: Plan) -> str:
    """Train and test it, from where it is; why not, where it failed. Raises DataError where the input is
    wrong, SystemExit where a signal stopped it."""
    wait_for(job.folder)
    begun = any(job.folder.models.glob("*-checkpoint.pt"))
    more = ["training.resume_iters=latest"] if begun else []
    if job.row.of:
        trained = RunFolder(job.folder.root.with_name(f"{job.row.of}_s{job.seed}"))
        if (tested := tested_at(trained)) is None:
            return f"{trained.root.name} is not finished"
        checkpoint = trained.models.resolve() / f"{tested:06d}-checkpoint.pt"
        more = ["train=0", f"test.test_path={checkpoint}"]
    print(f"{job.name}: {'goes on' if begun else 'begins'}; its words are in {log_of(job)}", flush=True)
    plan.begin(job)
    began = time.monotonic()
    with log_of(job).open("ab") as log:
        start = log.tell()
        status = main_py([*job.words, f"run_dir={job.folder.root.resolve()}", *more], log)
    said = last_error(log_of(job).read_bytes()[start:].decode(errors="replace"))
    if status == 2:
        raise DataError(f"{job.name}: {said}")
    if status in (130, 143):
        print(f"error: {job.name}: {said}; the same command goes on", file=sys.stderr)
        raise SystemExit(status)
    print(f"{job.name}: {f'status {status}, {said}' if status else 'done'}", end="")
    print(f" after {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return said if status else ""


def log_of(job: Job) -> Path:
    return job.folder.root.with_name(f"{job.name}.log")


def wait_for(folder: RunFolder) -> None:
    """Until no process holds the run, as one does that outlived its table for a moment. Raises DataError."""
    last = time.monotonic() + PATIENCE
    while True:
        try:
            with RunLock(folder.root):
                return
        except RunError as error:
            if time.monotonic() > last:
                raise DataError(str(error)) from None
            time.sleep(0.5)


def main_py(words: list[str], log: Any) -> int:
    """The exit status of main.py with these words. Whatever ends this process before stops it, too, so that
    it saves and lets go of its folder."""
    command = [sys.executable, str(ROOT / "main.py"), *words]
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    parent = os.getpid()

    def die_with_parent() -> None:  # in the child: a SIGTERM to it when its parent is gone
        if libc is not None:
            libc.prctl(1, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(143)

    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches it once, through us
        preexec_fn=die_with_parent,
    )
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise


def as_typed(words: list[str], data: Path | None, program: str = "main.py") -> str:
    """A command as a person types it, on any machine."""
    place = "" if data is None else str(data.resolve())
    shown = ["DATA" if word == place else word for word in words]
    shown = ["path_to_data=DATA" if word == f"path_to_data={place}" else word for word in shown]
    return " ".join(["python", program, *(shlex.quote(word) for word in shown)])
