"""Every picture that a model has the verbs for: what training saves as it goes, and what test mode shows."""

from pathlib import Path

import torch

from dataloader.dataset import Batch, Dataset
from dataloader.domains import spread
from models.translator import Translator
from solvers.run.reporter import Reporter
from solvers.visualization.attribute_grids import attribute_pictures
from solvers.visualization.grids import (
    component_grid,
    every_domain_grid,
    save_png,
    transfer_grid,
    translation_grid,
)
from solvers.visualization.interpolation import (
    Ends,
    interpolation_frames,
    interpolation_strip,
    random_ends,
    reference_ends,
    save_gif,
)

ROWS = 8


def fixed_batch(dataset: Dataset, device: torch.device, count: int = ROWS) -> Batch:
    """The same `count` items of every stream, spread over the split, whatever the seed."""
    return dataset.at(*(spread(n, count) for n in dataset.streams), device=device)


def save_samples(
    model: Translator,
    batch: Batch,
    folder: Path,
    seed: int,
    reporter: Reporter,
    iteration: int,
    dataset: Dataset,
) -> None:
    """Training's grids of one iteration, of a batch of this data set, in eval mode, which is left again
    afterwards."""
    was_training = model.training
    model.eval()
    for source, target in model.directions:
        name = f"{model.domains[source]}_to_{model.domains[target]}"
        picture = translation_grid(model, batch, source, target, seed, randoms=3, paired=dataset.paired)
        save_png(picture, folder / f"{name}.png")
        reporter.picture(name, picture, iteration)
        if model.components:
            picture = component_grid(model, batch, source, target, seed)
            save_png(picture, folder / f"{name}_by_component.png")
            reporter.picture(f"{name}_by_component", picture, iteration)
    for name, picture in attribute_pictures(model, dataset, batch, seed).items():
        save_png(picture, folder / f"{name}.png")
        reporter.picture(name, picture, iteration)
    model.train(was_training)


def save_pictures(model: Translator, dataset: Dataset, seed: int, folder: Path, device: torch.device) -> None:
    """Every grid and GIF that the model has the verbs for."""
    batch = fixed_batch(dataset, device, 2 * ROWS)
    first = Batch(tuple(images[:ROWS] for images in batch.images), batch.labels)
    for name, picture in attribute_pictures(model, dataset, batch, seed, ROWS).items():
        save_png(picture, folder / f"{name}.png")
    if not model.has_content:
        return
    for source, target in model.directions:
        here, there = model.domains[source], model.domains[target]
        way = f"{here}_to_{there}"
        picture = translation_grid(model, first, source, target, seed, randoms=8, paired=dataset.paired)
        save_png(picture, folder / (f"{way}_random_styles.png" if model.takes_style else f"{way}.png"))
        if model.components:
            picture = component_grid(model, first, source, target, seed)
            save_png(picture, folder / f"{way}_by_component.png")
        if model.has_style:
            save_png(
                transfer_grid(model, batch, source, target), folder / f"content_{here}_style_{there}.png"
            )
        for name, ends in style_ends(model, batch, target, seed).items():
            strip = interpolation_strip(model, first, source, target, ends)
            save_png(strip, folder / f"{way}_between_{name}.png")
            frames = interpolation_frames(model, first, source, target, ends)
            save_gif(frames, folder / f"{way}_between_{name}.gif")
    if len(model.domains) > 2 and (model.has_style or model.has_style_prior):
        save_png(every_domain_grid(model, batch, seed), folder / "every_domain.png")


def style_ends(model: Translator, batch: Batch, target: int, seed: int) -> dict[str, Ends]:
    """What interpolations go between, by name: two random styles, two references' styles."""
    ends = {}
    if model.has_style_prior:
        ends["random_styles"] = random_ends(model, target, seed)
    if model.has_style and len(batch.images[target]) > 1:
        ends["references"] = reference_ends(model, batch, target)
    return ends
