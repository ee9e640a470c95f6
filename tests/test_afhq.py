"""AFHQ: both versions' layouts, any two domains, and the same bytes after any interruption."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, check_killed_anywhere, noise, refusal
from PIL import Image

from configs.load import read_json
from dataloader import preprocess_afhq
from dataloader.afhq import open_afhq
from dataloader.packed import DataError, read_split
from dataloader.preprocessing import run

COUNTS = {"cat": 4, "dog": 3, "wild": 2}


def make_source(root: Path, test: str, suffix: str) -> Path:
    for split in ("train", test):
        for number, (domain, count) in enumerate(COUNTS.items()):
            folder = root / "afhq" / split / domain
            folder.mkdir(parents=True)
            for index in range(count):
                picture = noise(10 * number + index + 100 * (split != "train"), 64, 64)
                picture.save(folder / f"pixabay_{domain}_{index:06}{suffix}")
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_source(tmp_path / "download", "val", ".jpg")


def make(*arguments: object) -> int:
    return run(preprocess_afhq.main, [str(argument) for argument in arguments])


def error_of(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    return refusal(capsys, preprocess_afhq.main, *arguments)


@pytest.mark.parametrize("test, suffix", [("val", ".jpg"), ("test", ".png")])
def test_either_version_is_stored_resized_as_pil_does(tmp_path, test, suffix):
    source = make_source(tmp_path / "download", test, suffix)
    assert make(source, tmp_path / "set", "--resolution", 32) == 0
    for split, folder in (("train", "train"), ("test", test)):
        meta, arrays = read_split(tmp_path / "set" / split)
        assert meta["dataset"] == "AFHQ" and meta["resolution"] == 32
        assert {name: len(array) for name, array in arrays.items()} == COUNTS
        for domain, stack in arrays.items():
            paths = sorted((source / "afhq" / folder / domain).iterdir())
            for stored, path in zip(stack, paths):
                resized = Image.open(path).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
                assert (stored == np.asarray(resized)).all()


def test_any_two_domains_are_opened_unpaired(source, tmp_path):
    assert make(source, tmp_path / "set", "--resolution", 48) == 0
    dataset = open_afhq(tmp_path / "set", "train", 32)
    assert dataset.domains == ("cat", "dog") and dataset.streams == (4, 3) and not dataset.paired
    other = open_afhq(tmp_path / "set", "test", 32, domains=("wild", "cat"))
    assert other.domains == ("wild", "cat") and other.streams == (2, 4)
    stored = read_split(tmp_path / "set" / "test")[1]["wild"][1]
    image = other.at(np.array([1]), np.array([0])).images[0][0].permute(1, 2, 0).numpy()
    expected = np.asarray(Image.fromarray(stored).resize((32, 32), Image.Resampling.BILINEAR)) / 127.5 - 1
    assert np.abs(image - expected).max() <= 1.6 * 2 / 255


def test_training_augments_and_testing_does_not(source, tmp_path):
    assert make(source, tmp_path / "set", "--resolution", 32) == 0
    dataset = open_afhq(tmp_path / "set", "train", 32)
    raw = dataset.read(np.zeros(40, int), np.zeros(40, int))
    plain = dataset.render(raw).images[0]
    assert (plain == plain[0]).all()
    torch.manual_seed(0)
    images = dataset.render(raw, training=True).images[0]
    assert images.shape == (40, 3, 32, 32) and images.abs().max() <= 1 + 1e-5
    same = [any(torch.equal(image, side) for side in (plain[0], plain[0].flip(2))) for image in images]
    assert 10 < sum(same) < 30  # half of them are the whole picture
    assert len({image.numpy().tobytes() for image in images}) > 12


def test_what_is_not_there_is_one_line_that_says_what_to_do(source, tmp_path):
    with pytest.raises(DataError, match=r"bash download/afhq\.sh"):
        open_afhq(tmp_path / "nowhere", "train", 32)
    assert make(source, tmp_path / "set", "--resolution", 32) == 0
    with pytest.raises(DataError, match=r"stored at 32, below 64.*--resolution 64"):
        open_afhq(tmp_path / "set", "train", 64)
    with pytest.raises(DataError, match="no lion; it has cat, dog, wild"):
        open_afhq(tmp_path / "set", "train", 32, domains=("cat", "lion"))


def test_a_bad_picture_is_named_or_left_out(source, tmp_path, capsys):
    bad = source / "afhq" / "train" / "dog" / "pixabay_dog_000001.jpg"
    bad.write_bytes(bad.read_bytes()[:500])
    assert f"{bad.name}: cannot be read" in error_of(capsys, source, tmp_path / "set", "--resolution", 32)
    assert [p.name for p in tmp_path.iterdir()] == ["download"]
    assert make(source, tmp_path / "set", "--resolution", 32, "--skip-bad") == 0
    meta, arrays = read_split(tmp_path / "set" / "train")
    assert meta["left_out"] == {"cat": [], "dog": [bad.name], "wild": []}
    assert len(arrays["dog"]) == 2 and len(arrays["cat"]) == 4


def test_wrong_sources_and_targets_are_refused(source, tmp_path, capsys):
    assert "no folder" in error_of(capsys, tmp_path / "nowhere", tmp_path / "set")
    assert "has no train/" in error_of(capsys, source / "afhq" / "train", tmp_path / "set")
    assert "the pictures themselves" in error_of(capsys, source, source / "afhq", "--force")
    assert make(source, tmp_path / "set", "--resolution", 16) == 0
    assert make(source, tmp_path / "set", "--resolution", 16) == 0
    assert "is there already" in capsys.readouterr().out
    assert "--force" in error_of(capsys, source, tmp_path / "set", "--resolution", 32)
    shutil.rmtree(source / "afhq" / "val" / "wild")
    assert "val/ has cat, dog" in error_of(capsys, source, tmp_path / "other")


def test_killed_at_any_moment_it_is_made_again_to_the_same_bytes(source, tmp_path):
    def action(target: Path) -> int:
        return make(source, target, "--resolution", 8, "--workers", 1)

    check_killed_anywhere(action, tmp_path)


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        preprocess_afhq.main(["--help"])
    assert "python dataloader/preprocess_afhq.py " in capsys.readouterr().out.split("example:")[1]


def test_the_config_has_the_references_numbers():
    training = read_json(ROOT / "configs" / "iiae_afhq.json")["training"]
    reference = {"max_iters": 1e6, "batch_size": 8, "lr": 2e-5, "rec_weight": 100, "X_kld_weight": 5}
    reference |= {"S_kld_weight": 5, "inter_kld_weight": 5, "milestones": [], "beta1": 0.9, "beta2": 0.999}
    assert {name: training[name] for name in reference} == reference
    assert json.loads((ROOT / "configs" / "iiae_afhq.json").read_text())["resolution"] == 256
