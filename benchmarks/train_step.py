"""How long a training iteration takes: python benchmarks/train_step.py [--models iiae,drit] [--json FILE]

Every model at its published size and widths, against the same iteration written plainly, in float32 and in
the order of its authors' code (benchmarks/plain). Rounds of all rows take turns; medians are compared. The
machine's own limit is measured in the same run, before and after (benchmarks/limits.py).

`step/<model>_<size>/ratio` is plain over ours, `share_of_limit` our operations a second as a share of the
limit in the precision that ours ran in, `gflop` the operations of an iteration in convolutions and products.
With --steps, every step between plain and ours is a row too. On a GPU `plain_memory`, `ours_memory` ... are
MiB at the peak. A row that fails is one line, and the rest goes on; the exit status is then 1.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import limits, plain
from benchmarks.figures import check_json, parser_of, write_json
from benchmarks.noise import CASES, Case, make_solver, noise_batch
from dataloader import DataError
from dataloader.dataset import Batch
from dataloader.preprocessing import run as run_main
from solvers.run import distributed
from solvers.run.setup import pick_device
from solvers.solver import Solver

FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, OSError)


class Row(NamedTuple):
    """One way to run an iteration. `layout` None: as the program lays tensors out."""

    name: str
    precision: str
    layout: torch.memory_format | None = None
    compile: bool = False
    plain: bool = False


PLAIN = Row("plain", "fp32", torch.contiguous_format, plain=True)
STEPS = (
    Row("fp32", "fp32", torch.contiguous_format),
    Row("bf16", "bf16", torch.contiguous_format),
    Row("bf16_channels_last", "bf16", torch.channels_last),
    Row("bf16_channels_last_compile", "bf16", torch.channels_last, compile=True),
)


class Runner:
    """One row, ready to run: its solver, a batch, and what it holds of a GPU's memory."""

    def __init__(self, row: Row, case: Case, width: int | None, device: torch.device):
        self.row, self.device, self.iteration, self.peak = row, device, 0, 0
        self.before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        options = {"device": str(device), "precision": row.precision, "compile": row.compile}
        self.solver = make_solver(case, width, **options)
        if row.plain:
            plain.make_plain(self.solver)
        elif row.layout is not None:
            for network in self.solver.networks.values():
                network.to(memory_format=row.layout)
        batch = noise_batch(self.solver, case.batch_size)
        images = batch.images
        if row.layout is not None:
            images = tuple(x.contiguous(memory_format=row.layout) for x in images)
        self.batch = Batch(images, batch.labels)
        self.step = plain.step_of(case.model) if row.plain else None

    def __call__(self) -> None:
        """One iteration, waited for."""
        self.iteration += 1
        self.solver.set_time(self.iteration)
        if self.step is None:
            self.solver.train_step(self.batch, self.iteration)
        else:
            with limits.fastest_cudnn():
                self.step(self.solver, self.batch)
        limits.wait(self.device)

    def warm_up(self, rounds: int) -> None:
        """Run, and see how much memory it takes at the peak, in MiB."""
        for _ in range(rounds):
            self()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self()
            self.peak = (torch.cuda.max_memory_allocated(self.device) - self.before) / 2**20

    def count(self) -> float:
        """10^9 operations of one iteration, in convolutions and products; it runs, and is not compiled."""
        eager = torch.compiler.set_stance("force_eager") if self.row.compile else nullcontext()
        with eager, limits.Operations() as counter:
            self()
        return counter.total / 1e9


def precision_of(solver: Solver) -> str:
    return {torch.bfloat16: "bf16", torch.float32: "fp32"}[solver.precision]


def compare(
    case: Case,
    rows: Sequence[Row],
    rounds: int,
    device: torch.device,
    width: int | None,
    clock: Callable[[], float],
) -> tuple[dict[str, float | str], dict[str, str]]:
    """Median seconds of `rounds` iterations of each row by `clock`, after some that are not counted; of the
    row "ours" the operations and the precision too. And by row the errors of those that failed."""
    gpu = device.type == "cuda"
    found: dict[str, float | str] = {}
    failed: dict[str, str] = {}
    runners: dict[str, Runner] = {}
    for row in rows:
        with told_in(failed, row.name):
            runner = Runner(row, case, width, device)
            if row.name == "ours":
                found["gflop"], found["precision"] = runner.count(), precision_of(runner.solver)
            runner.warm_up(3 if gpu or row.compile else 1)
            runners[row.name] = runner
            if gpu:
                found[f"{row.name}_memory"] = runner.peak
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name in [name for name in runners if name not in failed]:
            with told_in(failed, name):
                start = clock()
                runners[name]()
                seconds[name].append(clock() - start)
    found |= {name: median(seconds[name]) for name in runners if name not in failed}
    if {"plain", "ours"} <= found.keys():
        found["ratio"] = found["plain"] / found["ours"]
    return found, failed


@contextmanager
def told_in(failed: dict[str, str], name: str) -> Iterator[None]:
    """What fails in here is kept as one line in `failed`, so that the figures of others are not lost."""
    try:
        yield
    except FAILURES as error:
        failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"


