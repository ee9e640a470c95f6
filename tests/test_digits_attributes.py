"""Digits-Attributes: what it holds, how it is drawn, and that its attributes can be measured in pictures."""

import shutil

import numpy as np
import pytest
import torch
from conftest import contents
from scipy import ndimage
from sklearn.datasets import load_digits
from test_colour_modes import write_idx

from dataloader import DataError
from dataloader.digits_attributes import (
    ATTRIBUTES,
    BACKGROUNDS,
    HEIGHTS,
    INKS,
    RADII,
    SLOPES,
    draw_kinds,
    open_digits_attributes,
    render,
)
from dataloader.held_out import hold_out
from dataloader.skeletons import FARTHEST, REACH, SIDE, middle_lines, stroke_fields


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("attributes") / "Digits-Attributes"


def truth(labels):
    return torch.stack([labels[name] for name in ATTRIBUTES], dim=1)


def whole(dataset):
    batch = dataset.at(np.arange(len(dataset)))
    return batch.images[0], batch.labels[0]


def test_it_makes_itself_of_digits_once_and_its_splits_share_no_digit(folder):
    train, test = (open_digits_attributes(folder, split, 32) for split in ("train", "test"))
    before = contents(folder)
    assert open_digits_attributes(folder, "test", 32).streams == test.streams
    assert contents(folder) == before
    assert (train.streams, test.streams, train.domains) == ((8 * 1437,), (360,), ("digits",))
    seen, tested = ({field.tobytes() for field in split.fields} for split in (train, test))
    assert len(seen) == 1437 and len(seen & tested) <= 1  # scikit-learn's digits have a pair alike
    (groups,) = train.groups()
    assert np.bincount(groups).tolist() == [8] * 1437
    first, ninth = train.at(np.array([5])), train.at(np.array([5 + 1437]))
    assert first.labels[0]["digit"] == ninth.labels[0]["digit"] and groups[5] == groups[5 + 1437]
    rest, held_out = hold_out(train, 0.1)
    assert rest.measures_attributes and rest.attributes == held_out.attributes == ATTRIBUTES
    assert rest.exclusive_attributes == ((0, 1, 2),)
    images, labels = whole(held_out)
    assert torch.equal(held_out.attributes_of(images), train.attributes_of(images))
    assert truth(labels).shape == (len(held_out), 7)


def test_attributes_are_uniform_independent_and_a_function_of_split_and_index(folder):
    train = open_digits_attributes(folder, "train", 32)
    kinds = draw_kinds(20_000, "train")
    assert np.array_equal(kinds[: len(train)], train.kinds)  # whatever the number of images
    assert not np.array_equal(kinds[:360], draw_kinds(360, "test"))
    assert np.abs(np.bincount(kinds, minlength=48) / 20_000 - 1 / 48).max() < 0.004
    labels = train.at(np.arange(len(train))[:4000]).labels[0]
    known = truth(labels).double().numpy()
    assert known.dtype == float and labels["thick"].dtype == torch.int64
    assert (known[:, :3].sum(axis=1) == 1).all()
    others = np.corrcoef(np.column_stack([known[:, [0, 3, 4, 5, 6]], labels["digit"] % 2]).T)
    assert np.abs(others - np.eye(6)).max() < 0.06


@pytest.mark.parametrize("size", [32, 64, (48, 64)])
def test_pixels_alone_tell_the_attributes_of_every_test_image(folder, size):
    test = open_digits_attributes(folder, "test", size)
    images, labels = whole(test)
    right = (test.attributes_of(images) == truth(labels)).double().mean(dim=0)
    assert right[:4].tolist() == [1] * 4 and right.min() > 0.99
    assert images.shape[2:] == torch.Size(test.size) and images.abs().max() <= 1


