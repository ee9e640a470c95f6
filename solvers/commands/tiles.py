"""Large pictures in bounded memory: window by window, blended where windows overlap."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from dataloader.sizes import Size
from solvers.visualization.grids import to_uint8


def starts(length: int, side: int, step: int) -> list[int]:
    """Where windows of `side` begin that cover `length` and overlap by `side` - `step` or more; the last ends
    where the picture does."""
    if length <= side:
        return [0]
    count = -(-(length - side) // step) + 1
    return [round(number * (length - side) / (count - 1)) for number in range(count)]


def shares(begin: list[int], side: int, margin: int) -> list[Tensor]:
    """For windows that begin so, what of each pixel of the picture is theirs, [side] each: together 1
    everywhere. The outer `margin` of a window, where its own edge is felt, counts for nothing where another
    window has the pixel further inside; beyond it the share grows in a straight line."""
    length = begin[-1] + side
    place = torch.arange(side, dtype=torch.float64)
    raw = []
    for start in begin:
        ramp = torch.full((side,), float(side), dtype=torch.float64)
        if start > 0:
            ramp = torch.minimum(ramp, place - margin + 0.5)
        if start + side < length:
            ramp = torch.minimum(ramp, side - place - margin - 0.5)
        raw.append(ramp.clamp(min=0))
    total = torch.zeros(length, dtype=torch.float64)
    for start, ramp in zip(begin, raw):
        total[start : start + side] += ramp
    return [(ramp / total[start : start + side]).float() for start, ramp in zip(begin, raw)]


@torch.no_grad()
def translate_tiled(
    pixels: np.ndarray,
    translate: Callable[[Tensor], Tensor],
    size: Size,
    batch: int,
    device: torch.device,
    overlap: float = 0.25,
) -> np.ndarray:
    """A picture, uint8 [H, W, 3], translated in windows of `size` that overlap by this share, `batch` of them
    at once: uint8 [H, W, 3]. Of a window the outer quarter of the overlap is not used. A picture that is
    smaller than a window is continued by its outermost pixels."""
    height, width = pixels.shape[:2]
    missing = [max(0, side - has) for side, has in zip(size, (height, width))]
    pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    across, down = [], []
    for sides, length, side in ((down, pixels.shape[0], size[0]), (across, pixels.shape[1], size[1])):
        lap = round(side * overlap)
        begin = starts(length, side, side - lap)
        sides += zip(begin, shares(begin, side, lap // 4))
    made = torch.zeros(3, *pixels.shape[:2])
    for windows in batched(((top, left) for top in down for left in across), batch):
        cut = [pixels[y : y + size[0], x : x + size[1]] for (y, _), (x, _) in windows]
        images = torch.from_numpy(np.stack(cut)).to(device).movedim(3, 1).float() / 127.5 - 1
        for ((y, of_rows), (x, of_columns)), image in zip(windows, translate(images).float().cpu()):
            made[:, y : y + size[0], x : x + size[1]] += image * of_rows[:, None] * of_columns
    return to_uint8(made[:, :height, :width])


def batched(items: Iterator, count: int) -> Iterator[list]:
    """Lists of `count` items, the last perhaps of fewer."""
    block = []
    for item in items:
        block.append(item)
        if len(block) == count:
            yield block
            block = []
    if block:
        yield block