def gathered(results: dict[str, dict[str, float | str]], best: dict[str, limits.Limit]) -> dict[str, float]:
    """All figures under flat keys, with each model's share of the limit of its precision."""
    figures = {f"machine/limit_{precision}": limit.gflops for precision, limit in best.items()}
    for step, found in results.items():
        numbers = {key: value for key, value in found.items() if key != "precision"}
        if "ours" in found:
            limit = best[found["precision"]].gflops
            numbers["share_of_limit"] = found["gflop"] / (found["ours"] * limit)
        figures |= {f"step/{step}/{key}": value for key, value in numbers.items()}
    return figures


def table(results: dict[str, dict[str, float | str]], figures: dict[str, float], rows: Sequence[Row]) -> str:
    """The figures of all models as Markdown: seconds of each row, and how many times as fast as plain it
    is."""
    times = [f"{row.name}, s" for row in rows]
    lines = [["model", *times, "in", "GFLOP", "of the limit", "memory, MiB: plain, ours"]]
    lines.append(["---"] * len(lines[0]))
    for step, of in results.items():
        cells = [step]
        for row in rows:
            cells.append(f"{of[row.name]:.4g}" if row.name in of else "failed")
            if row.name in of and "plain" in of and not row.plain:
                cells[-1] += f" ({of['plain'] / of[row.name]:.2f} x)"
        share = figures.get(f"step/{step}/share_of_limit")
        cells += [str(of.get("precision", "-")), f"{of['gflop']:,.1f}" if "gflop" in of else "-"]
        cells.append("-" if share is None else f"{share:.0%}")
        memory = [f"{of[key]:,.0f}" for key in ("plain_memory", "ours_memory") if key in of]
        lines.append([*cells, ", ".join(memory) or "-"])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def chosen(text: str) -> list[str]:
    """The names of models in `text`, between commas; nothing means all. Raises DataError."""
    names = text.split(",") if text else list(CASES)
    for name in names:
        if name not in CASES:
            raise DataError(f"--models: no {name}; there are {', '.join(CASES)}")
    return names


def steps_of(text: str | None) -> list[Row]:
    """The rows between plain and ours of these names, between commas. Raises DataError."""
    if text is None:
        return []
    names, known = text.split(","), {row.name: row for row in STEPS}
    if text and (wrong := [name for name in names if name not in known]):
        raise DataError(f"--steps: no {wrong[0]}; there are {', '.join(known)}")
    return [known[name] for name in names] if text else list(STEPS)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--models", default="", metavar="A,B", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--rounds", type=int, help="that are counted; default: 5, on a GPU 20")
    parser.add_argument("--resolution", type=int, help="in place of the published one")
    parser.add_argument("--batch-size", type=int, help="in place of the published one")
    parser.add_argument("--width", type=int, help="in place of the published widths; for a quick look")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of ours")
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile")
    steps = ", ".join(row.name for row in STEPS)
    parser.add_argument(
        "--steps",
        nargs="?",
        const="",
        metavar="A,B",
        help=f"rows between plain and ours; default all: {steps}",
    )
    parser.add_argument(
        "--cpu-time", action="store_true", help="CPU seconds of the process, where other jobs run beside it"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    check_json(options.json)
    names, steps = chosen(options.models), steps_of(options.steps)
    device = pick_device(options.device)
    rounds = options.rounds if options.rounds is not None else 20 if device.type == "cuda" else 5
    if rounds < 1:
        raise DataError("--rounds: at least 1")
    clock = time.process_time if options.cpu_time else time.perf_counter
    rows = (PLAIN, *steps, Row("ours", options.precision, compile=options.compile))
    given = {"resolution": options.resolution, "batch_size": options.batch_size}
    given = {key: value for key, value in given.items() if value}
    print(limits.header(device, arguments), flush=True)
    best = limits.measured(device, clock)
    results: dict[str, dict[str, float | str]] = {}
    any_failed = False
    for name in names:
        case = CASES[name]._replace(**given)
        step = f"{name}_{case.resolution}"
        results[step], failed = compare(case, rows, rounds, device, options.width, clock)
        any_failed |= bool(failed)
        for row, error in failed.items():
            print(f"{step}: {row} failed: {error}", flush=True)
        print(f"{step}:", ", ".join(described(results[step])), flush=True)
        write_json(options.json, gathered(results, best))  # what there is, should the next one never end
        tidy_up(device)
    again = limits.measured(device, clock)
    best = {precision: max(limit, again[precision]) for precision, limit in best.items()}
    figures = gathered(results, best)
    write_json(options.json, figures)
    for key, value in figures.items():
        print(f"{key:<50} {value:.4g}")
    print("", table(results, figures, rows), "", sep="\n")
    for precision, limit in best.items():
        print(f"Limit in {precision}: {limit.gflops:,.0f} GFLOP/s, by a {limit.by}.")
    distributed.stop()
    if any_failed:
        raise SystemExit(1)


def described(found: dict[str, float | str]) -> list[str]:
    return [
        f"{key} {value if isinstance(value, str) else format(value, '.4g')}" for key, value in found.items()
    ]


def tidy_up(device: torch.device) -> None:
    """Before the next model: nothing of this one stays on the GPU or compiled."""
    gc.collect()
    torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(run_main(main))
