"""How long a training iteration takes: python benchmarks/train_step.py [--json FILE]

DRIT at 216 x 216, batch 2, float32, published widths, against the same iteration written plainly in the order
of its authors' code (benchmarks/plain_drit.py): forward for the discriminators, forward for the generator,
two backward passes. Rounds of both take turns; medians are compared.
`step/drit_216/ratio` is plain over ours.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import plain_drit
from benchmarks.figures import add_json, check_json, write_json
from configs.load import validate
from dataloader.dataset import Batch
from dataloader.preprocessing import run as run_main
from dataloader.unpaired import Unpaired
from solvers.drit import DRITSolver
from solvers.run import distributed


class Noise(DRITSolver):
    """DRIT on pictures of noise, so that no data set is needed."""

    def open_split(self, split: str) -> Unpaired:
        size = self.config.resolution
        pictures = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), np.uint8)
        return Unpaired({"x": pictures, "y": pictures[::-1].copy()}, size)


def make_solver(resolution: int, batch_size: int, device: str, width: int) -> Noise:
    """Iterations all teach everything (`d_iter` 1), so that both sides of the comparison do the same."""
    values = {
        "id": "benchmark",
        "model": "DRIT",
        "dataset": "Folders",
        "resolution": resolution,
        "device": device,
        "precision": "fp32",
        "training": {"batch_size": batch_size, "d_iter": 1},
        "network": {"base_width": width, "dis_width": width},
    }
    return Noise(validate(values, "benchmark"))


def compare(
    resolution: int, batch_size: int, rounds: int, device: str, width: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Median seconds of `rounds` iterations of each kind by `clock`, after one that is not counted."""
    solver = make_solver(resolution, batch_size, device, width)
    images = (torch.rand(2, batch_size, 3, resolution, resolution) * 2 - 1).to(solver.device)
    plain = make_solver(resolution, batch_size, device, width)  # networks of its own
    weights = {name: dict(network.named_parameters()) for name, network in plain.networks.items()}

    def ours(iteration: int) -> None:
        solver.set_time(iteration)
        solver.train_step(Batch((images[0], images[1]), ({}, {})), iteration)

    def theirs(iteration: int) -> None:
        plain.set_time(iteration)
        plain_drit.step(weights, images[0], images[1], plain.optimizers)

    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for iteration in range(1, rounds + 2):
        for name, run in (("ours", ours), ("plain", theirs)):
            start = clock()
            run(iteration)
            if solver.device.type == "cuda":
                torch.cuda.synchronize()
            if iteration > 1:
                seconds[name].append(clock() - start)
    found = {name: median(values) for name, values in seconds.items()}
    return {**found, "ratio": found["plain"] / found["ours"]}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_json(parser)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--resolution", type=int, default=216)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--cpu-time", action="store_true", help="CPU seconds of the process, where other jobs run beside it"
    )
    options = parser.parse_args(arguments)
    check_json(options.json)
    clock = time.process_time if options.cpu_time else time.perf_counter
    found = compare(
        options.resolution, options.batch_size, options.rounds, options.device, options.width, clock
    )
    values = {f"step/drit_{options.resolution}/{name}": value for name, value in found.items()}
    for name, value in values.items():
        print(f"{name:<28} {value:.4g}")
    write_json(options.json, values)
    distributed.stop()


if __name__ == "__main__":
    sys.exit(run_main(main))
