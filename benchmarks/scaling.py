"""Images a second and memory by batch and resolution, with one process and with two:
python benchmarks/scaling.py [--models iiae,drit] [--json FILE] [--plot FILE.png]

Of paired data an image is a pair; a batch is that of all processes together. Each resolution runs in
processes of its own, batches from small to large. Memory is the peak of one process: of its tensors on a GPU,
resident on a CPU. Where memory does not suffice the point is marked, and the next one is tried.

`scaling/<model>_<size>/batch_<n>/processes_<p>/images_per_second` and `/memory_mib`; of a marked point
`/failed` is 1.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import limits
from benchmarks.figures import check_json, parser_of, write_json
from benchmarks.noise import CASES, make_solver, noise_batch
from benchmarks.train_step import chosen
from dataloader import DataError
from dataloader.preprocessing import run as run_main
from solvers.run import distributed
from solvers.run.setup import pick_device

FULL = ("out of memory", "can't allocate memory", "not enough memory")


class Line(NamedTuple):
    """The points of one model at one resolution, with so many processes."""

    model: str
    resolution: int
    processes: int


def work(line: Line, batches: list[int], options: argparse.Namespace) -> None:
    """In a process of its own: measure these batches, and print a line of JSON for each."""
    for batch in batches:
        found: dict[str, Any] = {"batch": batch}
        try:
            found |= point(line, batch, options)
        except (RuntimeError, ValueError) as error:
            text = " ".join(str(error).split())
            full = any(word in text.lower() for word in FULL)
            found["failed"] = "out of memory" if full else f"{type(error).__name__}: {text[:200]}"
        if distributed.rank() == 0:
            print(json.dumps(found), flush=True)
        if "failed" in found and line.processes > 1:
            break  # the others may wait in a reduction for ever: begin anew with the next batch
    distributed.stop()


def point(line: Line, batch: int, options: argparse.Namespace) -> dict[str, float]:
    case = CASES[line.model]._replace(resolution=line.resolution, batch_size=batch)
    threads = max(1, options.threads // line.processes)
    config = {"device": options.device, "precision": options.precision, "compile": options.compile}
    solver = make_solver(case, options.width, threads=threads, **config)
    share = batch // line.processes
    if batch % line.processes or share < solver.least_share:
        raise ValueError(f"{solver.least_share} images or more for each process")
    data, gpu = noise_batch(solver, share), solver.device.type == "cuda"
    if gpu:
        torch.cuda.reset_peak_memory_stats(solver.device)
    seconds = []
    for iteration in range(1, options.rounds + (4 if gpu or options.compile else 2)):
        distributed.barrier()
        start = time.perf_counter()
        solver.set_time(iteration)
        solver.train_step(data, iteration)
        limits.wait(solver.device)
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated(solver.device) if gpu else 1024 * peak_resident()
    return {"images_per_second": batch / median(seconds[-options.rounds :]), "memory_mib": peak / 2**20}


def peak_resident() -> int:
    """The most memory that this process held, in KiB. What getrusage says counts the process that started it
    too, so it is asked only where there is no /proc."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measured(line: Line, options: argparse.Namespace) -> dict[int, dict[str, Any]]:
    """By batch what was found. A process that ends before its time marks the batch that it was at."""
    left, found = list(options.batches), {}
    while left:
        for text in launched(line, left, options):
            seen = json.loads(text)
            found[seen.pop("batch")] = seen
        rest = [batch for batch in left if batch not in found]
        if len(rest) == len(left):
            found[rest.pop(0)] = {"failed": "the process ended: probably out of memory"}
        left = rest
    return found


