"""The scripts that take a set from a copy that a person has fetched: a whole set or none."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from attribute_folders import FASHION, celeba, pictures
from conftest import ROOT, contents
from test_unpack import call, refused, zip_of

from configs.keys import DATASETS
from dataloader import open_dataset

__all__ = ["celeba"]  # a fixture


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    pictures(tmp_path / "images", FASHION)
    return tmp_path / "images"


def script(name: str, *words: object) -> subprocess.CompletedProcess:
    return call("bash", ROOT / "download" / f"{name}.sh", *words)


def made(name: str, source: Path, target: Path, *words: object) -> np.ndarray:
    """The training pictures that the script makes of a folder, which is only read."""
    before = contents(source)
    result = script(name, "--from", source, "--to", target, "--", "--resolution", 32, *words)
    assert result.returncode == 0, result
    assert f"dataset=Attributes path_to_data={target}" in result.stdout.splitlines()[-1]
    assert contents(source) == before
    assert not list(target.parent.glob(".*.part")) + list(target.parent.glob("downloads/.*.part"))
    options = {"crop": 20} if name == "celeba" else {}
    return np.array(open_dataset(DATASETS["Attributes"].opener, target, "train", 32, **options).pictures)


def packed(root: Path, path: Path, *more: tuple[str, bytes]) -> Path:
    """A zip of a folder and what is in it."""
    files = sorted(file for file in root.rglob("*.jpg"))
    members = ((str(file.relative_to(root.parent)), file.read_bytes()) for file in files)
    path.parent.mkdir(parents=True, exist_ok=True)
    return zip_of(path, *members, *more)


def test_celeba_is_the_same_from_its_archive_from_its_folder_and_as_its_authors_have_it(celeba, tmp_path):
    zipped, authors = tmp_path / "zipped", tmp_path / "authors"
    packed(celeba / "img_align_celeba", zipped / "img_align_celeba.zip")
    packed(celeba / "img_align_celeba", authors / "Img" / "img_align_celeba.zip")
    for name, place in (("list_attr_celeba.txt", "Anno"), ("list_eval_partition.txt", "Eval")):
        (zipped / name).write_bytes((celeba / name).read_bytes())
        (authors / place).mkdir()
        (authors / place / name).write_bytes((celeba / name).read_bytes())
    sources = (celeba, zipped, authors)
    sets = [
        made("celeba", source, tmp_path / "data" / str(number), "--crop", 20)
        for number, source in enumerate(sources)
    ]
    assert sets[0].shape == (7, 32, 32, 3)
    assert all((one == sets[0]).all() for one in sets)
    assert {path.name for path in (tmp_path / "data" / "1").iterdir()} == {
        *("img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt", ".packed")
    }


def test_celeba_without_its_partition_says_whose_split_it_takes_and_a_second_run_only_packs(celeba, tmp_path):
    (celeba / "list_eval_partition.txt").unlink()
    to = ("--to", tmp_path / "set", "--", "--crop", 20, "--resolution", 8)
    result = script("celeba", "--from", celeba, *to)
    assert result.returncode == 0 and "StarGAN's authors test on" in result.stdout
    before = contents(tmp_path / "set")
    again = script("celeba", *to)
    assert again.returncode == 0 and "there already" in again.stdout, again
    assert contents(tmp_path / "set") == before


def test_deepfashion_is_the_same_flat_nested_and_from_an_archive_of_either(fashion, tmp_path):
    nested = tmp_path / "nested" / "img"
    pictures(nested, [name.replace("-", "/") for name in FASHION])
    (nested.parent / "readme.jpg").write_bytes(b"is not taken")
    packed(fashion, tmp_path / "a" / "images.zip")
    packed(nested, tmp_path / "b" / "Img" / "img.zip")
    sources = (fashion, nested.parent, tmp_path / "a", tmp_path / "b")
    sets = [
        made("deepfashion", source, tmp_path / "data" / str(number)) for number, source in enumerate(sources)
    ]
    assert len(sets[0]) > 0 and all((one == sets[0]).all() for one in sets)


@pytest.mark.parametrize("name", ["celeba", "deepfashion"])
def test_without_a_copy_it_says_where_a_person_gets_one(name, tmp_path):
    result = script(name, "--to", tmp_path / "data" / "set")
    refused(result, "from http://mmlab.ie.cuhk.edu.hk/projects/", status=2)
    refused(script(name, "--from", "https://host/x", "--to", tmp_path / "set"), "not an address", status=2)
    refused(script(name, "--form", "x"), "unknown argument --form", status=2)
    refused(script(name, "--from", tmp_path / "nowhere"), "there is no folder at")
    assert "--from DIR" in script(name, "--help").stdout
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("name", ["celeba", "deepfashion"])
@pytest.mark.parametrize("wrong", ["nothing", "other", "cut", "dots"])
def test_a_copy_that_is_not_whole_or_leads_out_makes_no_set(name, wrong, celeba, fashion, tmp_path):
    root = celeba / "img_align_celeba" if name == "celeba" else fashion
    source, target = tmp_path / "source", tmp_path / "data" / "set"
    archive = source / ("img_align_celeba.zip" if name == "celeba" else "images.zip")
    source.mkdir()
    (source / "list_attr_celeba.txt").write_bytes((celeba / "list_attr_celeba.txt").read_bytes())
    match wrong:
        case "other":
            zip_of(archive, ("readme.txt", b"x"))
        case "cut":
            whole = packed(root, archive).read_bytes()
            archive.write_bytes(whole[: len(whole) // 2])
        case "dots":
            packed(root, archive, ("x/../../../../evil", b"x"))
    said = {"nothing": " has no ", "other": " holds no "}.get(wrong, "nothing is unpacked")
    refused(script(name, "--from", source, "--to", target), said)
    assert contents(tmp_path / "data").keys() == {"downloads/.lock"} and not (tmp_path / "evil").exists()


def test_a_folder_that_holds_something_else_is_left_alone(fashion, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    refused(script("deepfashion", "--from", fashion, "--to", tmp_path / "set"), "holds something else")
    assert contents(tmp_path / "set") == {"mine.txt": b"mine"}
