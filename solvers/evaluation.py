"""Looking at a model: the grids that training saves as it goes, and test mode's grids and numbers."""

import json
from pathlib import Path

import numpy as np
import torch

from configs.schema import Config
from dataloader.dataset import Batch, Dataset
from models.translator import Translator
from solvers.grids import directions, save_png, transfer_grid, translation_grid
from solvers.metrics import paired_metrics, unpaired_metrics
from solvers.reporter import Reporter
from solvers.run_folder import RunFolder, write_whole

ROWS = 8


def fixed_batch(dataset: Dataset, device: torch.device, count: int = ROWS) -> Batch:
    """The same `count` items of every stream, spread over the split, whatever the seed."""
    return dataset.at(
        *(np.linspace(0, n - 1, min(count, n)).astype(int) for n in dataset.streams), device=device
    )


def save_samples(
    model: Translator,
    batch: Batch,
    folder: Path,
    seed: int,
    reporter: Reporter,
    iteration: int,
    paired: bool = True,
) -> None:
    """Training's grids of one iteration, in eval mode, which is left again afterwards."""
    was_training = model.training
    model.eval()
    for source, target in directions(model):
        name = f"{model.domains[source]}_to_{model.domains[target]}"
        picture = translation_grid(model, batch, source, target, seed, randoms=3, paired=paired)
        save_png(picture, folder / f"{name}.png")
        reporter.picture(name, picture, iteration)
    model.train(was_training)


def evaluate(
    model: Translator, dataset: Dataset, config: Config, run: RunFolder, iteration: int, reporter: Reporter
) -> dict[str, float]:
    """Test mode: grids and metrics.json in run.results, in eval mode and float32, the same for the same
    checkpoint."""
    model.eval()
    device = next(model.parameters()).device
    for reason in model.missing.values():
        reporter.say(f"Left out: {reason}")
    batch = fixed_batch(dataset, device, 2 * ROWS)
    first = Batch(tuple(images[:ROWS] for images in batch.images), batch.labels)
    for source, target in directions(model):
        here, there = model.domains[source], model.domains[target]
        picture = translation_grid(
            model, first, source, target, config.seed, randoms=8, paired=dataset.paired
        )
        save_png(picture, run.results / f"{here}_to_{there}_random_styles.png")
        if model.has_style:
            save_png(
                transfer_grid(model, batch, source, target), run.results / f"content_{here}_style_{there}.png"
            )
    measure = paired_metrics if dataset.paired else unpaired_metrics
    metrics = measure(model, dataset, config.test.batch_size, device)
    write_whole(
        run.results / "metrics.json", json.dumps({"iteration": iteration, **metrics}, indent=2) + "\n"
    )
    return metrics
