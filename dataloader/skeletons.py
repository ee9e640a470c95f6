"""Digits reduced to how their strokes run: upright, of one size, and without a width of their own, so that a
set can give them whatever width, slant and size it wants.

Each is a field that says how near the middle line of its strokes is. In the field's own measure a digit is
1 high, stands in the middle, and is upright as far as its moments say: the middle line's x and y do not
correlate.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 48  # of a field
REACH = 0.7  # of a field from its middle, in heights of a digit; the rest is for the strokes' width
FARTHEST = 0.25  # distance, in heights of a digit, that is stored as 0; none is 255
BRIGHT = 0.4  # of a picture's brightest, from which on it is a digit's stroke
WIDEST = 0.9  # a digit that is wider than so many of its heights is made narrower
DRAWN = 56  # pixels that a digit's picture is enlarged to before its middle line is sought
BLOCK = 250  # digits at a time


def stroke_fields(digits: np.ndarray) -> np.ndarray:
    """Grey digits uint8 [N, h, w] -> uint8 [N, SIDE, SIDE]: 255 on a middle line, falling evenly to 0
    at a distance of FARTHEST."""
    fields = np.empty((len(digits), SIDE, SIDE), np.uint8)
    for first in range(0, len(digits), BLOCK):
        lines = middle_lines(large_masks(digits[first : first + BLOCK]))
        fields[first : first + BLOCK] = nearness(*upright_points(lines))
    return fields


def large_masks(digits: np.ndarray) -> np.ndarray:
    """Grey digits uint8 [N, h, w] -> where they are at least BRIGHT, smoothly enlarged to DRAWN pixels,
    with an empty border: bool [N, DRAWN + 4, DRAWN + 4]."""
    grey = torch.from_numpy(digits[:, None].astype(np.float32))
    large = F.interpolate(grey, (DRAWN, DRAWN), mode="bicubic")[:, 0]
    return F.pad(large >= large.amax(dim=(1, 2), keepdim=True) * BRIGHT, (2, 2, 2, 2)).numpy()


def middle_lines(masks: np.ndarray) -> np.ndarray:
    """Masks bool [N, H, W], False along their borders -> their lines of one pixel's width, by thinning from
    two sides in turn (Zhang, Suen, CACM 1984). What would vanish altogether stays as it is."""
    thin = masks.copy()
    flat, width = thin.reshape(-1), masks.shape[2]
    around = (-width, 1 - width, 1, 1 + width, width, width - 1, -1, -1 - width)  # clockwise from above
    inked, gone = np.flatnonzero(flat), True
    while gone:
        gone = False
        for removable in REMOVABLE:
            code = np.zeros(len(inked), np.uint8)
            for bit, step in enumerate(around):
                code |= flat[inked + step].view(np.uint8) << np.uint8(bit)
            going = removable[code]
            flat[inked[going]] = False
            inked, gone = inked[~going], gone or bool(going.any())
    return np.where(thin.any(axis=(1, 2), keepdims=True), thin, masks)


def removable_pixels() -> np.ndarray:
    """By which of the eight pixels around a pixel are set, as the bits of a number, clockwise from that
    above, whether it goes in each of the two turns: bool [2, 256]."""
    ring = (np.arange(256)[:, None] >> np.arange(8)) & 1
    count, starts = ring.sum(axis=1), ((ring == 0) & (np.roll(ring, -1, axis=1) == 1)).sum(axis=1)
    north, east, south, west = ring[:, ::2].T
    on_edge = (count >= 2) & (count <= 6) & (starts == 1)
    turns = ((east & south & (north | west)) == 0, (north & west & (east | south)) == 0)
    return np.stack([on_edge & turn for turn in turns])


REMOVABLE = removable_pixels()


def upright_points(lines: np.ndarray) -> tuple[Tensor, Tensor]:
    """Lines bool [N, H, W] -> their pixels' x and y, float [N, most], in the digit's own measure; beyond a
    digit's last point stands its last one again."""
    digit, row, column = np.nonzero(lines)
    counts = np.bincount(digit, minlength=len(lines))
    places = np.minimum(np.arange(counts.max()), counts[:, None] - 1) + (np.cumsum(counts) - counts)[:, None]
    weights = np.arange(counts.max()) < counts[:, None]

    def mean(values: np.ndarray) -> np.ndarray:
        return (values * weights).sum(axis=1, keepdims=True) / counts[:, None]

    x, y = column[places].astype(np.float64), row[places].astype(np.float64)
    x, y = x - mean(x), y - mean(y)
    x = x - y * mean(x * y) / np.maximum(mean(y * y), 1e-9)
    (left, right), (top, bottom) = ((a.min(axis=1)[:, None], a.max(axis=1)[:, None]) for a in (x, y))
    height = np.maximum(bottom - top, 1)
    narrower = np.minimum(1, WIDEST * height / np.maximum(right - left, 1e-9))
    x, y = (x - (left + right) / 2) * narrower / height, (y - (top + bottom) / 2) / height
    return torch.from_numpy(x).float(), torch.from_numpy(y).float()


def nearness(x: Tensor, y: Tensor) -> np.ndarray:
    """Points' x and y, float [N, M] -> uint8 [N, SIDE, SIDE]: how near the middle of each pixel of a field
    is to one of them."""
    axis = ((torch.arange(SIDE) + 0.5) / SIDE * 2 - 1) * REACH
    across, down = ((values[:, :, None] - axis).square_().unbind(1) for values in (x, y))  # M of [N, SIDE]
    nearest = torch.full((len(x), SIDE, SIDE), FARTHEST**2)
    squared = torch.empty_like(nearest)
    for columns, rows in zip(across, down):
        torch.add(rows[:, :, None], columns[:, None], out=squared)
        torch.minimum(nearest, squared, out=nearest)
    return (nearest.sqrt_().div_(-FARTHEST).add_(1) * 255).round().byte().numpy()
