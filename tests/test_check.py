"""`main.py check`: what it says of the data and of the run to come, and that it leaves nothing."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from conftest import noise, write_config
from PIL import Image

import main
from configs.load import load_config
from solvers import make_solver
from solvers.commands import check as command


@pytest.fixture
def small(experiment, tmp_path, monkeypatch) -> dict:
    monkeypatch.setattr(command, "SECONDS", 0.1)
    experiment["output_dir"] = str(tmp_path / "runs")
    experiment["training"] |= {"max_iters": 1000, "model_save_freq": 100, "sample_freq": 500}
    return experiment


def check(capsys, *words) -> tuple[int, str, str]:
    status = main.main(["check", *map(str, words)])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_it_says_what_is_there_and_what_a_run_takes_and_leaves_nothing(capsys, small, tmp_path):
    path = write_config(small, tmp_path / "c.json")
    before = sorted(tmp_path.rglob("*"))
    status, said, _ = check(capsys, path)
    assert status == 0 and sorted(tmp_path.rglob("*")) == before
    solver = make_solver(load_config(path))
    count = sum(p.numel() for p in solver.model.parameters())
    assert f"{count:,}" in said and "360 pairs of x and y" in said
    seconds = float(re.search(r"iteration +([\d.e-]+) s", said)[1])
    number, unit = re.search(r"whole run +1,000 iterations: ([\d.]+) (\w+)", said).groups()
    whole = float(number) * {"seconds": 1, "minutes": 60, "hours": 3600}[unit]
    assert 1000 * seconds <= whole * 1.1 + 1
    size = float(re.search(r"\(([\d.]+) MB for each checkpoint", said)[1])
    torch.save(solver.state(), tmp_path / "state.pt")  # without Adam's moments, which are twice the weights
    assert 2.5 < size * 1e6 / (tmp_path / "state.pt").stat().st_size < 3.2
    disk = float(re.search(r"disk +([\d.]+) MB", said)[1])
    assert 9.9 * size < disk < 10.1 * size + 2  # a checkpoint each 100th, two small sample grids


def test_the_picture_is_a_training_batch_and_is_not_overwritten(capsys, small, tmp_path):
    path = write_config(small, tmp_path / "c.json")
    picture = tmp_path / "seen" / "batch.png"
    assert check(capsys, path, "--picture", picture)[0] == 0
    with Image.open(picture) as image:
        seen = np.asarray(image)
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 20 and seen.shape[1] > 8 * 64
    status, _, line = check(capsys, path, "--picture", picture)
    assert status == 2 and "--force" in line and line.count("\n") == 1


@pytest.fixture
def photographs(small, mixed_folder):
    """A DRIT experiment on two domains of four pictures."""
    network = {"base_width": 2, "dis_width": 2, "residual_blocks": 1}
    small |= {"model": "DRIT", "dataset": "Folders", "path_to_data": str(mixed_folder), "network": network}
    small["training"]["batch_size"] = 2
    return small


def test_equal_pictures_and_odd_modes_are_told(capsys, photographs, mixed_folder, tmp_path):
    with Image.open(mixed_folder / "trainA/2.png") as image:
        image.save(mixed_folder / "testA/as_other_file.bmp")
    noise(77, 30, 31).convert("L").save(mixed_folder / "trainB/grey.png")
    status, said, _ = check(capsys, write_config(photographs, tmp_path / "c.json"))
    assert status == 1
    assert "testA and training share 4 equal pictures" in said  # the fixture's; the fifth is one of them
    assert "1 L" in said and "4 RGB" in said and "2 sizes from 31 x 30 to 70 x 40" in said
    assert "4 of A, 5 of B" in said and "to look at before training" in said


def test_every_unreadable_file_is_named(capsys, photographs, mixed_folder, tmp_path):
    names = ("broken.png", "<script>\n\"'.jpg")
    for name in names:
        (mixed_folder / "trainA" / name).write_bytes((mixed_folder / "trainA/0.png").read_bytes()[:100])
    status, said, line = check(capsys, write_config(photographs, tmp_path / "c.json"))
    assert status == 2 and line.startswith("error: ") and line.count("\n") == 1
    assert said.count("cannot be read as a picture") == 2 and "broken.png" in said
    assert not (tmp_path / "runs").exists()


def test_stored_images_of_both_splits_are_told(capsys, small, digits_folder, tmp_path):
    root = tmp_path / "leaky"
    shutil.copytree(digits_folder, root)
    train, test = (np.load(root / split / "digits.npy", mmap_mode="r+") for split in ("train", "test"))
    test[3] = train[5]
    test.flush()
    small["path_to_data"] = str(root)
    status, said, _ = check(capsys, write_config(small, tmp_path / "c.json"))
    assert status == 1 and "test and training share 1 equal digits" in said


@pytest.mark.parametrize(("words", "part"), [(["nowhere.json"], "no such config"), ([], "required")])
def test_a_mistake_is_one_line(capsys, words, part):
    status, _, line = check(capsys, *words)
    assert status == 2 and part in line and line.startswith("error: ") and line.count("\n") == 1


def test_an_override_counts_and_a_loss_that_is_not_finite_is_told(capsys, small, tmp_path):
    path = write_config(small, tmp_path / "c.json")
    status, _, line = check(capsys, path, "training.lr=1e30")
    assert status == 1 and "became NaN or infinite" in line
    assert json.loads(path.read_text())["training"].get("lr") is None
