"""Edges: made once of scikit-learn's photographs, with no pixel in both splits; lines where edges are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import check_killed_anywhere, contents
from sklearn.datasets import load_sample_images

from dataloader import DataError, edges
from dataloader.edges import find_edges, open_edges


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("edges") / "Edges"


def test_it_makes_itself_once_and_shows_lines_and_photographs_at_any_size(folder, monkeypatch):
    train, test = (open_edges(folder, split, 64) for split in ("train", "test"))
    assert (train.streams, test.streams) == ((400,), (60,))
    assert train.domains == ("x", "y") and train.paired
    with monkeypatch.context() as patched:
        patched.setattr(edges, "draw_pairs", None)
        again = open_edges(folder, "test", (32, 48), direction="BtoA")
    y, x = again.at(np.arange(4)).images
    assert x.shape == y.shape == (4, 3, 32, 48)
    assert torch.equal(x[:, 0], x[:, 1]) and torch.equal(x[:, 0], x[:, 2])  # lines have no colour
    lines = test.pairs[..., :3]
    assert set(np.unique(lines)) == {0, 255}
    share = (lines[..., 0] == 0).mean(axis=(1, 2))
    assert share.min() > 0.02 and share.max() < 0.3


def test_training_and_test_patches_share_no_pixel(monkeypatch, tmp_path):
    """Each photograph's pixels are marked by their column; patches are only cut, not resized."""
    marked = [np.zeros((427, 640, 3), np.uint8) for _ in range(2)]
    for picture in marked:
        picture[:, np.arange(640) % 8 < 4, 1] = 200  # stripes: edges everywhere
        picture[..., 0], picture[..., 2] = np.arange(640) // 4, np.arange(640) % 4
    monkeypatch.setattr("sklearn.datasets.load_sample_images", lambda: type("", (), {"images": marked}))
    monkeypatch.setattr(edges, "PATCHES", (128, 128))
    monkeypatch.setattr(edges, "COUNTS", {"train": 20, "test": 20})
    seen = {}
    for split in ("train", "test"):
        pairs = open_edges(tmp_path / "set", split, 64).pairs.astype(int)
        for part in range(2):
            seen[split, part] = set(np.unique(pairs[part::2, ..., 3] * 4 + pairs[part::2, ..., 5]))
    for part in range(2):
        assert seen["train", part] and seen["test", part]
        assert not seen["train", part] & seen["test", part]


def test_the_edge_of_a_disc_is_a_thin_closed_circle():
    down, right = np.mgrid[:64, :64] - 31.5
    radius = np.hypot(down, right)
    picture = np.where(radius < 20, 200, 100).astype(np.uint8)[..., None].repeat(3, axis=2)
    found = find_edges(picture)
    assert np.abs(radius[found] - 20).max() < 1.5
    angles = np.degrees(np.arctan2(down, right)[found]).round() % 360
    assert np.diff(np.sort(angles)).max() < 6  # a pixel of the circle is three degrees
    assert found.sum() < 2 * 2 * np.pi * 20


def test_a_flat_picture_and_a_faint_slope_have_no_edges():
    assert not find_edges(np.full((64, 64, 3), 90, np.uint8)).any()
    assert not find_edges(np.arange(64, dtype=np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)).any()


def test_patches_are_windows_of_scikit_learns_photographs(monkeypatch, tmp_path):
    monkeypatch.setattr(edges, "PATCHES", (128, 128))
    monkeypatch.setattr(edges, "COUNTS", {"train": 6, "test": 6})
    for split in ("train", "test"):
        for number, pair in enumerate(open_edges(tmp_path / "set", split, 64).pairs):
            photograph, patch = load_sample_images().images[number % 2], pair[..., 3:]
            places = np.argwhere((photograph == patch[0, 0]).all(axis=2))
            cuts = (photograph[top : top + 128, left : left + 128] for top, left in places)
            assert any(np.array_equal(cut, patch) for cut in cuts)


def test_killed_at_any_moment_it_is_made_again_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(edges, "COUNTS", {"train": 2, "test": 2})

    def make(target: Path) -> int:
        if not target.exists():
            edges.pack_edges(target)
        return 0

    check_killed_anywhere(make, tmp_path)


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="holds something else than Edges"):
        open_edges(tmp_path, "train", 64)
    assert contents(tmp_path) == {"file": b"mine"}
