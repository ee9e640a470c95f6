"""Styles between two styles: as a strip of pictures, and as a GIF that goes there and back for ever."""

from pathlib import Path
from typing import NamedTuple

import imageio.v3 as imageio
import numpy as np
import torch
from torch import Tensor

from dataloader.dataset import Batch
from models.translator import Translator
from solvers.run.shortage import whole
from solvers.visualization.grids import draw_grid

STEPS = 8  # pictures in a strip, both ends included
FRAMES = 16  # of a GIF from one end to the other
MILLISECONDS = 80  # that a frame is shown
LARGEST = 128  # a GIF's pictures are reduced to this longer side


class Ends(NamedTuple):
    """Two styles [1, ...] of a domain, and the images [3, H, W] that they are of, where there are any."""

    first: Tensor
    last: Tensor
    references: tuple[Tensor, Tensor] | None = None

    def between(self, share: float) -> Tensor:
        """The style at `share` (0 to 1) of the straight way from the first to the last: [1, ...]."""
        return torch.lerp(self.first, self.last, share)


@torch.no_grad()
def random_ends(model: Translator, target: int, seed: int) -> Ends:
    """Two styles of `target` drawn from the prior."""
    first, last = model.sample_style(2, target, torch.Generator().manual_seed(seed)).split(1)
    return Ends(first, last)


@torch.no_grad()
def reference_ends(model: Translator, batch: Batch, target: int) -> Ends:
    """The styles of the first and the last image of `target`."""
    images = batch.images[target]
    first, last = (model.encode_style(image[None], target) for image in (images[0], images[-1]))
    return Ends(first, last, (images[0], images[-1]))


@torch.no_grad()
def translations(model: Translator, content: Tensor, ends: Ends, target: int, steps: int) -> list[Tensor]:
    """The content [B, ...] in `target` with each of `steps` styles from the first to the last: images
    [B, 3, H, W] each."""
    styles = [ends.between(step / (steps - 1)) for step in range(steps)]
    count = len(content)
    return [model.decode(content, style.expand(count, *style.shape[1:]), target) for style in styles]


@torch.no_grad()
def interpolation_strip(
    model: Translator, batch: Batch, source: int, target: int, ends: Ends, rows: int = 6
) -> np.ndarray:
    """One row per image of `source`: it, and its translations with styles between the two ends. With
    references, these stand above the ends."""
    images = batch.images[source][:rows]
    made = translations(model, model.encode_content(images, source), ends, target, STEPS)
    cells: list[list[Tensor | None]] = [list(row) for row in zip(images, *made)]
    if ends.references is not None:
        first, last = ends.references
        cells.insert(0, [None, first, *[None] * (STEPS - 2), last])
    here, there = model.domains[source], model.domains[target]
    shares = [f"{100 * step / (STEPS - 1):.0f} %" for step in range(STEPS)]
    return draw_grid(cells, [f"{here} (input)", *shares], f"{here} to {there}, from one style to another")


@torch.no_grad()
def interpolation_frames(
    model: Translator, batch: Batch, source: int, target: int, ends: Ends, columns: int = 6
) -> list[np.ndarray]:
    """The pictures of a GIF, uint8 [H, W, 3] each: inputs above, their translations below; there and back
    without the ends twice, so that the last leads to the first."""
    images = batch.images[source][:columns]
    made = translations(model, model.encode_content(images, source), ends, target, FRAMES)
    here, there = model.domains[source], model.domains[target]
    titles = [f"{here}, and as {there}"] + [""] * (len(images) - 1)
    frames = [draw_grid([small(images), small(step)], titles) for step in made]
    return frames + frames[-2:0:-1]


def small(images: Tensor) -> Tensor:
    """[B, 3, H, W], reduced in proportion and with antialiasing where the longer side is above LARGEST."""
    longer = max(images.shape[2:])
    if longer <= LARGEST:
        return images
    size = tuple(max(1, round(side * LARGEST / longer)) for side in images.shape[2:])
    return torch.nn.functional.interpolate(images.float(), size, mode="area")


def save_gif(frames: list[np.ndarray], path: Path) -> None:
    """Write pictures, uint8 [H, W, 3] of one size, as a GIF that repeats for ever; whole or not at all."""
    with whole(path, path.with_suffix(".part"), durable=False) as part:
        imageio.imwrite(part, frames, extension=".gif", plugin="pillow", duration=MILLISECONDS, loop=0)
