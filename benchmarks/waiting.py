"""What it costs that OpenMP's threads wait for each other, on an idle machine and beside other work:
python benchmarks/waiting.py [--seconds 10] [--rounds 3] [--json FILE]

Iterations a second of the default run (configs/iiae_digits.json) on two threads, for several ways of
waiting, alone and beside two processes that only count. Every measurement is a process of its own, for
OpenMP reads its environment once; all of a round come before the next, and medians are shown.
`waiting/<way>/alone` is the rate by itself, `busy` beside the others, `share_alone` that of the best rate
alone, `slowdown` alone over busy.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.figures import check_json, parser_of, write_json
from dataloader import DataError
from dataloader.preprocessing import run as run_main
from solvers.run.cores import SPIN, WAITING

ROOT = Path(__file__).resolve().parents[1]
WAYS = {  # of waiting: what the environment says
    "libgomp's own": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    **{f"spin {count}": {"GOMP_SPINCOUNT": str(count)} for count in sorted({100, 1000, SPIN, 100_000})},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
COUNTING = "while True: pass"
WARM = 5  # iterations that are not counted


def main(arguments: list[str]) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the run's config")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        return work(options)
    check_json(options.json)
    if options.rounds < 1 or options.seconds <= 0:
        raise DataError("--rounds: at least 1; --seconds: above 0")
    with tempfile.TemporaryDirectory() as folder:
        rates = measured(options, folder)
    write_json(options.json, told(rates))


def measured(options: argparse.Namespace, folder: str) -> dict[tuple[str, str], list[float]]:
    """Iterations a second of each way, alone and busy, of each round."""
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(options.rounds):
        for way, environment in WAYS.items():
            for beside in ("alone", "busy"):
                others = [
                    subprocess.Popen([sys.executable, "-c", COUNTING])
                    for _ in range(options.threads if beside == "busy" else 0)
                ]
                try:
                    rates.setdefault((way, beside), []).append(rate(options, environment, folder))
                finally:
                    for other in others:
                        other.kill()
                        other.wait()
    return rates


def rate(options: argparse.Namespace, environment: dict[str, str], folder: str) -> float:
    """What a process in this environment prints."""
    clean = {name: value for name, value in os.environ.items() if name not in (*WAITING, "OMP_NUM_THREADS")}
    words = ["--seconds", options.seconds, "--threads", options.threads, "--precision", options.precision]
    words += [word for one in options.set for word in ("--set", one)]
    done = subprocess.run(
        [sys.executable, __file__, *map(str, words), "--work", folder],
        env=clean | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise DataError("a measurement failed; its own words are above")
    return json.loads(done.stdout.splitlines()[-1])


def work(options: argparse.Namespace) -> None:
    """Train for a while; print iterations a second."""
    from configs.load import load_config
    from dataloader.loader import TrainLoader
    from solvers import make_solver

    threads = 1 if os.environ.get("OMP_NUM_THREADS") == "1" else options.threads
    given = [f"path_to_data={options.work}/digits", f"threads={threads}", f"precision={options.precision}"]
    config = load_config(ROOT / "configs/iiae_digits.json", ["device=cpu", *given, *options.set])
    solver = make_solver(config)
    loader = TrainLoader(solver.train_set, config.training.batch_size, 0, solver.device)
    done = 0
    for iteration, raw in loader.iterate(0, config.training.max_iters):
        solver.set_time(iteration)
        solver.one_iteration(loader.batch(raw), iteration)
        if iteration <= WARM:
            began = time.perf_counter()
        elif time.perf_counter() - began > options.seconds:
            done = iteration - WARM
            break
    print(json.dumps(max(1, done) / (time.perf_counter() - began)))


def told(rates: dict[tuple[str, str], list[float]]) -> dict[str, float]:
    """Print the table; its figures under flat keys."""
    found = {key: median(values) for key, values in rates.items()}
    best = max(value for (_, beside), value in found.items() if beside == "alone")
    figures = {}
    print("| waiting | alone, iterations/s | of the best | beside two busy loops | alone / busy |")
    print("| --- | --- | --- | --- | --- |")
    for way in WAYS:
        alone, busy = found[way, "alone"], found[way, "busy"]
        print(f"| {way} | {alone:.3g} | {alone / best:.0%} | {busy:.3g} | {alone / busy:.2f} |")
        name = way.replace(" ", "_").replace("'", "")
        figures[f"waiting/{name}/alone"], figures[f"waiting/{name}/busy"] = alone, busy
        figures[f"waiting/{name}/share_alone"] = alone / best
        figures[f"waiting/{name}/slowdown"] = alone / busy
    return figures


if __name__ == "__main__":
    sys.exit(run_main(main))
