"""Pictures for people: labelled grids of images, made by any Translator through its four verbs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dataloader.dataset import Batch
from models.translator import Translator
from solvers.run.shortage import whole

GAP, BACKGROUND, INK = 4, (255, 255, 255), (40, 40, 40)
SMALLEST = 64  # where the shorter side is smaller, images are enlarged to at least this, pixel by pixel


def draw_grid(
    rows: Sequence[Sequence[Tensor | None]],
    columns: Sequence[str],
    side_label: str = "",
    row_titles: Sequence[str] = (),
) -> np.ndarray:
    """Rows of images [3, h, w] in [-1, 1], all of one size (None leaves a cell empty), under column titles,
    and beside row titles where there are any -> uint8 [H, W, 3]."""
    height, width = next(cell.shape[1:] for row in rows for cell in row if cell is not None)
    times = max(1, -(-SMALLEST // min(height, width)))
    high, wide = height * times, width * times
    font = ImageFont.load_default(size=max(11, min(16, wide // 6)))
    titles = [wrap(title, font, wide) for title in columns]
    line = font.getbbox("Ag")[3] + 2
    top = line * max(len(lines) for lines in titles) + 2 * GAP + (line if side_label else 0)
    down, across = high + GAP, wide + GAP
    left = GAP + max((int(font.getlength(title)) + 2 * GAP for title in row_titles), default=0)
    canvas = Image.new("RGB", (left + across * len(columns), top + down * len(rows)), BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    if side_label:
        pen.text((GAP, GAP // 2), side_label, fill=INK, font=font)
    for column, lines in enumerate(titles):
        for number, text in enumerate(reversed(lines)):
            centre = left + column * across + wide / 2
            pen.text((centre, top - GAP - number * line), text, fill=INK, font=font, anchor="ms")
    for y, title in enumerate(row_titles):
        pen.text((GAP, top + y * down + high / 2), title, fill=INK, font=font, anchor="lm")
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            if cell is not None:
                picture = Image.fromarray(to_uint8(cell)).resize((wide, high), Image.Resampling.NEAREST)
                canvas.paste(picture, (left + x * across, top + y * down))
    return np.asarray(canvas)


def wrap(title: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The title in as many lines as it needs to stay as narrow as its column, broken between words."""
    lines: list[str] = []
    for word in title.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def to_uint8(image: Tensor) -> np.ndarray:
    """[3, H, W] in [-1, 1] -> uint8 [H, W, 3]."""
    return ((image.float().clamp(-1, 1) + 1) * 127.5).round().byte().movedim(0, 2).cpu().numpy()


def save_png(picture: np.ndarray, path: Path) -> None:
    """Write a picture whole or not at all. It is packed as tightly as is quick: the tightest takes up to
    thirty times as long, and saves at most 5 %."""
    with whole(path, path.with_suffix(".part"), durable=False) as part:
        Image.fromarray(picture).save(part, format="PNG", compress_level=4)


@torch.no_grad()
def translation_grid(
    model: Translator, batch: Batch, source: int, target: int, seed: int, randoms: int, paired: bool
) -> np.ndarray:
    """One row per image of `source`: it, its reconstruction, its translation with the style of the image of
    `target` in its row, with `randoms` styles drawn from the prior (the same down a column), and that image
    of `target`. What the model has not is left out; of a model without styles, there is one translation."""
    images, references = batch.images[source], batch.images[target]
    count = min(len(images), len(references))
    images, references = images[:count], references[:count]
    here, there = model.domains[source], model.domains[target]
    columns: dict[str, Tensor] = {f"{here} (input)": images}
    content = model.encode_content(images, source)
    if model.rebuilds(source):
        columns["reconstruction"] = model.decode(content, model.own_style(images, source), source)
    if model.has_style:
        whose = f"{there}'s own style" if paired else "reference's style"
        columns[f"with {whose}"] = model.decode(content, model.encode_style(references, target), target)
    if model.has_style_prior:
        styles = model.sample_style(randoms, target, torch.Generator().manual_seed(seed))
        for number, style in enumerate(styles, 1):
            columns[f"random style {number}"] = model.decode(
                content, style.expand(count, *style.shape), target
            )
    if not model.takes_style:
        columns[f"as {there}"] = model.decode(content, None, target)
    columns[f"{there} (truth)" if paired else f"{there} (reference)"] = references
    rows = list(zip(*columns.values()))
    return draw_grid(rows, list(columns), f"{here} to {there}")


@torch.no_grad()
def component_grid(model: Translator, batch: Batch, source: int, target: int, seed: int) -> np.ndarray:
    """The images of `source`, and under them a row for each component of the prior of styles: their
    translations with one style drawn from that component."""
    images = batch.images[source]
    content = model.encode_content(images, source)
    rows: list[Sequence[Tensor | None]] = [list(images)]
    for component in range(model.components):
        style = model.sample_style(1, target, torch.Generator().manual_seed(seed), component=component)
        rows.append(list(model.decode(content, style.expand(len(images), *style.shape[1:]), target)))
    here, there = model.domains[source], model.domains[target]
    names = [f"{here} (input)", *(f"component {number}" for number in range(model.components))]
    return draw_grid(rows, [""] * len(images), f"{here} to {there}", names)


@torch.no_grad()
def every_domain_grid(model: Translator, batch: Batch, seed: int, side: int = 3) -> np.ndarray:
    """One row for each of the first `side` images of every domain: the image, then shown in every domain. A
    column has one style, drawn from the prior, or of an image of its domain where the model has no prior."""
    styles = []
    for domain in range(len(model.domains)):
        if model.has_style_prior:
            styles.append(model.sample_style(1, domain, torch.Generator().manual_seed(seed)))
        else:
            styles.append(model.encode_style(batch.images[domain][-1:], domain))
    rows: list[list[Tensor | None]] = []
    for source, images in enumerate(batch.images):
        images = images[:side]
        content = model.encode_content(images, source)
        made = [
            model.decode(content, style.expand(len(images), *style.shape[1:]), target)
            for target, style in enumerate(styles)
        ]
        rows += zip(images, *made)
    return draw_grid(
        rows, ["input", *(f"as {name}" for name in model.domains)], "every image in every domain"
    )


@torch.no_grad()
def transfer_grid(model: Translator, batch: Batch, source: int, target: int, side: int = 8) -> np.ndarray:
    """A matrix: the content of each row's image of `source` with the style of each column's image of
    `target`."""
    contents, styles = batch.images[source][:side], batch.images[target][-side:]
    here, there = model.domains[source], model.domains[target]
    style_codes = model.encode_style(styles, target)
    rows: list[list[Tensor | None]] = [[None, *styles]]
    for image in contents:
        content = model.encode_content(image[None], source)
        made = model.decode(content.expand(len(styles), *content.shape[1:]), style_codes, target)
        rows.append([image, *made])
    titles = [f"{here}: content", *(f"{there}: style" for _ in styles)]
    return draw_grid(rows, titles, f"content of {here}, style of {there}")
