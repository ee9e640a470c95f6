"""Looking at a model: the grids that training saves as it goes, and test mode's grids and numbers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from configs.keys.common import Config, Test
from dataloader import DataError
from dataloader.dataset import Batch, Dataset
from dataloader.domains import count_of, in_batches, one_domain, spread
from models.translator import Translator
from solvers.evaluation.adaptation import adaptation_metrics, plan_adaptation
from solvers.evaluation.diversity import check_lpips, diversity_metrics
from solvers.evaluation.modes import clustering_metrics, mode_metrics
from solvers.evaluation.paired import paired_metrics, unpaired_metrics
from solvers.evaluation.probes import probe_metrics
from solvers.run.folder import RunFolder, write_whole
from solvers.run.reporter import Reporter
from solvers.visualization.grids import (
    component_grid,
    directions,
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
from solvers.visualization.plots import style_space

ROWS = 8
STYLES = 400  # of each domain in the plot of styles, at most


def check_test(settings: Test, dataset: Dataset) -> None:
    """Whether test mode can do what the config asks for, known before training starts. Raises RunError."""
    plan_adaptation(settings.adaptation, dataset)
    if settings.lpips:
        check_lpips()


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
        if model.components:
            picture = component_grid(model, batch, source, target, seed)
            save_png(picture, folder / f"{name}_by_component.png")
            reporter.picture(f"{name}_by_component", picture, iteration)
    model.train(was_training)


def evaluate(
    model: Translator,
    dataset: Dataset,
    config: Config,
    run: RunFolder,
    iteration: int,
    reporter: Reporter,
    open_train: Callable[[], Dataset],
) -> dict[str, float]:
    """Test mode: grids and metrics.json in run.results, in eval mode and float32, the same for the same
    checkpoint. `open_train` gives the training split, and is called only where adaptation needs it."""
    model.eval()
    device = next(model.parameters()).device
    for reason in model.missing.values():
        reporter.say(f"Left out: {reason}")
    save_pictures(model, dataset, config.seed, run.results, device)
    if model.components and model.has_style:
        styles, components = encoded_styles(model, dataset, config.test.batch_size, device)
        picture = style_space(styles, components, model.domains, model.components)
        save_png(picture, run.results / "style_space.png")
    metrics = measure(model, dataset, config, device)
    metrics |= adapt(model, dataset, config, device, reporter, open_train)
    write_whole(
        run.results / "metrics.json", json.dumps({"iteration": iteration, **metrics}, indent=2) + "\n"
    )
    return metrics


def save_pictures(model: Translator, dataset: Dataset, seed: int, folder: Path, device: torch.device) -> None:
    """Every grid and GIF that the model has the verbs for."""
    batch = fixed_batch(dataset, device, 2 * ROWS)
    first = Batch(tuple(images[:ROWS] for images in batch.images), batch.labels)
    if not model.has_content:
        return
    for source, target in directions(model):
        here, there = model.domains[source], model.domains[target]
        way = f"{here}_to_{there}"
        picture = translation_grid(model, first, source, target, seed, randoms=8, paired=dataset.paired)
        save_png(picture, folder / f"{way}_random_styles.png")
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


@torch.no_grad()
def encoded_styles(
    model: Translator, dataset: Dataset, batch_size: int, device: torch.device
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of up to STYLES test images of each domain the styles [N, D] and the likeliest components [N]."""
    styles, components = [], []
    for domain in range(len(model.domains)):
        codes, likeliest = [], []
        for part in in_batches(spread(count_of(dataset, domain), STYLES), batch_size):
            images, _ = one_domain(dataset, domain, part, device)
            codes.append(model.encode_style(images, domain).flatten(1).float())
            likeliest.append(model.component_probabilities(images, domain).argmax(dim=1))
        styles.append(torch.cat(codes).cpu().numpy())
        components.append(torch.cat(likeliest).cpu().numpy())
    return styles, components


def style_ends(model: Translator, batch: Batch, target: int, seed: int) -> dict[str, Ends]:
    """What interpolations go between, by name: two random styles, two references' styles."""
    ends = {}
    if model.has_style_prior:
        ends["random_styles"] = random_ends(model, target, seed)
    if model.has_style and len(batch.images[target]) > 1:
        ends["references"] = reference_ends(model, batch, target)
    return ends


def measure(model: Translator, dataset: Dataset, config: Config, device: torch.device) -> dict[str, float]:
    """The numbers that need the test split alone."""
    size, seed = config.test.batch_size, config.seed
    if not model.has_content:
        return {}
    metrics = (paired_metrics if dataset.paired else unpaired_metrics)(model, dataset, size, device)
    metrics |= probe_metrics(model, dataset, size, seed, device)
    if model.has_style_prior:
        metrics |= diversity_metrics(model, dataset, size, seed, device, config.test.lpips)
        metrics |= mode_metrics(model, dataset, size, seed, device)
    return metrics | clustering_metrics(model, dataset, size, device)


def adapt(
    model: Translator,
    dataset: Dataset,
    config: Config,
    device: torch.device,
    reporter: Reporter,
    open_train: Callable[[], Dataset],
) -> dict[str, float]:
    """The numbers of adaptation, where the config and the data ask for it and the model can."""
    settings, size = config.test.adaptation, config.test.batch_size
    plan = plan_adaptation(settings, dataset)
    if plan is None:
        return {}
    styles = model.has_style_prior if settings.styles == "prior" else model.has_style
    if not (model.has_content and styles):
        what = "contents" if not model.has_content else "styles of this kind"
        reporter.say(f"Left out: adaptation, since the model has no {what} (test.adaptation.styles)")
        return {}
    try:
        train = open_train()
    except DataError as error:
        if settings.enabled:
            raise
        reporter.say(f"Left out: adaptation, which needs the training split: {error}")
        return {}
    return adaptation_metrics(model, plan, train, dataset, size, config.seed, device, reporter.say)