def test_a_picture_is_what_its_attributes_say_measured_in_another_way(folder):
    """Strokes' width by scipy's distances to the background, slant and size by the pixels that are ink."""
    test = open_digits_attributes(folder, "test", 128)
    fields = torch.from_numpy(np.array(test.fields[:24]))
    for thick in (0, 1):
        for slanted, large in ((0, 0), (1, 1)):
            attributes = torch.tensor([[0, 1, 0, 1, thick, slanted, large]]).expand(24, -1)
            images = (render(fields, attributes, 128) + 1) / 2
            inked = (images[:, 0] < (INKS[1, 0] + BACKGROUNDS[1, 0]) / 2).numpy()
            for mask in inked:
                radius = np.median(ndimage.distance_transform_edt(mask)[middle_lines(mask[None])[0]]) / 128
                assert radius == pytest.approx(RADII[thick], rel=0.3)
                rows, columns = np.nonzero(mask)
                high = (rows.max() + 1 - rows.min()) / 128 - 2 * RADII[thick]
                assert high == pytest.approx(HEIGHTS[large], rel=0.05)
                slope = -np.polyfit(rows, columns, 1)[0]
                assert slope == pytest.approx(SLOPES[slanted], abs=0.12)
            inner = torch.from_numpy(np.stack([ndimage.binary_erosion(mask, iterations=2) for mask in inked]))
            pure = (images.movedim(1, 3)[inner] - INKS[1]).abs().amax(dim=1) < 1e-5
            assert pure.double().mean() > 0.99  # all but where two strokes nearly meet
            assert torch.allclose(images[:, :, 0, 0], BACKGROUNDS[1].expand(24, -1), atol=1e-6)


def test_changing_one_attribute_changes_what_it_says_and_nothing_else(folder):
    test = open_digits_attributes(folder, "test", 64)
    raw = test.read(np.arange(100))
    known = truth(test.render(raw).labels[0])
    for number in range(3, 7):
        asked = known.clone()
        asked[:, number] = 1 - asked[:, number]
        found = test.attributes_of(render(raw["fields"], asked, 64))
        assert (found == asked).double().mean(dim=0).min() >= 0.98


def test_fields_are_distances_to_the_middle_line():
    """Of a straight bar, whose middle line is known, by geometry."""
    bars = np.zeros((2, 28, 28), np.uint8)
    bars[0, 4:24, 12:16] = 255  # upright
    for row in range(4, 24):
        bars[1, row, 20 - row // 2 : 24 - row // 2] = 200  # leaning, which is undone
    axis = ((np.arange(SIDE) + 0.5) / SIDE * 2 - 1) * REACH
    x, y = np.meshgrid(axis, axis)
    distance = np.hypot(x, np.maximum(np.abs(y) - 0.5, 0))
    expected = 255 * (1 - np.minimum(distance / FARTHEST, 1))
    for field, tolerance in zip(stroke_fields(bars), (8, 40)):
        assert np.abs(field - expected).max() < tolerance


def test_thinning_keeps_pieces_and_holes_and_leaves_lines_of_one_pixel():
    pictures = load_digits().images[:40].repeat(6, axis=1).repeat(6, axis=2)
    masks = np.pad(pictures > 6, ((0, 0), (2, 2), (2, 2)))
    for mask, line in zip(masks, middle_lines(masks)):
        assert (line <= mask).all()
        for pixels, structure in ((lambda a: a, np.ones((3, 3))), (lambda a: ~a, None)):
            assert ndimage.label(pixels(mask), structure)[1] == ndimage.label(pixels(line), structure)[1]
        assert not ndimage.binary_erosion(line, np.ones((3, 3))).any()


def test_mnists_files_are_read_from_a_cache_made_once_and_other_folders_are_refused(tmp_path):
    digits = np.round(load_digits().images[:14].repeat(3, axis=1).repeat(3, axis=2) * 15.9).astype(np.uint8)
    for name, some in (("train", slice(0, 9)), ("t10k", slice(9, 14))):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte", np.pad(digits[some], ((0, 0), (2, 2), (2, 2))))
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte", load_digits().target[some].astype(np.uint8))
    train, test = (open_digits_attributes(tmp_path, split, 32) for split in ("train", "test"))
    assert (train.streams, test.streams) == ((9,), (5,))
    assert whole(test)[1]["digit"].tolist() == load_digits().target[9:14].tolist()
    before = contents(tmp_path)
    again = open_digits_attributes(tmp_path, "train", 32)
    assert contents(tmp_path) == before and np.array_equal(again.fields, train.fields)
    shutil.rmtree(tmp_path / ".packed")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("")
    with pytest.raises(DataError, match="holds something else than Digits-Attributes"):
        open_digits_attributes(tmp_path / "other", "train", 32)


def test_an_empty_picture_has_no_shape_and_raises_nothing(folder):
    test = open_digits_attributes(folder, "test", 32)
    found = test.attributes_of(torch.ones(2, 3, 32, 32))
    assert found[:, 3:].tolist() == [[1, 0, 0, 0]] * 2 and (found[:, :3].sum(dim=1) == 1).all()
