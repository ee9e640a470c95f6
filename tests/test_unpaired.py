"""Unpaired data: reading, cropping, flipping and resizing whole batches, each against PIL or a loop."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from dataloader.loader import TrainLoader
from dataloader.packed import DataError
from dataloader.resampling import resample
from dataloader.unpaired import (
    Unpaired,
    gathered,
    random_crop_and_flip,
    random_resized_crop_and_flip,
    windows,
)

LEVEL = 2 / 255  # of an 8-bit picture, in [-1, 1]


def photographs(count: int, size: int, first: int = 0) -> np.ndarray:
    """Squares cut from scikit-learn's photographs, uint8 [count, size, size, 3]."""
    photos = load_sample_images().images
    starts = [(7 * (index + first) % 200, 11 * (index + first) % 400) for index in range(count)]
    return np.stack(
        [photos[index % 2][top:, left:][:size, :size] for index, (top, left) in enumerate(starts)]
    )


@pytest.fixture
def pictures() -> dict[str, np.ndarray]:
    return {"A": photographs(5, 40), "B": photographs(7, 40, 50), "C": photographs(3, 40, 90)}


def floats(pictures: np.ndarray) -> Tensor:
    return torch.tensor(pictures).movedim(3, 1).float() / 127.5 - 1


def windows_of(image: np.ndarray, size: int) -> dict[bytes, tuple[int, int, bool]]:
    """Every crop of a picture, mirrored and not: where it is from."""
    found = {}
    for top in range(image.shape[0] - size + 1):
        for left in range(image.shape[1] - size + 1):
            crop = image[top : top + size, left : left + size]
            found[crop.tobytes()] = (top, left, False)
            found[crop[:, ::-1].tobytes()] = (top, left, True)
    return found


def by_pil(image: np.ndarray, box: tuple[int, ...], size: int) -> np.ndarray:
    """A window (left, top, right, bottom) resized, [3, size, size] in [-1, 1]."""
    cut = Image.fromarray(image).crop(box).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(cut).transpose(2, 0, 1) / 127.5 - 1


# Reading


def test_each_domain_has_its_own_length_and_is_read_by_its_own_index(pictures):
    labels = {"B": {"digit": np.arange(7, dtype=np.uint8)}}
    dataset = Unpaired(pictures, 40, labels=labels)
    assert dataset.streams == (5, 7, 3) and len(dataset) == 7 and not dataset.paired
    assert dataset.domains == ("A", "B", "C")
    indices = (np.array([4, 0]), np.array([6, 6]), np.array([1, 2]))
    batch = dataset.at(*indices)
    for images, domain, index in zip(batch.images, "ABC", indices):
        assert images.shape == (2, 3, 40, 40) and images.dtype == torch.float32
        assert torch.equal(images, floats(pictures[domain][index]))
    assert [list(known) for known in batch.labels] == [[], ["digit"], []]
    assert batch.labels[1]["digit"].tolist() == [6, 6] and batch.labels[1]["digit"].dtype == torch.int64


def test_memory_mapped_pictures_are_read_without_loading_the_rest(pictures, tmp_path):
    np.save(tmp_path / "A.npy", pictures["A"])
    mapped = np.load(tmp_path / "A.npy", mmap_mode="r")
    batch = Unpaired({"A": mapped, "B": pictures["B"]}, 40).at(np.array([3]), np.array([0]))
    assert torch.equal(batch.images[0], floats(pictures["A"][[3]]))


def test_the_loader_draws_all_domains_evenly_and_the_same_batch_when_resumed(pictures):
    loader = TrainLoader(Unpaired(pictures, 40), 4, 0, torch.device("cpu"), workers=0)
    seen = [loader.batch(raw) for _, raw in loader.iterate(0, 5)]
    assert all([len(images) for images in batch.images] == [4, 4, 4] for batch in seen)
    (again,) = (raw for _, raw in loader.iterate(3, 4))
    assert all(torch.equal(again[name], value) for name, value in loader.raw(4).items())


def test_what_makes_no_unpaired_data_is_refused(pictures):
    for wrong, size, reason in (
        ({"A": pictures["A"]}, None, "one domain"),
        ({"A": pictures["A"], "B": pictures["B"][:0]}, None, "domain B holds no pictures"),
        (pictures, 32, "load_size 32 is below"),
    ):
        with pytest.raises(DataError, match=reason):
            Unpaired(wrong, 40, load_size=size)


# Crop and flip


def test_training_crops_and_mirrors_each_picture_on_its_own(pictures):
    dataset = Unpaired(pictures, 33, load_size=40)
    torch.manual_seed(0)
    index = np.zeros(200, int)
    batch = dataset.render(dataset.read(index, index, index), training=True)
    for images, domain in zip(batch.images, "ABC"):
        windows = windows_of(pictures[domain][0], 33)
        pixels = ((images + 1) * 127.5).round().byte().movedim(1, 3).numpy()
        where = [windows[picture.tobytes()] for picture in pixels]  # a KeyError is a crop from nowhere
        for axis in (0, 1):
            counts = np.bincount([place[axis] for place in where], minlength=8)
            assert len(counts) == 8 and counts.min() >= 8  # 25 expected, standard deviation 4.7
        assert 70 < sum(mirrored for *_, mirrored in where) < 130


def test_without_flip_nothing_is_mirrored(pictures):
    crops = random_crop_and_flip(torch.tensor(pictures["A"][[0] * 50]), 36, flip=False).numpy()
    windows = windows_of(pictures["A"][0], 36)
    assert not any(windows[crop.tobytes()][2] for crop in crops)


