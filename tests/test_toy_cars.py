"""Toy cars: the renderer against a ray caster, their .mat files, and whether cars and views differ."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from conftest import contents, killed
from PIL import Image
from scipy.io import loadmat

from dataloader import toy_cars
from dataloader.packed import DataError
from dataloader.toy_cars import build_mesh, draw_car, write_fleet
from dataloader.toy_renderer import DISTANCE, FIELD, SUPERSAMPLING, TARGET, Builder, render


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four toy cars at 16 x 16."""
    folder = tmp_path_factory.mktemp("cars") / "mat"
    write_fleet(folder, cars=4, size=16)
    return folder


def ray_cast(boxes: list[tuple], azimuth: float, elevation: float, size: int) -> np.ndarray:
    """Index of the box (-1: none) that each sample's ray meets first, by the slab method, one by one."""
    a, e = np.radians([azimuth, elevation])
    back = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.cross([0, 0, 1], back)
    right /= np.linalg.norm(right)
    up, eye = np.cross(back, right), np.array(TARGET) + DISTANCE * back
    steps = ((np.arange(size) + 0.5) / size - 0.5) * FIELD / DISTANCE
    first = np.full((size, size), -1)
    for row, v in enumerate(-steps):
        for column, u in enumerate(steps):
            ray, nearest = u * right + v * up - back, np.inf
            for index, (low, high) in enumerate(boxes):
                bounds = np.sort(
                    np.stack([(np.array(low) - eye) / ray, (np.array(high) - eye) / ray]), axis=0
                )
                enter, leave = bounds[0].max(), bounds[1].min()
                if enter <= leave and enter < nearest:
                    first[row, column], nearest = index, enter
    return first


@pytest.mark.parametrize(("azimuth", "elevation"), [(0.1, 8), (130, 30), (255, 38)])
def test_the_renderer_sees_what_a_ray_caster_sees(azimuth: float, elevation: float) -> None:
    boxes = [
        ((-1.4, -0.6, 0.2), (1.5, 0.7, 0.9)),
        ((0.1, -0.9, 0.1), (0.6, 0.2, 1.6)),
        ((-2, 0.8, 0), (-1, 1.2, 1)),
    ]
    colours = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    build = Builder()
    for (low, high), colour in zip(boxes, colours):
        corners = np.array(
            [[[(x, y, z) for z in (low[2], high[2])] for y in (low[1], high[1])] for x in (low[0], high[0])]
        )
        build.centre = corners.mean(axis=(0, 1, 2))
        for face in (
            corners[0],
            corners[1],
            corners[:, 0],
            corners[:, 1],
            corners[:, :, 0],
            corners[:, :, 1],
        ):
            build.add(face.reshape(4, 3)[[0, 1, 3, 2]], colour, glow=True)
    size = 16
    seen = render(build.mesh(), azimuth, elevation, size)

    samples = (
        np.array([*colours, (1, 1, 1)])[ray_cast(boxes, azimuth, elevation, size * SUPERSAMPLING)] * 255.0
    )
    expected = samples.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean(axis=(1, 3))
    one_sample = 255 / SUPERSAMPLING**2  # a ray along an edge may fall on either side
    wrong = np.abs(seen - expected).max(axis=2)
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 10
    assert wrong.max() <= one_sample + 1 and (wrong > 1).sum() <= 3


def test_a_car_is_the_same_whenever_it_is_drawn_and_another_with_another_seed() -> None:
    assert draw_car(7) == draw_car(7) and draw_car(7) != draw_car(7, seed=1)
    mesh = build_mesh(draw_car(7))
    np.testing.assert_array_equal(render(mesh, 30, 18, 16), render(build_mesh(draw_car(7)), 30, 18, 16))


def hues(number: int, azimuth: float, elevation: float) -> np.ndarray:
    """Shares of the hues among the coloured pixels of one view, blurred a little."""
    view = render(build_mesh(draw_car(number)), azimuth, elevation, 64)
    hue, saturation, value = np.asarray(Image.fromarray(view).convert("HSV")).reshape(-1, 3).astype(int).T
    counts = np.bincount(hue[(saturation > 80) & (value > 40)] // 6, minlength=43).astype(float)
    counts += (np.roll(counts, 1) + np.roll(counts, -1)) / 2
    return counts / counts.sum()


def test_the_test_cars_are_known_by_their_colours_from_every_side() -> None:
    numbers = range(192, 200)
    front = np.stack([hues(number, 0, 18) for number in numbers])
    for azimuth, elevation in ((75, 8), (180, 38), (285, 28)):
        view = np.stack([hues(number, azimuth, elevation) for number in numbers])
        alike = np.minimum(view[:, None], front).sum(axis=2).argmax(axis=1)
        np.testing.assert_array_equal(alike, np.arange(8))


def test_front_back_and_sides_of_a_car_differ() -> None:
    mesh = build_mesh(draw_car(9))
    views = [render(mesh, azimuth, 18, 32).astype(float) for azimuth in range(0, 360, 15)]
    for index, view in enumerate(views):
        others = [np.abs(view - other).mean() for k, other in enumerate(views) if k != index]
        assert min(others) > 1.5
    red = [((v[..., 0] > 180) & (v[..., 1] < 70) & (v[..., 2] < 70)).sum() for v in (views[0], views[12])]
    assert red[0] < red[1]  # brake lights are at the back


def test_mat_files_are_laid_out_as_the_original_ones(fleet: Path) -> None:
    names = [f"car_{number:03d}_mesh" for number in range(1, 5)]
    assert sorted(path.stem for path in fleet.glob("*.mat")) == names
    assert (fleet / "list.txt").read_text().split() == names
    im = loadmat(fleet / "car_002_mesh.mat")["im"]
    assert im.shape == (16, 16, 3, 24, 4) and im.dtype == np.uint8
    mesh = build_mesh(draw_car(2))
    for azimuth, elevation in ((0, 0), (5, 3), (23, 1)):
        expected = render(mesh, 15 * azimuth, toy_cars.ELEVATIONS[elevation], 16)
        np.testing.assert_array_equal(im[..., azimuth, elevation], expected)


def test_a_fleet_is_the_same_bytes_from_any_number_of_workers_and_is_made_once(
    fleet: Path, tmp_path: Path
) -> None:
    assert write_fleet(tmp_path / "other", cars=4, size=16, workers=2)
    assert contents(tmp_path / "other") == contents(fleet)
    assert not write_fleet(tmp_path / "other", cars=4, size=16)
    assert write_fleet(tmp_path / "other", cars=1, size=8)
    assert len(list((tmp_path / "other").glob("*.mat"))) == 1


def test_a_fleet_never_takes_the_place_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match="something else"):
        write_fleet(tmp_path, cars=1, size=8)
    with pytest.raises(DataError, match="--cars 0"):
        write_fleet(tmp_path / "new", cars=0)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_fleet_that_was_killed_leaves_none_and_renders_again_to_the_same_bytes(
    fleet: Path, tmp_path: Path
) -> None:
    def victim() -> None:
        toy_cars.tqdm = lambda items, *_, **__: (os.kill(os.getpid(), signal.SIGKILL) for _ in items)
        write_fleet(tmp_path / "mat", cars=4, size=16)

    assert killed(victim) == -signal.SIGKILL
    assert not (tmp_path / "mat").exists()
    assert write_fleet(tmp_path / "mat", cars=4, size=16)
    assert contents(tmp_path / "mat") == contents(fleet)
