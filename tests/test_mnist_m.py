"""MNIST-M: each digit blended with a patch of a photograph of its own split, the same bytes every time."""

from pathlib import Path

import numpy as np
import pytest
from conftest import check_killed_anywhere, contents, noise, refusal
from PIL import Image
from sklearn.datasets import load_sample_images
from test_preprocess_mnist import COUNTS, write_idx

from dataloader import preprocess_mnist_m
from dataloader.idx import read_idx_digits
from dataloader.mnist_m import open_mnist_m
from dataloader.packed import DataError, read_split
from dataloader.preprocessing import run


@pytest.fixture
def idx(tmp_path: Path) -> Path:
    return write_idx(tmp_path / "idx")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photographs as BSDS500 has them, of single colours that name their split: train red, val green, test
    blue."""
    root = tmp_path / "BSR"
    for split, colour in (("train", (200, 0, 0)), ("val", (0, 200, 0)), ("test", (0, 0, 200))):
        folder = root / "BSDS500" / "data" / "images" / split
        folder.mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (40 + index, 35), tuple(c and c + index for c in colour)).save(
                folder / f"{index}.png"
            )
    return root


def make(*arguments: object) -> int:
    return run(preprocess_mnist_m.main, [str(argument) for argument in arguments])


def error_of(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    return refusal(capsys, preprocess_mnist_m.main, *arguments)


def patches_of(blended: np.ndarray, digit: np.ndarray, photo: np.ndarray) -> list[tuple[int, int]]:
    """Every place of a photograph where |patch - digit| is this picture, by trying them all."""
    size = len(digit)
    windows = np.lib.stride_tricks.sliding_window_view(photo.astype(int), (size, size), (0, 1))
    grey = digit.astype(int)
    corner = np.abs(windows[:, :, :, 0, 0] - grey[0, 0]) == blended[0, 0]  # the cheap test first
    places = np.argwhere(corner.all(2))
    return [
        (top, left)
        for top, left in places
        if (np.abs(windows[top, left].transpose(1, 2, 0) - grey[..., None]) == blended).all()
    ]


def test_train_patches_come_from_train_photographs_only_and_test_patches_from_test(idx, photos, tmp_path):
    assert make(idx, tmp_path / "set", "--photos", photos) == 0
    for split, channel in (("train", 0), ("test", 2)):
        meta, arrays = read_split(tmp_path / "set" / split)
        digits, labels = read_idx_digits(idx, split)
        assert (arrays["digits"] == digits).all() and (arrays["labels"] == labels).all()
        assert arrays["images"].shape == (COUNTS[split], 28, 28, 3) and meta["photographs"][0] == "0.png"
        used = set()
        for blended, digit in zip(arrays["images"], digits.astype(int)):
            for other in {0, 1, 2} - {channel}:
                assert (blended[..., other] == digit).all()  # |0 - digit|
            (colour,) = (c for c in (200, 201, 202) if (blended[..., channel] == abs(c - digit)).all())
            used.add(colour)
        assert used == {200, 201, 202}


def test_without_photographs_the_patches_of_the_splits_never_overlap(idx, tmp_path):
    assert make(idx, tmp_path / "set") == 0
    pictures = load_sample_images().images
    for split, columns in (("train", range(0, 480)), ("test", range(480, 640))):
        _, arrays = read_split(tmp_path / "set" / split)
        found = []
        for blended, digit in zip(arrays["images"][:5], arrays["digits"][:5]):
            places = [(n, place) for n, p in enumerate(pictures) for place in patches_of(blended, digit, p)]
            ((number, (_, left)),) = places
            assert left in columns and left + 27 in columns
            found.append((number, left))
        assert len(set(found)) == 5


def test_at_32_the_pixels_stay_and_mnist_is_grey_as_rgb(idx, tmp_path):
    assert make(idx, tmp_path / "set") == 0
    dataset = open_mnist_m(tmp_path / "set", "test", 32)
    assert dataset.domains == ("mnist", "mnist_m") and dataset.streams == (20, 20) and not dataset.paired
    x, y = np.array([3, 5]), np.array([7, 0])
    batch = dataset.render(dataset.read(x, y), training=True)  # augments nothing
    _, arrays = read_split(tmp_path / "set" / "test")
    mnist, mnist_m = (images.numpy() for images in batch.images)
    assert mnist.shape == mnist_m.shape == (2, 3, 32, 32)
    for index in range(2):
        inner = (slice(2, 30), slice(2, 30))
        for channel in range(3):
            assert np.allclose(
                mnist[index, channel][inner], arrays["digits"][x[index]] / 127.5 - 1, atol=1e-6
            )
            expected = arrays["images"][y[index]][..., channel] / 127.5 - 1
            assert np.allclose(mnist_m[index, channel], np.pad(expected, 2, "edge"), atol=1e-6)
    assert batch.labels[0]["digit"].tolist() == [3, 5] and batch.labels[1]["digit"].tolist() == [7, 0]


@pytest.mark.parametrize("resolution", [16, 64])
def test_other_resolutions_are_resized_as_pil_does(idx, tmp_path, resolution):
    assert make(idx, tmp_path / "set") == 0
    images = open_mnist_m(tmp_path / "set", "test", resolution).at(np.array([1]), np.array([2])).images
    margin = resolution // 16
    side = resolution - 2 * margin
    stored = read_split(tmp_path / "set" / "test")[1]["images"][2]
    expected = np.asarray(Image.fromarray(stored).resize((side, side), Image.Resampling.BILINEAR)) / 127.5 - 1
    inner = images[1][0, :, margin:-margin, margin:-margin].permute(1, 2, 0).numpy()
    assert images[0].shape == (1, 3, resolution, resolution)
    assert np.abs(inner - expected).max() <= 1.6 * 2 / 255


def test_a_bad_or_small_photograph_is_named_or_left_out(idx, photos, tmp_path, capsys):
    folder = photos / "BSDS500" / "data" / "images" / "train"
    (folder / "1.png").write_bytes(b"no picture")
    noise(0, 20, 40).save(folder / "small.png")
    assert "1.png: cannot be read" in error_of(capsys, idx, tmp_path / "set", "--photos", photos)
    assert make(idx, tmp_path / "set", "--photos", photos, "--skip-bad") == 0
    said = capsys.readouterr().out
    assert "1.png: cannot be read" in said and "small.png: is 20 x 40, smaller" in said
    meta, _ = read_split(tmp_path / "set" / "train")
    assert meta["photographs"] == ["0.png", "2.png"] and len(meta["left_out"]) == 2


def test_wrong_sources_are_refused_and_a_set_from_others_is_replaced_only_when_forced(
    idx, photos, tmp_path, capsys
):
    target = tmp_path / "set"
    assert "is missing" in error_of(capsys, tmp_path, target)
    assert "no train/ and test/" in error_of(capsys, idx, target, "--photos", idx)
    assert "unrecognized" in error_of(capsys, idx, target, "--fast")
    with pytest.raises(DataError, match=r"bash download/mnist_m\.sh"):
        open_mnist_m(target, "train", 32)
    assert make(idx, target) == 0
    made = contents(target)
    assert make(idx, target) == 0
    assert "is there already" in capsys.readouterr().out
    assert "--force" in error_of(capsys, idx, target, "--photos", photos)
    assert contents(target) == made
    assert make(idx, target, "--photos", photos, "--force") == 0
    assert contents(target) != made


def test_killed_at_any_moment_it_is_made_again_to_the_same_bytes(idx, photos, tmp_path):
    def action(target: Path) -> int:
        return make(idx, target, "--photos", photos)

    check_killed_anywhere(action, tmp_path)


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        preprocess_mnist_m.main(["--help"])
    assert "python dataloader/preprocess_mnist_m.py " in capsys.readouterr().out.split("example:")[1]