@pytest.mark.parametrize("cut", [windows, gathered])  # how a CPU and how a GPU does it
def test_each_window_is_a_slice_of_its_picture(pictures, cut):
    stack = torch.tensor(pictures["A"])
    top, left, mirrored = (
        torch.tensor([0, 4, 9, 2, 7]),
        torch.tensor([9, 0, 3, 1, 6]),
        torch.arange(5) % 2 == 0,
    )
    for index, window in enumerate(cut(stack, top, left, mirrored, 31).numpy()):
        t, l = int(top[index]), int(left[index])  # noqa: E741
        expected = pictures["A"][index][t : t + 31, l : l + 31]
        assert np.array_equal(window, expected[:, ::-1] if mirrored[index] else expected)


def test_the_same_seed_gives_the_same_augmentation(pictures):
    dataset = Unpaired(pictures, 33, load_size=40)
    raw = dataset.read(*(np.arange(3),) * 3)
    batches = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        batches.append(torch.stack(dataset.render(raw, training=True).images))
    assert torch.equal(batches[0], batches[1]) and not torch.equal(batches[0], batches[2])


def test_testing_takes_the_middle_of_the_load_size_unmirrored(pictures):
    images = Unpaired(pictures, 30, load_size=40).at(*(np.arange(3),) * 3).images
    assert torch.equal(images[1], floats(pictures["B"][:3, 5:35, 5:35]))


@pytest.mark.parametrize("stored, load, resolution", [(40, 20, 20), (40, 56, 48), (40, 24, 16)])
def test_stored_pictures_are_resized_to_the_load_size_as_pil_does(stored, load, resolution):
    stack = photographs(3, stored)
    images = Unpaired({"A": stack, "B": stack}, resolution, load_size=load).at(*(np.arange(3),) * 2).images[0]
    start = (load - resolution) // 2
    middle = slice(start, start + resolution)
    for image, picture in zip(images, stack):
        expected = by_pil(picture, (0, 0, stored, stored), load)[:, middle, middle]
        assert np.abs(image.numpy() - expected).max() <= 1.6 * LEVEL


def test_a_resized_picture_is_cropped_in_training_too():
    stack = photographs(2, 48)
    dataset = Unpaired({"A": stack, "B": stack}, 20, load_size=24)
    images = dataset.render(dataset.read(np.arange(2), np.arange(2)), training=True).images[0]
    whole = torch.nn.functional.interpolate(floats(stack), (24, 24), mode="bilinear", antialias=True)
    for image, source in zip(images, whole):
        crops = [source[:, top : top + 20, left : left + 20] for top in range(5) for left in range(5)]
        assert any(torch.allclose(image, side, atol=1e-6) for crop in crops for side in (crop, crop.flip(2)))


# AFHQ's augmentation


@pytest.mark.parametrize("size", [20, 40, 64])
def test_windows_are_resampled_as_pil_does_whether_smaller_or_larger(size):
    stack = photographs(4, 40)
    top, left = torch.tensor([0, 3, 10, 1]), torch.tensor([0, 5, 0, 2])
    height, width = torch.tensor([40, 36, 30, 37]), torch.tensor([40, 35, 33, 38])
    mirrored = torch.tensor([False, True, False, True])
    images = resample(floats(stack), top, left, height, width, mirrored, size).numpy()
    for i, picture in enumerate(stack):
        t, l, h, w = (int(values[i]) for values in (top, left, height, width))  # noqa: E741
        expected = by_pil(picture, (l, t, l + w, t + h), size)
        assert np.abs(images[i] - (expected[..., ::-1] if mirrored[i] else expected)).max() <= 1.6 * LEVEL


def test_a_whole_picture_at_its_own_size_stays_as_it_is():
    images = floats(photographs(6, 40))
    out = random_resized_crop_and_flip(images, 40, probability=0)
    for new, old in zip(out, images):
        assert torch.equal(new, old) or torch.equal(new, old.flip(2))


def test_crops_have_the_shares_shapes_and_places_of_the_reference():
    """On pictures that hold their own coordinates the window can be read off: it is linear in them."""
    count, size = 500, 100
    places = (torch.arange(size) + 0.5).expand(size, size)
    images = torch.stack((places, places.T)).expand(count, 2, size, size)
    torch.manual_seed(0)
    out = random_resized_crop_and_flip(images, 120)
    step_x = (out[:, 0, 60, 80] - out[:, 0, 60, 40]) * 3  # width, negative where mirrored
    step_y = (out[:, 1, 80, 60] - out[:, 1, 40, 60]) * 3
    width, height = step_x.abs().round(), step_y.round()
    assert (step_x.abs() - width).abs().max() < 0.01 and (step_y - height).abs().max() < 0.01
    assert 0.42 < (step_x < 0).float().mean() < 0.58
    whole = (width == size) & (height == size)
    assert 0.44 < whole.float().mean() < 0.57
    width, height = width[~whole], height[~whole]
    area, ratio = width * height / size**2, width / height
    assert 0.785 < area.min() < 0.83 and 0.95 < area.max() <= 1
    assert 0.885 < ratio.min() < 0.92 and 1.08 < ratio.max() < 1.12
    centre = out[~whole, 0, 60, 59:61].mean(1)
    left = (centre - width / 2).round()
    share = (left / (size - width).clamp(min=1))[width < 95]
    assert share.min() >= 0 and share.max() <= 1 and 0.43 < share.mean() < 0.57 and 0.25 < share.std() < 0.4


def test_an_augmentation_of_its_own_replaces_crop_and_flip(pictures):
    dataset = Unpaired(pictures, 20, augment=lambda images, size: images[:, :, : size[0], : size[1]] * 0)
    raw = dataset.read(*(np.arange(3),) * 3)
    assert all((images == 0).all() for images in dataset.render(raw, training=True).images)
    assert not any((images == 0).all() for images in dataset.render(raw).images)
