"""Plots as pictures: where styles lie, and how losses went."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from solvers.visualization.page import NOT_LOSSES

SIDE, EDGE, INK, PALE = 360, 26, (40, 40, 40), (215, 215, 215)
COLOURS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75))
COLOURS += ((227, 119, 194), (127, 127, 127), (188, 189, 34), (23, 190, 207))
IMAGES = 400  # of each domain, at most


def style_space(
    styles: Sequence[np.ndarray], components: Sequence[np.ndarray], domains: Sequence[str], kinds: int
) -> np.ndarray:
    """Styles [N, D] of each domain along the two directions in which they differ most: once coloured by the
    likeliest of `kinds` components [N] of the prior, once by domain. uint8 [H, W, 3]."""
    places = principal_components(torch.from_numpy(np.concatenate(styles)))
    by_component = [f"component {number}" for number in range(kinds)]
    of_domain = np.repeat(np.arange(len(domains)), [len(codes) for codes in styles])
    panels = (
        scatter(places, np.concatenate(components), by_component, "styles by component"),
        scatter(places, of_domain, domains, "styles by domain"),
    )
    return np.concatenate(panels, axis=1)


def principal_components(codes: Tensor, count: int = 2) -> np.ndarray:
    """[N, D] -> float64 [N, count], the codes along the directions of their greatest variance; columns that
    are too many are 0. Each direction's sign is such that its largest entry is positive."""
    codes = codes.double().cpu()
    codes = codes - codes.mean(dim=0)
    directions = torch.linalg.svd(codes, full_matrices=False).Vh[:count]
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    places = torch.zeros(len(codes), count, dtype=torch.float64)
    places[:, : len(directions)] = codes @ (directions * largest.sign()).T
    return places.numpy()


def scatter(places: np.ndarray, groups: np.ndarray, names: Sequence[str], title: str) -> np.ndarray:
    """Points [N, 2], each in the colour of its group [N], with a legend of the groups that occur: uint8
    [H, W, 3]."""
    canvas, pen, font = panel(title)
    x, y = (scaled(column) for column in places.T)
    for at_x, at_y, group in zip(x, 1 - y, groups):
        centre = EDGE + at_x * (SIDE - 2 * EDGE), EDGE + at_y * (SIDE - 2 * EDGE)
        box = [value + reach for reach in (-2, 2) for value in centre]
        pen.ellipse(box, fill=COLOURS[int(group) % len(COLOURS)])
    for row, group in enumerate(np.unique(groups)):
        words = f"{names[group]}: {(groups == group).sum()}"
        pen.text((EDGE + 4, EDGE + 4 + 13 * row), words, fill=COLOURS[int(group) % len(COLOURS)], font=font)
    return np.asarray(canvas)


def loss_curves(rows: Sequence[Mapping[str, Any]], across: int = 4) -> np.ndarray | None:
    """One panel for each loss in the rows of metrics.jsonl, over iterations: uint8 [H, W, 3]; None for less
    than two rows."""
    names = list(dict.fromkeys(name for row in rows for name in row if name not in NOT_LOSSES))
    if len(rows) < 2 or not names:
        return None
    panels = [curve(name, [(row["iteration"], row[name]) for row in rows if name in row]) for name in names]
    blank = np.full_like(panels[0], 255)
    panels += [blank] * (-len(panels) % across)
    starts = range(0, len(panels), across)
    return np.concatenate([np.concatenate(panels[start : start + across], axis=1) for start in starts])


def curve(name: str, points: Sequence[tuple[int, float]]) -> np.ndarray:
    """One loss over iterations, with its last value and the ends of both axes."""
    canvas, pen, font = panel(f"{name}  {points[-1][1]:.4g}")
    iterations, values = (np.array(column, float) for column in zip(*points))
    inner = SIDE - 2 * EDGE
    places = zip(EDGE + scaled(iterations) * inner, EDGE + (1 - scaled(values)) * inner)
    path = [tuple(place) for place in places]
    if len(path) > 1:
        pen.line(path, fill=COLOURS[0], width=2)
    low, high, first, last = values.min(), values.max(), iterations[0], iterations[-1]
    pen.text((EDGE + 3, EDGE + 2), f"{high:.4g}", fill=INK, font=font)
    pen.text((EDGE + 3, SIDE - EDGE - 14), f"{low:.4g}", fill=INK, font=font)
    pen.text((EDGE, SIDE - EDGE + 4), f"{first:.0f}", fill=INK, font=font)
    pen.text((SIDE - EDGE, SIDE - EDGE + 4), f"{last:.0f}", fill=INK, font=font, anchor="ra")
    return np.asarray(canvas)


def panel(title: str) -> tuple[Image.Image, ImageDraw.ImageDraw, ImageFont.FreeTypeFont]:
    """A white square with a frame and a title."""
    canvas = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=11)
    pen.rectangle((EDGE, EDGE, SIDE - EDGE, SIDE - EDGE), outline=PALE)
    pen.text((SIDE / 2, EDGE - 6), title, fill=INK, font=font, anchor="ms")
    return canvas, pen, font


def scaled(values: np.ndarray) -> np.ndarray:
    """Between 0, the least of the values, and 1, the greatest; 1/2 where all are equal."""
    span = values.max() - values.min()
    return (values - values.min()) / span if span > 0 else np.full(len(values), 0.5)
