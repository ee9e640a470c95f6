"""Making MNIST-CDCB: from every kind of source, all or nothing, and the same bytes after any interruption."""

import gzip
import json
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, check_killed_anywhere, contents, refusal
from PIL import Image

from dataloader import open_dataset, preprocess_mnist
from dataloader.idx import FILES
from dataloader.packed import DataError, read_split
from dataloader.preprocessing import run

COUNTS = {"train": 50, "test": 20}


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, pack: Callable[[bytes], bytes] = bytes, end: str = "", seed: int = 0) -> Path:
    folder.mkdir()
    random = np.random.default_rng(seed)
    for split, (images, labels) in FILES.items():
        digits = random.integers(0, 256, (COUNTS[split], 28, 28), np.uint8)
        (folder / f"{images}{end}").write_bytes(pack(idx_bytes(digits)))
        (folder / f"{labels}{end}").write_bytes(
            pack(idx_bytes(np.arange(COUNTS[split], dtype=np.uint8) % 10))
        )
    return folder


@pytest.fixture
def idx(tmp_path: Path) -> Path:
    return write_idx(tmp_path / "idx")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The original archive's layout, at 64 x 32: x in the left half, y in the right."""
    root = tmp_path / "archive" / "MNIST-CDCB"
    for split, count in (("train", 21), ("test", 5)):
        (root / split).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(pair(index)).save(root / split / f"{index:05}.png")
    return root.parent


def pair(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (32, 64, 3), np.uint8)


def make(*arguments: object) -> int:
    return run(preprocess_mnist.main, [str(argument) for argument in arguments])


