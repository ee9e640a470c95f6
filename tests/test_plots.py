"""Plots: principal components against NumPy's eigenvectors, and what stands where in a picture."""

import numpy as np
import torch
from fakes import Shades, three_domains

from dataloader.dataset import Batch
from solvers.visualization.grids import GAP, component_grid, draw_grid
from solvers.visualization.plots import (
    COLOURS,
    EDGE,
    SIDE,
    curve,
    loss_curves,
    principal_components,
    scatter,
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


def test_principal_components_equal_numpys_eigenvectors():
    codes = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7)
    found = principal_components(codes)
    values, vectors = np.linalg.eigh(np.cov(codes.double().numpy().T))
    for column, which in ((0, -1), (1, -2)):
        expected = (codes.double().numpy() - codes.double().numpy().mean(axis=0)) @ vectors[:, which]
        assert np.allclose(np.abs(found[:, column]), np.abs(expected))
        assert np.isclose(found[:, column].var(ddof=1), values[which])
    assert principal_components(torch.tensor([[1.0], [3.0]])).tolist() == [[-1, 0], [1, 0]]


def test_points_stand_at_their_places_in_their_groups_colours():
    picture = scatter(np.array([[0.0, 0.0], [2.0, 4.0]]), np.array([0, 2]), ["a", "b", "c"], "title")
    assert picture.shape == (SIDE, SIDE, 3)
    assert tuple(picture[SIDE - EDGE, EDGE]) == COLOURS[0] and tuple(picture[EDGE, SIDE - EDGE]) == COLOURS[2]


def test_a_curve_goes_through_its_points():
    picture = curve("loss", [(0, 0.0), (50, 1.0), (100, 0.0)])
    middle, quarter = SIDE // 2, EDGE + (SIDE - 2 * EDGE) // 4
    for row, column in ((EDGE + 1, middle), (middle, quarter), (middle, SIDE - quarter)):
        near = picture[row - 3 : row + 4, column - 3 : column + 4].reshape(-1, 3).tolist()
        assert list(COLOURS[0]) in near


def test_loss_curves_have_a_panel_for_each_loss_that_any_row_has():
    rows = [{"iteration": n, "lr": 1.0, "a": n, **({"b": 1.0} if n > 1 else {})} for n in range(5)]
    assert loss_curves(rows).shape == (SIDE, 4 * SIDE, 3)
    rows[2] |= {"c": 1, "d": 2, "e": 3}
    assert loss_curves(rows).shape == (2 * SIDE, 4 * SIDE, 3)
    assert loss_curves(rows[:1]) is None


def test_the_space_of_styles_shows_every_component_and_domain():
    data = three_domains()
    picture = style_space(Mixture(data.domains), data, 4, torch.device("cpu"))
    assert picture.shape == (SIDE, 2 * SIDE, 3)
    for half in (picture[:, :SIDE], picture[:, SIDE:]):
        colours = {tuple(pixel) for pixel in half.reshape(-1, 3).tolist()}
        assert set(COLOURS[:3]) <= colours


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
