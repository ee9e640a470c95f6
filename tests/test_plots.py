"""Plots: principal components against NumPy's eigenvectors, and what stands where in a picture."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from fakes import Shades, three_domains
from looking import view_of
from matplotlib.colors import to_rgb

from dataloader.dataset import Batch
from solvers.evaluation.evaluate import StyleSpace, look
from solvers.visualization.grids import GAP, component_grid, draw_grid
from solvers.visualization.plots import (
    empty_figure,
    loss_curves,
    loss_figure,
    principal_components,
    rendered,
    scatter,
    style_figure,
    style_space,
)


class Mixture(Shades):
    """Shades whose styles come from three components, which lie far apart."""

    components = 3

    def sample_style(self, count, domain, generator=None, component=None):
        if component is None:
            component = torch.randint(3, (count,), generator=generator)
        return (torch.full((count,), 0.0) + component - 1)[:, None, None].expand(count, 1, 2)

    def component_probabilities(self, image, domain):
        return torch.eye(3)[torch.full((len(image),), domain)]


def colour(number: int) -> tuple[int, ...]:
    """The colour of a group, as pixels have it."""
    return tuple(round(255 * value) for value in to_rgb(f"C{number}"))


def colours_in(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}


def around(picture: np.ndarray, axes, point: tuple[float, float]) -> set[tuple[int, ...]]:
    """The colours of the 3 x 3 pixels where a point in the axes' own units stands in the picture."""
    column, up = (int(value) for value in axes.transData.transform(point))
    row = len(picture) - 1 - up
    return colours_in(picture[row - 1 : row + 2, column - 1 : column + 2])


def test_principal_components_equal_numpys_eigenvectors():
    codes = np.random.default_rng(0).normal(size=(50, 6)) * np.arange(1, 7)
    found = principal_components(codes)
    values, vectors = np.linalg.eigh(np.cov(codes.T))
    for column, which in ((0, -1), (1, -2)):
        direction = vectors[:, which] * np.sign(vectors[np.abs(vectors[:, which]).argmax(), which])
        assert np.allclose(found[:, column], (codes - codes.mean(axis=0)) @ direction)
        assert np.isclose(found[:, column].var(ddof=1), values[which])


@pytest.mark.parametrize(
    ("codes", "places"),
    [
        ([[1.0], [3.0]], [[-1, 0], [1, 0]]),
        ([[3.0, 3.0], [3.0, 3.0], [3.0, 3.0]], [[0, 0]] * 3),
        ([[2.0, 5.0]], [[0, 0]]),
    ],
)
def test_codes_with_less_than_two_directions_have_zeros_for_the_rest(codes, places):
    assert np.allclose(principal_components(np.array(codes, np.float32)), places)


def test_points_stand_at_their_places_in_their_groups_colours():
    figure = empty_figure(1, 1)
    axes = figure.subplots()
    scatter(axes, np.array([[0.0, 0.0], [2.0, 4.0]]), np.array([0, 2]), ["a", "b", "c"])
    picture = rendered(figure)
    assert picture.dtype == np.uint8
    assert colour(0) in around(picture, axes, (0, 0)) and colour(2) in around(picture, axes, (2, 4))
    assert around(picture, axes, (2, 0)) == around(picture, axes, (1, 2)) == {(255, 255, 255)}
    (x0, y0), (x1, y1) = axes.transData.transform([(0, 0), (1, 1)])
    assert np.isclose(x1 - x0, y1 - y0)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a: 1", "c: 1"]


def test_a_curve_goes_through_its_points_and_its_title_has_the_last_value():
    rows = [{"iteration": n, "loss": value} for n, value in ((0, 0.0), (50, 1.0), (100, 0.25))]
    figure = loss_figure(rows)
    picture = rendered(figure)
    (axes,) = figure.axes
    for point in ((0, 0), (25, 0.5), (50, 1), (75, 0.625), (100, 0.25)):
        assert colour(0) in around(picture, axes, point), point
    assert around(picture, axes, (50, 0.5)) == {(255, 255, 255)}
    assert axes.get_title() == "loss  0.25" and axes.get_xlabel() == "iteration"


def test_loss_curves_have_a_panel_for_each_loss_that_any_row_has():
    rows = [{"iteration": n, "lr": 1.0, "a": n, **({"b": 1.0} if n > 3 else {})} for n in range(5)]
    assert [axes.get_title() for axes in loss_figure(rows).axes] == ["a  4", "b  1"]
    one_row = loss_curves(rows)
    rows[2] |= {"c": 1, "d": 2, "e": 3}
    assert len(loss_figure(rows).axes) == 5
    assert loss_curves(rows).shape == (2 * one_row.shape[0], 2 * one_row.shape[1], 3)
    assert loss_curves(rows[:1]) is None and loss_curves([{"iteration": 1, "lr": 1.0}] * 2) is None


def test_a_loss_that_only_one_row_has_is_a_dot():
    rows = [{"iteration": 1, "a": 1.0}, {"iteration": 2, "a": 2.0, "b": 3.0}]
    figure = loss_figure(rows)
    picture = rendered(figure)
    assert colour(0) in around(picture, figure.axes[1], (2, 3))


def encoded_styles(model, data):
    view = view_of(model, data, 4)
    space = StyleSpace(view)
    look(view, space)
    return space.codes()


def test_the_space_of_styles_shows_every_component_and_domain():
    data = three_domains()
    found = encoded_styles(Mixture(data.domains), data)
    picture = style_space(*found, data.domains, 3)
    for half in np.split(picture, 2, axis=1):
        assert {colour(0), colour(1), colour(2)} <= colours_in(half)
    legends = [
        [text.get_text() for text in axes.get_legend().get_texts()]
        for axes in style_figure(*found, data.domains, 3).axes
    ]
    assert legends == [["component 0: 5", "component 1: 9", "component 2: 7"], ["A: 5", "B: 9", "C: 7"]]


def test_the_encoded_styles_are_those_of_the_images():
    data = three_domains()
    styles, components = encoded_styles(Mixture(data.domains), data)
    images = data.at(*(np.arange(count) for count in (5, 9, 7))).images
    for domain, codes in enumerate(styles):
        assert np.array_equal(codes, images[domain][:, 0, 0, :2].numpy())
        assert set(components[domain]) == {domain} and len(components[domain]) == len(codes)


def test_matplotlib_is_loaded_only_when_a_plot_is_drawn():
    code = "import sys, solvers, solvers.gmvae_drit; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0


def test_a_component_has_a_row_with_its_own_style():
    data = three_domains()
    batch = data.at(*[np.arange(2)] * 3)
    picture = component_grid(Mixture(data.domains), Batch(batch.images, batch.labels), 0, 1, seed=0)
    step = 64 + GAP
    left, top = picture.shape[1] - 2 * step, picture.shape[0] - 4 * step
    for row, level in enumerate((0, 127.5, 255), 1):  # the style is the second channel
        cell = picture[top + row * step :, left:][:64, :64]
        assert np.abs(cell[:, :, 1].astype(float) - level).max() <= 1, row


def test_row_titles_move_the_cells_to_the_right_and_nothing_else():
    cell = torch.zeros(3, 64, 64)
    plain, titled = draw_grid([[cell]], ["a"]), draw_grid([[cell]], ["a"], row_titles=["component 0"])
    assert np.array_equal(titled[:, -plain.shape[1] + GAP :], plain[:, GAP:])
    assert (titled[:, : -plain.shape[1]] != 255).any()