def launched(line: Line, batches: list[int], options: argparse.Namespace) -> list[str]:
    """What such processes print."""
    script = [str(Path(__file__).resolve()), "--work", json.dumps([*line, batches])]
    for name in ("device", "precision", "rounds", "threads", "width"):
        if (value := getattr(options, name)) is not None:
            script += [f"--{name}", str(value)]
    script += ["--compile"] if options.compile else []
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={line.processes}"]
    environment = {"OMP_NUM_THREADS": str(max(1, options.threads // line.processes))}
    done = subprocess.run(
        [sys.executable, *(start if line.processes > 1 else []), *script],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=None if options.verbose else subprocess.DEVNULL,
        text=True,
    )
    return [text for text in done.stdout.splitlines() if text.startswith("{")]


def numbers(text: str) -> list[int]:
    """Whole numbers above 0, between commas, from small to large."""
    found = sorted(set(map(int, text.split(","))))
    if found[0] < 1:
        raise ValueError(text)
    return found


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="draw the figures there")
    parser.add_argument("--models", default="iiae", metavar="A,B", help=f"of {', '.join(CASES)}")
    parser.add_argument("--resolutions", type=numbers, default=[32, 64, 128, 256], metavar="N,N")
    parser.add_argument("--batches", type=numbers, default=[1, 2, 4, 8, 16, 32, 64], metavar="N,N")
    parser.add_argument("--processes", type=numbers, default=[1, 2], metavar="N,N")
    parser.add_argument("--rounds", type=int, default=3, help="that are counted, of each point")
    parser.add_argument("--width", type=int, help="in place of the published widths; for a quick look")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of all processes")
    parser.add_argument("--verbose", action="store_true", help="what the processes say, too")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    if options.work:
        *line, batches = json.loads(options.work)
        return work(Line(*line), batches, options)
    for path in (options.json, options.plot):
        check_json(path)
    names, device = chosen(options.models), pick_device(options.device)
    if options.rounds < 1 or options.threads < 1:
        raise DataError("--rounds and --threads: at least 1")
    title = limits.header(device, arguments)
    print(title, flush=True)
    best = limits.measured(device, time.perf_counter)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    figures = {f"machine/limit_{precision}": limit.gflops for precision, limit in best.items()}
    found: dict[Line, dict[int, dict[str, Any]]] = {}
    for line in [Line(m, r, p) for m in names for r in options.resolutions for p in options.processes]:
        if device.type == "cuda" and line.processes > torch.cuda.device_count():
            print(f"{line.model}_{line.resolution}: there are no {line.processes} GPUs", flush=True)
            continue
        found[line] = measured(line, options)
        for batch, values in sorted(found[line].items()):
            key = f"{line.model}_{line.resolution}/batch_{batch}/processes_{line.processes}"
            failed = values.get("failed")
            said = failed or f"{values['images_per_second']:.4g} a second, {values['memory_mib']:,.0f} MiB"
            print(f"{key}: {said}", flush=True)
            numbers_of = {"failed": 1.0} if failed else values
            figures |= {f"scaling/{key}/{name}": value for name, value in numbers_of.items()}
        write_json(options.json, figures)
        if options.plot:
            draw(found, title, options.plot)
    for precision, limit in best.items():
        print(f"Limit in {precision}: {limit.gflops:,.0f} GFLOP/s, by a {limit.by}.")


def draw(found: dict[Line, dict[int, dict[str, Any]]], title: str, path: Path) -> None:
    """A row of two plots for each model: one process by a full line, more by a broken one; a cross at the
    foot is a batch for which memory did not suffice."""
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(line.model for line in found))
    resolutions = sorted({line.resolution for line in found})
    figure = Figure(figsize=(8, 0.6 + 2.6 * len(models)), dpi=80, layout="constrained")
    for row, panels in zip(models, figure.subplots(len(models), 2, squeeze=False)):
        for axes, name, label in zip(panels, ("images_per_second", "memory_mib"), ("images / s", "MiB")):
            for line, points in found.items():
                if line.model != row:
                    continue
                good = sorted((batch, v[name]) for batch, v in points.items() if "failed" not in v)
                bad = [batch for batch, v in points.items() if "memory" in v.get("failed", "")]
                colour = f"C{resolutions.index(line.resolution)}"
                style = "-o" if line.processes == 1 else "--s"
                many = "" if line.processes == 1 else f", {line.processes} processes"
                label_of = f"{line.resolution}{many}"
                axes.plot(*(zip(*good) if good else ((), ())), style, color=colour, label=label_of, ms=3)
                axes.plot(bad, [0.02] * len(bad), "x", color=colour, transform=axes.get_xaxis_transform())
            axes.set(xscale="log", yscale="log", xlabel="batch", ylabel=label, title=row)
            ticks = sorted({batch for points in found.values() for batch in points})
            axes.set_xticks(ticks, map(str, ticks))
            axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        panels[0].legend(fontsize=6)
    figure.suptitle(title.split("; `")[0], fontsize=8)
    part = path.with_name(f".{path.name}.part")
    figure.savefig(part, format="png")
    part.replace(path)


if __name__ == "__main__":
    sys.exit(run_main(main))
