"""Equal time for every row of a table: what an iteration of a config takes here, and the config's schedule
for so many minutes. As a script, `python benchmarks/tables_budget.py SECONDS CONFIG.json [key=value ...]`, it
trains for about so long and prints seconds an iteration; nothing is written but what data sets make on first
use.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.keys.common import Config
from configs.load import ConfigError, load_config
from dataloader.packed import DataError
from dataloader.preprocessing import run as run_main

ROOT = Path(__file__).resolve().parents[1]
LENGTHS = (  # keys of training that are iterations, or lists of such
    *("milestones", "inter_exact_iters", "anneal_iters", "inter_anneal_iters", "mixture_start"),
    "validation_freq",
)
COUNTS = {
    "print_freq": 50,
    "sample_freq": 1,
    "model_save_freq": 10,
}  # how often in a run: grids take time, too
RATES = ("decay_temp_rate",)  # per epoch: the fewer epochs, the faster
WARM = 5  # iterations that are not timed
CYCLE = 6  # timed in multiples of this: some train discriminators alone in one of two or three iterations
TRIAL, SHORTEST, LONGEST = 0.03, 3.0, 30.0  # seconds of a trial: this share of a run's, between these


def for_minutes(config: Config, minutes: float, seconds: float) -> list[str]:
    """The key=value words that make this config train for so many minutes at so many seconds an iteration:
    max_iters, and whatever is a point or a length of time in training in proportion. What is 0 stays 0, and
    what is not becomes no 0. Grids are drawn at the end alone."""
    total = max(1, round(60 * minutes / seconds))
    share = total / config.training.max_iters
    words = [f"training.max_iters={total}"]
    words += [f"training.{key}={max(1, total // count)}" for key, count in COUNTS.items()]
    for key in (*LENGTHS, *RATES):
        value = getattr(config.training, key, None)
        if value:  # neither there without a value nor 0 nor []
            words.append(f"training.{key}={json.dumps(scaled(value, 1 / share if key in RATES else share))}")
    return words


def scaled(value: float | list[int], share: float) -> float | list[int]:
    """Whole numbers stay whole."""
    if isinstance(value, list):
        return [max(1, round(one * share)) if one else 0 for one in value]
    return max(1, round(value * share)) if isinstance(value, int) else float(f"{value * share:.6g}")


def measure(words: list[str], minutes: float) -> float:
    """Seconds an iteration of this config takes, in a process of its own. Raises DataError."""
    length = min(LONGEST, max(SHORTEST, TRIAL * 60 * minutes))
    command = [sys.executable, str(Path(__file__).resolve()), str(length), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise DataError(f"trial of {words[0]}: {last_error(done.stderr)}")
    return json.loads(done.stdout.splitlines()[-1])


def last_error(text: str) -> str:
    """What a program said last of what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it said nothing"])[-1]


def main(words: list[str]) -> None:
    """Train for a while without a run folder. On one thread of a CPU the processor's time counts where that
    is less than the clock's, as it is beside other jobs; iterations are then for an idle machine."""
    import torch

    from dataloader.loader import TrainLoader
    from solvers import RUN_ERRORS, USER_ERRORS, make_solver

    try:
        solver = make_solver(load_config(words[1], [*words[2:], "train=1"]))
        solver.check_batch()
        workers, batch = solver.config.workers, solver.training.batch_size
        loader = TrainLoader(solver.train_set, batch, solver.config.seed, solver.device, workers=workers)
        alone = solver.device.type == "cpu" and torch.get_num_threads() == 1
        began, timed = (), 0
        for iteration, raw in loader.iterate(0, 10**6):
            solver.set_time(iteration)
            losses = solver.one_iteration(loader.batch(raw), iteration)
            timed = iteration - WARM
            if timed >= 0 and timed % CYCLE == 0:
                sum(loss.item() for loss in losses.values())  # on a GPU this waits for it
                now = (time.perf_counter(), time.process_time())
                began = began or now
                clock, processor = (b - a for a, b in zip(began, now))
                if clock > float(words[0]):
                    break
    except (ConfigError, *USER_ERRORS, *RUN_ERRORS) as error:
        raise DataError(str(error)) from None
    print(json.dumps((min(clock, processor) if alone else clock) / timed))


if __name__ == "__main__":
    sys.exit(run_main(main))
