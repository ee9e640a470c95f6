"""Pictures of attributes: asked for one by one, several at once, off and on; and what else a model of
attributes may show: its label means, reconstructions with noise, and images from its prior."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dataloader.dataset import Batch, Dataset
from dataloader.domains import asked_for, attribute_groups, attribute_vectors
from models.translator import Translator
from solvers.visualization.grids import draw_grid

DOMAIN = 0  # a model of attributes has one domain
TOGETHER = 6  # attributes that are asked for at once, at most
SIDE = 8  # rows and columns of images from the prior


class Known(NamedTuple):
    """Images [B, 3, H, W], which attributes they have, float [B, attributes], and the numbers of those that
    can be asked for independently."""

    images: Tensor
    have: Tensor
    groups: list[list[int]]


def known_of(model: Translator, dataset: Dataset, batch: Batch, rows: int) -> Known | None:
    """The first `rows` images of a batch of this data set; None of a model or data without attributes."""
    if not model.attributes or model.attributes != dataset.attributes:
        return None
    images = batch.images[DOMAIN][:rows]
    have = attribute_vectors(batch.labels[DOMAIN], model.attributes)[:rows].to(images.device)
    return Known(images, have, list(attribute_groups(dataset).values()))


def attribute_pictures(
    model: Translator, dataset: Dataset, batch: Batch, seed: int, rows: int = 8
) -> dict[str, np.ndarray]:
    """Every grid that the model has the verbs for, by name: uint8 [H, W, 3] each."""
    found, images = {}, batch.images[DOMAIN][:rows]
    if (known := known_of(model, dataset, batch, rows)) is not None:
        found["attributes"] = one_by_one(model, known)
        if len(known.groups) > 1:
            found["attributes_together"] = together(model, known)
        found["attributes_off_and_on"] = off_and_on(model, known)
    if model.has_noisy_reconstruction:
        found["reconstruction_with_noise"] = noisy_grid(model, images, seed)
    if model.has_label_means:
        found["label_means"] = means_grid(model)
    if model.has_image_prior:
        found["from_prior"] = prior_grid(model, seed)
    return found


@torch.no_grad()
def one_by_one(model: Translator, known: Known) -> np.ndarray:
    """A row per image: it, and it with the other value of each attribute, or, of those that exclude each
    other, with each."""
    wanted = [asked_for(known.have, number, known.groups) for number in range(len(model.attributes))]
    return edited_grid(model, known, wanted, model.attributes, "each attribute asked for, alone")


@torch.no_grad()
def together(model: Translator, known: Known) -> np.ndarray:
    """A row per image: it, and it with one more attribute of another value in each column, at most TOGETHER;
    of those that exclude each other, with the next that it has not."""
    want, wanted, titles = known.have, [], []
    for group in known.groups[:TOGETHER]:
        names = [model.attributes[number] for number in group]
        want, has = want.clone(), known.have[:, group]
        if len(group) == 1:
            want[:, group] = 1 - has
        else:
            want[:, group] = has.roll(1, dims=1)
            want[:, group[0]] += 1 - has.sum(dim=1)  # the first, where it has none
        wanted.append(want)
        titles.append(f"{'and ' * bool(titles)}{' / '.join(names)}")
    return edited_grid(model, known, wanted, titles, "several attributes asked for at once")


@torch.no_grad()
def off_and_on(model: Translator, known: Known) -> np.ndarray:
    """A row per image: it, and it without and with each attribute, whatever it has; with each alone of those
    that exclude each other."""
    wanted, titles = [], []
    for number, name in enumerate(model.attributes):
        lone = [number] in known.groups
        for value in (0, 1) if lone else (1,):
            want = known.have.clone()
            want[:, next(group for group in known.groups if number in group)] = 0
            want[:, number] = value
            wanted.append(want)
            titles.append(name if value else f"not {name}")
    return edited_grid(model, known, wanted, titles, "every attribute off and on")


def edited_grid(
    model: Translator, known: Known, wanted: Sequence[Tensor], titles: Sequence[str], label: str
) -> np.ndarray:
    """A row per image: it, and it with the attributes that each of `wanted`, [B, attributes], says."""
    made = [model.edit(known.images, DOMAIN, known.have, want) for want in wanted]
    return draw_grid(list(zip(known.images, *made)), ["input", *titles], label)


@torch.no_grad()
def noisy_grid(model: Translator, images: Tensor, seed: int) -> np.ndarray:
    """A row per image: it, its reconstruction, and one with noise."""
    noisy = model.noisy_reconstruction(images, DOMAIN, torch.Generator().manual_seed(seed))
    rows = list(zip(images, model.reconstruct(images, DOMAIN), noisy))
    return draw_grid(rows, ["input", "reconstruction", "with noise"])


@torch.no_grad()
def means_grid(model: Translator) -> np.ndarray:
    """The mean latent of the images that have each attribute, decoded."""
    means = list(model.label_means(DOMAIN))
    return draw_grid([means], list(model.attributes), "mean latent of each attribute")


@torch.no_grad()
def prior_grid(model: Translator, seed: int) -> np.ndarray:
    """SIDE x SIDE images decoded from the prior."""
    made = model.sample_image(SIDE * SIDE, DOMAIN, torch.Generator().manual_seed(seed))
    return draw_grid([list(row) for row in made.split(SIDE)], [""] * SIDE, "images from the prior")
