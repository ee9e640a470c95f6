"""Styles between styles, read back from the pixels of strips and GIFs."""

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from fakes import Shades, three_domains

from solvers.visualization import interpolation
from solvers.visualization.grids import GAP, every_domain_grid
from solvers.visualization.interpolation import (
    FRAMES,
    STEPS,
    Ends,
    interpolation_frames,
    interpolation_strip,
    random_ends,
    reference_ends,
    save_gif,
)
from solvers.visualization.pictures import fixed_batch, style_ends

CPU = torch.device("cpu")
CELL = 64 + GAP


def byte(value: float) -> int:
    return round((min(max(value, -1), 1) + 1) * 127.5)


def middle(picture: np.ndarray, row: int, column: int, rows: int) -> list[int]:
    """The colour in the middle of a cell."""
    top = picture.shape[0] - rows * CELL
    return picture[top + row * CELL + 32, GAP + column * CELL + 32].tolist()


@pytest.fixture
def shades():
    return Shades(("A", "B", "C")), fixed_batch(three_domains(), CPU, 4)


def near(found: list[int], *values: float) -> bool:
    return all(abs(a - byte(value)) <= 1 for a, value in zip(found, values, strict=True))


def test_a_strip_goes_straight_from_one_style_to_the_other_with_the_content_of_its_row(shades):
    model, batch = shades
    ends = random_ends(model, 1, seed=3)
    first, last = model.sample_style(2, 1, torch.Generator().manual_seed(3))[:, 0, 0].tolist()
    assert abs(first - last) > 0.1
    picture = interpolation_strip(model, batch, 0, 1, ends, rows=3)
    for row in range(3):
        content = float(batch.images[0][row].mean())
        for step in range(STEPS):
            style = first + (last - first) * step / (STEPS - 1)
            assert near(middle(picture, row, 1 + step, 3), content, style, 0.25)


def test_references_stand_above_the_ends_whose_styles_they_give(shades):
    model, batch = shades
    ends = reference_ends(model, batch, 2)
    picture = interpolation_strip(model, batch, 0, 2, ends, rows=2)
    for column, image in ((1, batch.images[2][0]), (STEPS, batch.images[2][-1])):
        assert near(middle(picture, 0, column, 3), *image[:, 16, 16].tolist())
        assert near(middle(picture, 1, column, 3)[1:2], float(image[0, 0, 0]))
    assert middle(picture, 0, 3, 3) == [255, 255, 255]


def test_a_gif_goes_there_and_back_and_repeats_for_ever(shades, tmp_path):
    model, batch = shades
    ends = Ends(torch.full((1, 1, 2), -0.9), torch.full((1, 1, 2), 0.9))
    frames = interpolation_frames(model, batch, 1, 0, ends, columns=3)
    shown = [middle(frame, 1, 2, 2)[1] for frame in frames]
    there = [byte(-0.9 + 1.8 * step / (FRAMES - 1)) for step in range(FRAMES)]
    assert len(frames) == 2 * FRAMES - 2
    assert np.abs(np.subtract(shown, there + there[-2:0:-1])).max() <= 1
    path = tmp_path / "a.gif"
    save_gif(frames, path)
    read = imageio.imread(path, index=None)
    assert read.shape == (len(frames), *frames[0].shape)
    assert np.abs(read[:, -32, GAP + 32].astype(int) - np.stack(frames)[:, -32, GAP + 32]).max() <= 12
    assert imageio.immeta(path)["loop"] == 0
    assert [file.name for file in tmp_path.iterdir()] == ["a.gif"]


def test_a_gif_that_cannot_be_finished_leaves_the_one_before_and_no_other_file(shades, tmp_path, monkeypatch):
    path = tmp_path / "a.gif"
    path.write_bytes(b"before")

    def fail(part, *_, **__):
        part.write_bytes(b"half")
        raise OSError("no space")

    monkeypatch.setattr(interpolation.imageio, "imwrite", fail)
    with pytest.raises(OSError, match="no space"):
        save_gif([np.zeros((8, 8, 3), np.uint8)], path)
    assert path.read_bytes() == b"before" and [file.name for file in tmp_path.iterdir()] == ["a.gif"]


def test_large_pictures_are_reduced_in_a_gif(monkeypatch):
    monkeypatch.setattr(interpolation, "LARGEST", 8)
    images = torch.rand(2, 3, 32, 32)
    want = images.view(2, 3, 8, 4, 8, 4).mean(dim=(3, 5))
    assert torch.allclose(interpolation.small(images), want, atol=1e-6)


def test_every_image_is_shown_in_every_domain_with_one_style_in_a_column(shades):
    model, batch = shades
    picture = every_domain_grid(model, batch, seed=4, side=2)
    assert picture.shape[1] == GAP + 4 * CELL
    for source in range(3):
        for number in range(2):
            image = batch.images[source][number]
            row = source * 2 + number
            assert near(middle(picture, row, 0, 6), *image[:, 16, 16].tolist())
            for target in range(3):
                style = float(model.sample_style(1, target, torch.Generator().manual_seed(4))[0, 0, 0])
                assert near(middle(picture, row, 1 + target, 6), float(image.mean()), style, target / 4)


def test_a_model_without_a_prior_takes_the_styles_of_references(shades):
    model, batch = shades
    model.has_style_prior = False
    assert set(style_ends(model, batch, 1, 0)) == {"references"}
    picture = every_domain_grid(model, batch, seed=0, side=1)
    assert near(middle(picture, 0, 2, 3)[1:2], float(batch.images[1][-1][0, 0, 0]))
    model.has_style = False
    assert style_ends(model, batch, 1, 0) == {}