def error_of(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    return refusal(capsys, preprocess_mnist.main, *arguments)


# What is made


def test_mnists_files_become_the_set_that_they_are_when_opened_directly(idx, tmp_path):
    assert make(idx, tmp_path / "set") == 0
    for split, count in COUNTS.items():
        made = open_dataset("dataloader.cdcb:open_mnist", tmp_path / "set", split, 32)
        direct = open_dataset("dataloader.cdcb:open_mnist", idx, split, 32)
        assert len(made) == count
        a, b = (dataset.at(np.arange(count)) for dataset in (made, direct))
        assert all((p == q).all() for p, q in zip(a.images, b.images))
        assert (a.labels[0]["digit"] == b.labels[0]["digit"]).all()


def test_gzipped_and_plain_files_become_the_same_bytes_at_any_time(idx, tmp_path):
    zipped = write_idx(tmp_path / "zipped", gzip.compress, ".gz")
    assert make(idx, tmp_path / "a") == 0
    assert make(zipped, tmp_path / "b") == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    meta = json.loads((tmp_path / "a" / "train" / "meta.json").read_text())
    assert meta["dataset"] == "MNIST-CDCB" and meta["source"] == "MNIST IDX files" and meta["count"] == 50


def test_original_pictures_are_stored_as_they_are_x_left_and_y_right(pictures, tmp_path):
    assert make(pictures, tmp_path / "set", "--resolution", 32) == 0
    for split, count in (("train", 21), ("test", 5)):
        meta, arrays = read_split(tmp_path / "set" / split)
        expected = np.stack([[pair(index)[:, :32], pair(index)[:, 32:]] for index in range(count)])
        assert arrays["images"].dtype == np.uint8 and (arrays["images"] == expected).all()
        assert meta["count"] == count and meta["resolution"] == 32 and meta["left_out"] == []
    x = open_dataset("dataloader.cdcb:open_mnist", tmp_path / "set", "test", 32).at(np.arange(1)).images[0]
    assert np.allclose(x[0].permute(1, 2, 0).numpy(), pair(0)[:, :32] / 127.5 - 1, atol=1e-6)


def test_original_pictures_are_stored_at_256_unless_told_otherwise(pictures, tmp_path):
    assert make(pictures / "MNIST-CDCB", tmp_path / "set") == 0
    assert read_split(tmp_path / "set" / "test")[1]["images"].shape == (5, 2, 256, 256, 3)


def test_halves_are_resized_apart_so_that_they_do_not_mix_at_the_seam(tmp_path):
    seam = np.zeros((64, 128, 3), np.uint8)
    seam[:, 64:] = 255
    for split in ("train", "test"):
        (tmp_path / "src" / split).mkdir(parents=True)
        Image.fromarray(seam).save(tmp_path / "src" / split / "a.png")
    assert make(tmp_path / "src", tmp_path / "set", "--resolution", 16) == 0
    x, y = read_split(tmp_path / "set" / "train")[1]["images"][0]
    assert (x == 0).all() and (y == 255).all()


def test_scikit_learns_digits_become_what_the_first_use_makes(digits_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(preprocess_mnist, "DATA", tmp_path)
    assert make("digits") == 0
    first = {name: made for name, made in contents(digits_folder).items() if not name.startswith(".")}
    assert contents(tmp_path / "Digits-CDCB") == first  # but for the classifiers that other tests leave there


@pytest.mark.parametrize("way", ["module", "script in its folder"])
def test_it_runs_as_a_module_and_as_a_script(idx, tmp_path, way):
    if way == "module":
        command, place = ["-m", "dataloader.preprocess_mnist"], ROOT
    else:
        command, place = ["preprocess_mnist.py"], ROOT / "dataloader"
    result = subprocess.run(
        [sys.executable, *command, str(idx), str(tmp_path / "set")], cwd=place, capture_output=True, text=True
    )
    assert result.returncode == 0 and result.stderr == "", result
    assert (tmp_path / "set" / "test" / "meta.json").is_file()


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        preprocess_mnist.main(["--help"])
    assert "python dataloader/preprocess_mnist.py " in capsys.readouterr().out.split("example:")[1]


# What is refused


def test_a_bad_picture_is_named_and_nothing_is_made(pictures, tmp_path, capsys):
    (pictures / "MNIST-CDCB" / "train" / "00007.png").write_bytes(b"no picture")
    assert "00007.png: cannot be read" in error_of(capsys, pictures, tmp_path / "set", "--resolution", 32)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["archive"]


def test_skip_bad_lists_what_it_left_out_and_stores_the_others(pictures, tmp_path, capsys):
    train = pictures / "MNIST-CDCB" / "train"
    (train / "00007.png").write_bytes(b"no picture")
    Image.new("RGB", (32, 32)).save(train / "00009.png")
    assert make(pictures, tmp_path / "set", "--resolution", 32, "--skip-bad") == 0
    meta, arrays = read_split(tmp_path / "set" / "train")
    assert meta["left_out"] == ["00007.png", "00009.png"] and meta["count"] == len(arrays["images"]) == 19
    assert (arrays["images"][7, 0] == pair(8)[:, :32]).all()
    said = capsys.readouterr().out
    assert "00007.png: cannot be read" in said and "00009.png: is 32 x 32" in said


def test_every_wrong_source_or_option_is_one_line(idx, tmp_path, capsys):
    target = tmp_path / "set"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no folder" in error_of(capsys, tmp_path / "nowhere", target)
    assert "neither" in error_of(capsys, empty, target)
    assert "--resolution is for" in error_of(capsys, idx, target, "--resolution", 32)
    assert "--resolution" in error_of(capsys, idx, target, "--resolution", "big")
    assert "SOURCE" in error_of(capsys)
    assert "unrecognized" in error_of(capsys, idx, target, "--fast")
    (empty / "file").touch()
    assert f"{empty / 'file'}: " in error_of(capsys, idx, empty / "file" / "set")
    images = idx / FILES["train"][0]
    images.write_bytes(images.read_bytes()[:-5])
    assert "truncated" in error_of(capsys, idx, target)
    images.unlink()
    assert "train-images-idx3-ubyte" in error_of(capsys, idx, target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "idx"]


# Again


def test_a_set_that_is_there_is_left_alone_unless_forced(idx, tmp_path, capsys):
    target = tmp_path / "set"
    assert make(idx, target) == 0
    made, before = contents(target), target.stat().st_ino
    assert make(idx, target) == 0
    assert "is there already" in capsys.readouterr().out
    assert target.stat().st_ino == before
    assert make(idx, target, "--force") == 0
    assert target.stat().st_ino != before and contents(target) == made


def test_a_set_from_another_source_is_replaced_only_when_forced(idx, pictures, tmp_path, capsys):
    target = tmp_path / "set"
    assert make(idx, target) == 0
    made = contents(target)
    other = write_idx(tmp_path / "other", seed=1)
    for source in (other, pictures, "digits"):
        assert "--force" in error_of(capsys, source, target)
    assert contents(target) == made
    assert make(other, target, "--force") == 0
    assert contents(target) != made
    assert make(pictures, target, "--force", "--resolution", 32) == 0
    assert "--force" in error_of(capsys, pictures, target, "--resolution", 16)


def test_a_damaged_set_is_made_again(idx, tmp_path):
    assert make(idx, tmp_path / "set") == 0
    made = contents(tmp_path / "set")
    (tmp_path / "set" / "train" / "digits.npy").write_bytes(b"spoilt")
    with pytest.raises(DataError, match="preprocess it again"):
        open_dataset("dataloader.cdcb:open_mnist", tmp_path / "set", "train", 32)
    assert make(idx, tmp_path / "set") == 0
    assert contents(tmp_path / "set") == made


def test_a_folder_that_holds_something_else_is_not_touched(idx, tmp_path, capsys):
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter1.tex").write_text("words")
    for more in ((), ("--force",)):
        assert "holds something else" in error_of(capsys, idx, target, *more)
    assert contents(target) == {"chapter1.tex": b"words"}
    assert "holds something else" in error_of(capsys, idx, tmp_path, "--force")
    assert idx.is_dir()


# Killed


@pytest.mark.parametrize("kind", ["idx", "pictures"])
def test_killed_at_any_moment_it_leaves_all_or_nothing_and_runs_again_to_the_same_bytes(
    kind, tmp_path, request
):
    source = request.getfixturevalue(kind)
    options = ["--resolution", "32", "--workers", "1"] if kind == "pictures" else []

    def action(target: Path) -> int:
        return make(source, target, *options)

    check_killed_anywhere(action, tmp_path, count=10, late=range(1, 5))


def test_the_work_folder_of_a_living_run_is_left_alone(idx, tmp_path):
    from dataloader.packed import new_folder

    with new_folder(tmp_path / "set") as work:
        assert make(idx, tmp_path / "set") == 0
        assert work.is_dir()
        (work / "train").mkdir()
    assert [p.name for p in (tmp_path / "set").iterdir()] == ["train"]


def test_with_workers_killed_or_stopped_in_the_middle_it_runs_again_to_the_same_bytes(pictures, tmp_path):
    target = tmp_path / "out" / "set"
    command = [sys.executable, "dataloader/preprocess_mnist.py", pictures, target, "--resolution", "32"]
    for end, left in ((signal.SIGTERM, 0), (signal.SIGKILL, 1)):
        running = subprocess.Popen(
            [*map(str, command), "--workers", "2"], cwd=ROOT, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 100
        while not list(target.parent.glob(".set.*.part/train/images.npy")) and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(end)
        assert running.wait() == (-9 if end == signal.SIGKILL else 143)
        assert not target.exists()
        assert len(list(target.parent.iterdir())) == left
    assert make(*command[2:]) == 0
    assert make(pictures, tmp_path / "clean", "--resolution", 32, "--workers", 1) == 0
    assert contents(target) == contents(tmp_path / "clean")
    assert [p.name for p in target.parent.iterdir()] == ["set"]
