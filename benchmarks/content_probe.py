"""What a content code knows of its domain: python benchmarks/content_probe.py RUN [RUN ...] [--json FILE]

For each run folder, linear probes of the domain from the contents of test images, which make the task easier
or harder for the probe: the whole code, trained on 1,000 images of each domain or on 10; and the channels of
the one place in the middle of the content map. Accuracies on the other images; chance is one over the number
of domains. Keys are `content_probe/RUN/whole`, `/few` and `/place`.
"""

import sys
from pathlib import Path

import numpy as np
import torch

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.figures import check_json, parser_of, write_json
from configs.load import ConfigError, load_config
from dataloader.domains import count_of, in_batches, one_domain
from dataloader.packed import DataError
from dataloader.preprocessing import run as run_main
from solvers import USER_ERRORS, make_solver
from solvers.evaluation.probes import probe
from solvers.solver import Solver

IMAGES = 2000  # of each domain, at most; the first half trains the probe
FEW = 10  # of each domain


@torch.no_grad()
def content_maps(solver: Solver) -> np.ndarray:
    """Contents of the first test images of every domain: float64 [domains, N, C, H, W]."""
    model, dataset = solver.model.eval(), solver.test_set
    count = min(IMAGES, *(count_of(dataset, domain) for domain in range(len(model.domains))))
    domains = []
    for domain in range(len(model.domains)):
        parts = [
            model.encode_content(one_domain(dataset, domain, part, solver.device)[0], domain)
            for part in in_batches(np.arange(count), 250)
        ]
        domains.append(torch.cat(parts).double().cpu().numpy())
    return np.stack(domains)


def probes(contents: np.ndarray) -> dict[str, float]:
    """The accuracies, from contents [domains, N, C, H, W]."""
    kinds, count, _, height, width = contents.shape
    domain = np.repeat(np.arange(kinds), count)
    number = np.tile(np.arange(count), kinds)
    whole = contents.reshape(kinds * count, -1)
    place = contents[..., height // 2, width // 2].reshape(kinds * count, -1)
    half, few = number < count // 2, number < min(FEW, count // 2)
    judged = few | ~half  # the images that only the larger probe trained on are left out
    return {
        "whole": probe(whole, domain, half),
        "few": probe(whole[judged], domain[judged], few[judged]),
        "place": probe(place, domain, half),
    }


def main(arguments: list[str]) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder")
    options = parser.parse_args(arguments)
    check_json(options.json)
    values = {}
    for run in options.runs:
        try:
            solver = make_solver(load_config(str(run / "config.json"), ["train=0"]))
            solver.load(run, "latest", training=False)
        except (ConfigError, *USER_ERRORS) as error:
            raise DataError(str(error)) from None
        contents = content_maps(solver)
        if contents.ndim != 5:
            raise DataError(f"{run}: its content is no map, so it has no place to look at")
        values |= {f"content_probe/{run.name}/{name}": value for name, value in probes(contents).items()}
    for name, value in values.items():
        print(f"{name:<40} {value:.4f}")
    write_json(options.json, values)


if __name__ == "__main__":
    sys.exit(run_main(main))
