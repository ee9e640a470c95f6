"""The judge of translations: trained once, kept whole, and the same for every run."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_config
from fakes import Blender, digits_m
from looking import view_of

import main
from dataloader.packed import DataError
from solvers.evaluation import classifier as module
from solvers.evaluation.classifier import cache_folder, target_classifier, to_bytes


def judge(folder: Path | None, train=None, domain: int = 0, seed: int = 0, iterations: int = 3):
    """A classifier of digits and what was said while it was made."""
    lines = []
    view = view_of(
        Blender(),
        digits_m(1600, 1700),
        seed=seed,
        classifier_iterations=iterations,
        open_train=lambda: train or digits_m(0, 200),
        say=lines.append,
    )
    view.cache = folder
    return target_classifier(view, domain, "digit"), lines


def test_it_learns_to_read_real_digits():
    found, _ = judge(None, digits_m(0, 1300), iterations=150)
    data, index = digits_m(1300, 1797), np.arange(497)
    images, labels = (side[0] for side in data.at(index, index))
    right = [int(found.logits(image[None]).argmax()) == int(d) for image, d in zip(images, labels["digit"])]
    assert np.mean(right) > 0.85
    features, last = found.features(images), found.network[-1]
    assert features.shape == (497, 100) and found.kinds == 10
    by_hand = features.double() @ last.weight.double().T + last.bias
    assert torch.allclose(by_hand.float(), found.logits(images), atol=1e-4)


def test_it_is_trained_once_and_read_from_its_file_afterwards(tmp_path, monkeypatch):
    first, lines = judge(tmp_path / "cache")
    assert len(lines) == 1 and "200 real images of mnist" in lines[0]
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".pt"]
    monkeypatch.setattr(module, "train_classifier", None)
    images = digits_m(5, 9).at(np.arange(4), np.arange(4)).images[0]
    again, lines = judge(tmp_path / "cache", seed=7)  # the same judge for every seed of a run
    assert lines == [] and again.weights_hash == first.weights_hash
    assert torch.equal(again.logits(images), first.logits(images))


def test_other_data_domains_and_settings_have_files_of_their_own(tmp_path):
    judge(tmp_path)
    judge(tmp_path, digits_m(1, 201))
    judge(tmp_path, domain=1)
    judge(tmp_path, iterations=4)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "other"])
def test_a_damaged_file_is_made_again_with_a_word(tmp_path, damage):
    first, _ = judge(tmp_path)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    if damage == "other":
        torch.save({"kinds": 10}, path)
    else:
        path.write_bytes({"empty": b"", "cut": content[:5000], "flipped": content}[damage])
    again, lines = judge(tmp_path)
    assert "damaged" in lines[0] and len(lines) == 2
    assert again.weights_hash == first.weights_hash and judge(tmp_path)[1] == []
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_folder_it_is_trained_once_for_a_view_and_a_full_disk_is_no_error(tmp_path, monkeypatch):
    assert judge(None)[0].weights_hash == judge(None)[0].weights_hash

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    judge(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_missing_training_split_is_a_data_error():
    def missing():
        raise DataError("no train here")

    view = view_of(Blender(), digits_m(0, 20), open_train=missing)
    with pytest.raises(DataError, match="no train here"):
        target_classifier(view, 0, "digit")


def test_larger_pictures_are_reduced_as_in_training():
    found, _ = judge(None)
    images = digits_m(5, 9).at(np.arange(4), np.arange(4)).images[0]
    large = images.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    small = to_bytes(large).float() / 127.5 - 1
    assert torch.allclose(found.logits(large), found.logits(small), atol=1e-5)


def test_the_folder_is_beside_the_data_or_in_the_users_cache_or_nowhere(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    assert cache_folder(data) == data / ".classifiers"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "access", lambda path, mode: not Path(path).is_relative_to(data))
    assert cache_folder(data) == tmp_path / "home/.cache/cross-domain-translation/classifiers"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cache_folder(data) is None


def test_a_run_keeps_its_judges_beside_its_data(experiment, digits_folder, tmp_path):
    experiment["test"] |= {"after_training": True, "metrics": ["translation"]}
    assert main.main([str(write_config(experiment, tmp_path / "c.json"))]) == 0
    assert len(list((digits_folder / ".classifiers").glob("digit-*.pt"))) >= 2
