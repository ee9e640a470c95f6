"""Cars: packing .mat files, and reading pairs as the files hold them; toy cars by their commands."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, contents, killed
from PIL import Image
from scipy.io import loadmat, savemat

from dataloader import preprocess_cars, toy_cars
from dataloader.cars import Cars, open_cars, pair_order
from dataloader.packed import DataError, write_split
from dataloader.preprocess_cars import pack_cars
from dataloader.preprocessing import run
from dataloader.toy_cars import mat_bytes


@pytest.fixture(scope="session")
def mats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cars of noise at 16 x 16."""
    return write_mats(tmp_path_factory.mktemp("cars") / "mat", [1, 2, 3, 4], size=16)


@pytest.fixture(scope="session")
def packed(mats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four as a paper split whose test cars are 3 and 4."""
    folder = tmp_path_factory.mktemp("cars") / "Cars"
    pack_cars(mats, folder, test_from=3)
    return folder


def noise(number: int, size: int = 8) -> np.ndarray:
    return np.random.RandomState(number).randint(0, 256, (size, size, 3, 24, 4)).astype(np.uint8)


def write_mats(folder: Path, numbers: range | list[int], size: int = 8) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"car_{number:03d}_mesh.mat").write_bytes(mat_bytes(noise(number, size)))
    return folder


def im_of(folder: Path, number: int) -> np.ndarray:
    return loadmat(folder / f"car_{number:03d}_mesh.mat")["im"]


def test_every_pair_is_of_one_car_and_is_what_its_mat_file_holds(mats: Path, packed: Path) -> None:
    ims, seen = {number: im_of(mats, number) for number in (1, 2, 3, 4)}, set()
    for split, numbers in (("train", (1, 2)), ("test", (3, 4))):
        cars = open_cars(packed, split, 16)
        assert len(cars) == 2 * 4 * 23 and cars.partner_label == "car" and cars.domains == ("x", "y")
        raw, batch = cars.read(np.arange(len(cars))), cars.at(np.arange(len(cars)))
        for index in range(0, len(cars), 3):
            of_x, of_y = (
                {name: int(values[index]) for name, values in labels.items()} for labels in batch.labels
            )
            assert (
                of_x["azimuth"] == 0 and of_x["car"] == of_y["car"] and of_x["elevation"] == of_y["elevation"]
            )
            for side, label in (("x", of_x), ("y", of_y)):
                view = ims[label["car"]][..., label["azimuth"], label["elevation"]]
                np.testing.assert_array_equal(raw[side][index].numpy(), view)
        assert set(batch.labels[1]["car"].tolist()) == set(numbers)
        pairs = zip(*(batch.labels[1][name].tolist() for name in ("car", "elevation", "azimuth")))
        seen |= set(pairs)
    assert len(seen) == 4 * 4 * 23  # every view but the fronts, once


def test_images_are_the_stored_pixels_from_minus_one_to_one_and_labels_whole_numbers(packed: Path) -> None:
    cars = open_cars(packed, "test", 16)
    raw, batch = cars.read(np.array([0, 100])), cars.at(np.array([0, 100]))
    for side, images in zip("xy", batch.images):
        assert images.shape == (2, 3, 16, 16) and images.dtype == torch.float32
        np.testing.assert_allclose(images.permute(0, 2, 3, 1), raw[side].numpy() / 255.0 * 2 - 1, atol=1e-6)
    assert all(values.dtype == torch.int64 for labels in batch.labels for values in labels.values())


def test_images_are_resized_to_the_resolution_with_antialiasing(packed: Path) -> None:
    small, full = (open_cars(packed, "test", resolution).at(np.arange(0, 184, 40)) for resolution in (8, 16))
    for a, b in zip(small.images, full.images):
        assert a.shape[2:] == (8, 8) and a.min() >= -1 and a.max() <= 1
        halved = Image.fromarray(
            ((b[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
        ).resize((8, 8), Image.Resampling.BILINEAR)
        np.testing.assert_allclose((a[0].permute(1, 2, 0).numpy() + 1) * 127.5, np.asarray(halved), atol=1)


def test_the_reference_split_tests_on_the_last_14_cars_in_grey_from_elevation_3(tmp_path: Path) -> None:
    numbers = [*range(1, 9), *range(20, 30)]
    source = write_mats(tmp_path / "data" / "cars", numbers)
    pack_cars(tmp_path, tmp_path / "Cars", "reference", resolution=8)
    train, test = (open_cars(tmp_path / "Cars", split, 8) for split in ("train", "test"))
    assert sorted(set(train.car)) == numbers[:4] and sorted(set(test.car)) == numbers[4:]
    batch, raw = test.at(np.arange(len(test))), test.read(np.arange(len(test)))
    assert len(test) == 14 * 23 and set(batch.labels[0]["elevation"].tolist()) == {3}
    assert batch.images[1].shape == (len(test), 3, 8, 8)
    for index in range(0, len(test), 31):
        car, azimuth = (int(batch.labels[1][name][index]) for name in ("car", "azimuth"))
        grey = im_of(source, car)[..., azimuth, 3] @ [0.299, 0.587, 0.114]
        np.testing.assert_allclose(raw["y"][index, ..., 0], grey, atol=0.51)
        np.testing.assert_allclose(batch.images[1][index, 2], grey / 127.5 - 1, atol=0.005)


def test_without_a_resolution_the_reference_stores_128_and_the_paper_tests_from_car_192(
    tmp_path: Path,
) -> None:
    source = write_mats(tmp_path / "mat", [190, 191, 192, 193])
    pack_cars(source, tmp_path / "Cars")
    assert sorted(set(open_cars(tmp_path / "Cars", "test", 8).car)) == [192, 193]
    pack_cars(source, tmp_path / "reference", "reference", test_from=193)
    shape = json.loads((tmp_path / "reference" / "train" / "meta.json").read_text())["arrays"]["images"]
    assert shape == [3, 24, 128, 128, 1]
    with pytest.raises(DataError, match="more than 14 cars"):
        pack_cars(source, tmp_path / "other", "reference")
    with pytest.raises(DataError, match="190 to 193; --test-from"):
        pack_cars(source, tmp_path / "other", test_from=200)


@pytest.mark.parametrize(("cars", "elevations"), [(8, 4), (14, 1), (191, 4)])
def test_a_few_pairs_spread_over_the_set_show_many_cars_from_many_sides(cars: int, elevations: int) -> None:
    row, azimuth = pair_order(np.repeat(np.arange(cars), elevations), 24)
    assert sorted(zip(row, azimuth)) == [(r, a) for r in range(cars * elevations) for a in range(1, 24)]
    picked = np.linspace(0, len(row) - 1, 16).astype(int)  # as grids pick them
    for half in (picked[:8], picked[8:]):
        assert len(set(row[half] // elevations)) == 8 and len(set(azimuth[half])) >= 3
    assert len(set(azimuth[picked])) >= 8


def test_packing_again_does_nothing_and_is_the_same_bytes_from_any_number_of_workers(
    mats: Path, packed: Path, tmp_path: Path
) -> None:
    target = tmp_path / "Cars"
    assert pack_cars(mats, target, test_from=3, workers=3).written
    assert contents(target) == contents(packed)
    before = (target / "train" / "images.npy").stat()
    assert not pack_cars(mats, target, test_from=3).written
    assert (target / "train" / "images.npy").stat() == before
    with pytest.raises(DataError, match="made otherwise; --force"):
        pack_cars(mats, target, test_from=4)
    assert pack_cars(mats, target, test_from=4, force=True).written
    assert sorted(set(open_cars(target, "test", 16).car)) == [4]


def test_packing_never_takes_the_place_of_other_files(tmp_path: Path) -> None:
    source = write_mats(tmp_path / "mat", [1, 2])
    with pytest.raises(DataError, match=r"holds the \.mat files themselves"):
        pack_cars(source, tmp_path, test_from=2)
    with pytest.raises(DataError, match=r"holds the \.mat files themselves"):
        pack_cars(source, source, test_from=2)
    (tmp_path / "Cars").mkdir()
    (tmp_path / "Cars" / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match=r"something else \(thesis.tex"):
        pack_cars(source, tmp_path / "Cars", test_from=2, force=True)
    assert sorted(os.listdir(tmp_path)) == ["Cars", "mat"]


def mat_of(**variables: np.ndarray) -> bytes:
    file = io.BytesIO()
    savemat(file, variables)
    return file.getvalue()


BAD = {
    "no file of MATLAB": (b"hello", "no MATLAB file"),
    "empty": (b"", "no MATLAB file"),
    "HDF5": (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n", r"HDF5.*-v7"),
    "no im": (mat_of(mask=np.ones((8, 8))), "no variable im but mask"),
    "no elevations": (mat_of(im=noise(1)[..., 0]), r"im is uint8 \[8, 8, 3, 24\]"),
    "oblong": (mat_of(im=noise(1)[:4]), r"im is uint8 \[4, 8, 3, 24, 4\]; it must be"),
    "floats": (mat_of(im=noise(1) / 255), "im is double"),
    "cut off": (mat_bytes(noise(1))[:-1000], "damaged"),
    "garbled": (mat_bytes(noise(1))[:3000] + bytes(200) + mat_bytes(noise(1))[3200:], "damaged"),
    "another size": (mat_bytes(noise(1, 6)), "6 pixels wide, not 8"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_is_named_and_stops_or_is_left_out(fault: str, tmp_path: Path) -> None:
    source, (data, reason) = write_mats(tmp_path / "mat", [1, 2, 4]), BAD[fault]
    (source / "car_003_mesh.mat").write_bytes(data)
    with pytest.raises(DataError, match=rf"(?s)car_003_mesh.mat: .*{reason}.*--skip-bad"):
        pack_cars(source, tmp_path / "Cars", test_from=3)
    assert os.listdir(tmp_path) == ["mat"]
    (left_out,) = pack_cars(source, tmp_path / "Cars", test_from=3, skip_bad=True).left_out
    assert "car_003_mesh.mat" in left_out
    test = open_cars(tmp_path / "Cars", "test", 8)
    assert set(test.car) == {4} and len(test) == 4 * 23
    np.testing.assert_array_equal(test.read(np.array([0]))["x"][0], im_of(source, 4)[..., 0, 0])
    assert json.loads((tmp_path / "Cars" / "test" / "meta.json").read_text())["left_out"] == [
        "car_003_mesh.mat"
    ]


def test_a_split_without_a_readable_car_is_refused_even_when_bad_ones_may_be_left_out(tmp_path: Path) -> None:
    source = write_mats(tmp_path / "mat", [1, 2])
    (source / "car_003_mesh.mat").write_bytes(b"")
    with pytest.raises(DataError, match="no test car can be read"):
        pack_cars(source, tmp_path / "Cars", test_from=3, skip_bad=True)


def test_files_are_found_below_and_a_number_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        pack_cars(tmp_path / "nothing", tmp_path / "Cars")
    with pytest.raises(DataError, match="no car_"):
        pack_cars(tmp_path, tmp_path / "Cars")
    write_mats(tmp_path / "data" / "cars", [1, 2])
    (tmp_path / "data" / "cars" / "._car_001_mesh.mat").write_bytes(b"of a Mac")
    pack_cars(tmp_path / "data", tmp_path / "Cars", test_from=2)
    write_mats(tmp_path / "data" / "more", [2])
    with pytest.raises(DataError, match="car 2 is there twice"):
        pack_cars(tmp_path / "data", tmp_path / "Cars", test_from=2)


@pytest.mark.parametrize("moment", ["third car", "last meta.json"])
def test_packing_that_was_killed_leaves_no_set_and_runs_again_to_the_same_bytes(
    moment: str, mats: Path, packed: Path, tmp_path: Path
) -> None:
    target, calls = tmp_path / "data" / "Cars", []

    def die_at(name: str, count: int) -> None:
        original = getattr(preprocess_cars, name)

        def counted(*arguments: object, **options: object) -> object:
            calls.append(name)
            if len(calls) == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        setattr(preprocess_cars, name, counted)

    def victim() -> None:
        die_at(*{"third car": ("read_car", 3), "last meta.json": ("write_meta", 2)}[moment])
        pack_cars(mats, target, test_from=3, workers=1)

    assert killed(victim) == -signal.SIGKILL
    assert not target.exists()
    assert pack_cars(mats, target, test_from=3).written
    assert contents(target) == contents(packed)


def test_a_missing_or_other_data_set_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no Cars at .*; make it with: bash download/cars.sh"):
        open_cars(tmp_path / "Cars", "train", 64)
    arrays = {"digits": np.zeros((3, 8, 8), np.uint8)}
    for split in ("train", "test"):
        write_split(tmp_path / "MNIST" / split, arrays, dataset="MNIST-CDCB")
    with pytest.raises(DataError, match="holds MNIST-CDCB, not Cars"):
        open_cars(tmp_path / "MNIST", "train", 64)


# Command lines


def run_script(*words: object) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, env=environment, cwd=ROOT
    )


def test_both_scripts_run_by_path_and_as_modules(tmp_path: Path) -> None:
    made = run_script("dataloader/toy_cars.py", tmp_path / "mat", "--cars", 2, "--size", 8, "--workers", 1)
    assert made.returncode == 0, made.stderr
    wanted = ("-m", "dataloader.preprocess_cars", tmp_path / "mat", tmp_path / "Cars", "--test-from", 2)
    packed = run_script(*wanted)
    assert packed.returncode == 0, packed.stderr
    assert isinstance(open_cars(tmp_path / "Cars", "test", 8), Cars)


@pytest.mark.parametrize("words", [["nowhere"], ["--split", "other", "x"], [".", "--resolution", "0"], []])
def test_a_wrong_call_is_one_line_and_status_2(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(preprocess_cars.main, words) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1

    assert run(toy_cars.main, [*words, "--cars", "none"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
