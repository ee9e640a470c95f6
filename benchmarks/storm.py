"""Runs killed again and again end as the run that nobody disturbed:
python benchmarks/storm.py [--kills 34] [--seed 0] [--configs NAME ...] [--json FILE]

For each config, shrunk to a run of a few seconds on data that need no download: it runs once from beginning
to end, test mode included; then it is started, killed by SIGKILL, started again with
training.resume_iters=latest, killed again, and so on. A kill waits until the run does some work that is drawn
(starting, training, saving, drawing, testing), then for a short random time. Whenever a run comes to its end,
its last checkpoint, its numbers and its pictures are compared with those of the first, bit for bit, and the
next run begins. In the last line is how many kills fell into which work. `storm/<config>/kills`, `/ends`,
`/unequal`.

Ends with status 1 where anything differs.
"""

import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from ctypes import c_int
from functools import wraps
from pathlib import Path
from typing import Any

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

import main as program
from benchmarks.figures import check_json, parser_of, write_json
from dataloader import DataError
from dataloader.preprocessing import run as run_main
from solvers.run.checkpoint import load_checkpoint
from solvers.solver import Solver

ROOT = Path(__file__).resolve().parents[1]
WORK = ("starting", "training", "saving", "drawing", "testing")
METHODS = {"train_from": 1, "save": 2, "save_samples": 3, "evaluate": 4}  # Solver's, and its work
LAST = 24
SMALL = ["device=cpu", "threads=1", "precision=fp32", f"training.max_iters={LAST}", "training.batch_size=8"]
SMALL += ["training.print_freq=2", "training.sample_freq=4", "training.model_save_freq=3"]
SMALL += ['test.metrics=["reconstruction","sharpness"]']
CONFIGS = {  # what makes a run of each small
    "iiae_digits": ["network.base_width=8"],
    "drit_modes": ["dataset=Colour-Modes", "network.base_width=4", "network.dis_width=4"],
    "stargan_digits": ["network.base_width=4", "network.dis_width=4", "training.n_critic=2"],
}
ENOUGH = 300  # seconds that any one start may take
SOON = {"saving": 0.005, "drawing": 0.1}  # seconds within which a kill comes after such work began
LATER = 0.5  # the same of other work


def main(arguments: list[str]) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--kills", type=int, default=34, help="of each config")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    options = parser.parse_args(arguments)
    check_json(options.json)
    if options.kills < 1:
        raise DataError("--kills: at least 1")
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.configs:
            figures |= Storm(name, Path(folder) / name, options.seed).blow(options.kills)
    write_json(options.json, figures)
    if any(value for key, value in figures.items() if key.endswith("/unequal")):
        raise SystemExit(1)


class Storm:
    """What is done to one config; everything is made in `folder`."""

    def __init__(self, name: str, folder: Path, seed: int):
        folder.mkdir()
        self.name, self.folder, self.draw = name, folder, random.Random(f"{name} {seed}")
        self.work = multiprocessing.Value(c_int, 0, lock=False)
        self.kills: Counter[str] = Counter()

    def blow(self, kills: int) -> dict[str, float]:
        """Kill so often; the figures."""
        whole = self.folder / "whole"
        self.to_its_end(whole)
        wanted, unequal, number = result_of(whole), 0, 0
        while True:
            run, enough = self.folder / f"run{number}", self.kills.total() >= kills
            if not enough and self.killed(run, self.draw.choice(WORK)):
                continue
            if enough:
                self.to_its_end(run)
            number += 1
            if differing := differences(wanted, result_of(run)):
                print(f"{self.name}, run {number}: differs in {', '.join(differing)}", flush=True)
                unequal += 1
            if enough:
                break
        where = ", ".join(f"{self.kills[work]} {work}" for work in WORK)
        print(f"{self.name}: {kills} kills ({where}); {number} runs to their end, {unequal} of them unequal")
        return {
            f"storm/{self.name}/{key}": float(value)
            for key, value in (("kills", kills), ("ends", number), ("unequal", unequal))
        }

    def to_its_end(self, run: Path) -> None:
        if self.killed(run, None):
            raise DataError(f"{self.name}: not at its end after {ENOUGH} s")

    def killed(self, run: Path, at: str | None) -> bool:
        """Start it, or start it again, in a process of its own, and kill that when it is at this work. False:
        it was at its end before. DataError where it ended otherwise."""
        log = self.folder / f"{run.name}.txt"
        process = multiprocessing.get_context("fork").Process(target=self.start, args=(run, log))
        self.work.value, deadline = 0, time.monotonic() + ENOUGH
        process.start()
        while process.is_alive() and time.monotonic() < deadline and WORK[self.work.value] != at:
            time.sleep(0.001)
        if at is not None:
            process.join(self.draw.uniform(0, SOON.get(at, LATER)))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        if process.exitcode == -signal.SIGKILL:
            self.kills[WORK[self.work.value]] += 1
            return True
        if process.exitcode:
            raise DataError(f"{self.name} ended with status {process.exitcode}: {log.read_text()[-400:]}")
        return False

    def start(self, run: Path, log: Path) -> None:
        """In a child: the program, its output in `log`, and in `work` what it is at."""
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        for method, number in METHODS.items():
            setattr(Solver, method, self.told(getattr(Solver, method), number))
        begun = any((run / "models").glob("*-checkpoint.pt"))
        words = [*SMALL, *CONFIGS[self.name], f"path_to_data={self.folder / 'data'}", f"run_dir={run}"]
        if begun:
            words.append("training.resume_iters=latest")
        status = program.main([str(ROOT / f"configs/{self.name}.json"), *words])
        sys.stdout.flush()
        os._exit(status)

    def told(self, method: Callable[..., Any], number: int) -> Callable[..., Any]:
        @wraps(method)
        def work(*given: Any, **named: Any) -> Any:
            before, self.work.value = self.work.value, number
            try:
                return method(*given, **named)
            finally:
                self.work.value = before

        return work


def result_of(run: Path) -> dict[str, Any]:
    """By name: the last checkpoint, the numbers, the bytes of every picture."""
    state = load_checkpoint(run / f"models/{LAST:06d}-checkpoint.pt")
    found: dict[str, Any] = {f"checkpoint/{key}": state[key] for key in ("iters", "networks", "optimizers")}
    found["numbers"] = json.loads((run / "results/metrics.json").read_text())
    found["numbers"].pop("protocol")
    for path in sorted(run.rglob("*")):
        if path.suffix in (".png", ".gif", ".jpg"):
            found[str(path.relative_to(run))] = path.read_bytes()
    return found


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """The names under which two results differ or of which only one has something."""
    return sorted(name for name in {*a, *b} if name not in a or name not in b or not same(a[name], b[name]))


def same(a: Any, b: Any) -> bool:
    """Bit for bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


if __name__ == "__main__":
    sys.exit(run_main(main))
