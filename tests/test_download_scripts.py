"""The scripts that fetch a set of pictures, against a server that misbehaves: a whole set or none."""

import io
import stat
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SHARED, contents, noise
from download_server import Server, md5, server
from test_unpack import call, refused, tar_of, zip_of

from configs.keys import DATASETS
from dataloader import open_dataset
from dataloader.packed import read_split
from dataloader.toy_cars import mat_bytes

__all__ = ["server"]  # a fixture

MNIST = SHARED / "data" / "mnist"
ARCHIVES = {
    "cars": "nips2015-analogy-data.tar.gz",
    "afhq": "afhq.zip",
    "cyclegan": "horse2zebra.zip",
    "pix2pix": "facades.tar.gz",
}
SETS = {"cars": ("Cars", 8), "afhq": ("AFHQ", 16), "cyclegan": ("Folders", 16), "pix2pix": ("Pairs", 16)}
OPTIONS = {
    "cars": ["--test-from", 3],
    "afhq": ["--resolution", 16],
    "cyclegan": ["--load-size", 16],
    "pix2pix": ["--resolution", 16],
}
LENGTHS = {"cars": 2 * 4 * 23, "afhq": 3, "cyclegan": 3, "pix2pix": 3}
FIRST = {"cyclegan": ["horse2zebra"], "pix2pix": ["facades"]}
TARS = ("cars", "pix2pix")


def script(name: str, source: object, target: Path, cars_md5: str = "-") -> subprocess.CompletedProcess:
    """The script, making small pictures; `cars_md5` is what cars.sh takes for the published checksum."""
    words = [*FIRST.get(name, []), "--from", source, "--to", target, "--", *OPTIONS[name]]
    return call("bash", ROOT / "download" / f"{name}.sh", *words, CARS_MD5=cars_md5)


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    noise(seed, 24, 20).save(file, "JPEG")
    return file.getvalue()


def members(name: str) -> list[tuple[str, bytes]]:
    """An archive's files, by the names that the published one has."""
    if name == "cars":
        views = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3, 24, 4), np.uint8)
        folder = "nips2015-analogy-data/data/cars"
        return [(f"{folder}/car_{n:03}_mesh.mat", mat_bytes(im)) for n, im in enumerate(views, 1)]
    folders = {
        "afhq": ("afhq/train/cat", "afhq/train/dog", "afhq/val/cat", "afhq/val/dog"),
        "cyclegan": (
            "horse2zebra/trainA",
            "horse2zebra/trainB",
            "horse2zebra/testA",
            "horse2zebra/testB",
        ),
        "pix2pix": ("facades/train", "facades/val"),
    }[name]
    places = [(folder, index) for folder in folders for index in range(3)]
    return [(f"{folder}/n{index}.jpg", jpeg(seed)) for seed, (folder, index) in enumerate(places)]


def archive(name: str, path: Path, *more: tuple[str, object]) -> bytes:
    made = tar_of if name in TARS else zip_of
    return made(path, *members(name), *more).read_bytes()


def open_set(name: str, target: Path) -> int:
    dataset, resolution = SETS[name]
    return len(open_dataset(DATASETS[dataset].opener, target, "train", resolution))


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_dropped_connection_is_resumed_to_a_whole_set_and_a_second_run_asks_nobody(name, server, tmp_path):
    whole = archive(name, tmp_path / "whole")
    served = server.serve(ARCHIVES[name], whole, drops=[len(whole) // 3, len(whole) // 2])
    target = tmp_path / "data" / "set"
    result = script(name, server.url(), target, cars_md5=md5(whole))
    assert result.returncode == 0, result
    assert served.starts == [0, len(whole) // 3, len(whole) // 3 + len(whole) // 2]
    assert open_set(name, target) == LENGTHS[name]
    assert f"path_to_data={target}" in result.stdout.splitlines()[-1]
    left = {path.name for path in (tmp_path / "data" / "downloads").iterdir()}
    assert left == {".lock", ARCHIVES[name], f"{ARCHIVES[name]}.md5"}
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"set", "downloads"}
    again = script(name, server.url(), target, cars_md5=md5(whole))
    assert again.returncode == 0 and "there already" in again.stdout and len(served.starts) == 3


def hostile(name: str, attack: str, folder: Path) -> bytes:
    path = folder / "whole"
    if attack == "link" and name not in TARS:
        return zip_of(path, ("link", b"../../../secret"), mode=stat.S_IFLNK | 0o777).read_bytes()
    member = {
        "dots": ("afhq/../../../../evil", b"x"),
        "absolute": (f"{folder}/evil", b"x"),
        "link": ("link", (tarfile.SYMTYPE, "../../../secret")),
    }[attack]
    return archive(name, path, member)


@pytest.mark.parametrize("attack", ["dots", "absolute", "link"])
@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_leads_out_makes_no_set_and_writes_nothing_outside(name, attack, server, tmp_path):
    (tmp_path / "secret").write_text("secret")
    content = hostile(name, attack, tmp_path)
    server.serve(ARCHIVES[name], content)
    refused(
        script(name, server.url(), tmp_path / "data" / "set", cars_md5=md5(content)), "nothing is unpacked"
    )
    assert contents(tmp_path).keys() == {"whole", "secret", "data/downloads/.lock"}
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"downloads"}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_missing_a_cut_and_a_changed_archive_are_refused_and_the_right_one_is_taken(name, server, tmp_path):
    target, whole = tmp_path / "data" / "set", archive(name, tmp_path / "whole")
    refused(script(name, server.url(), target, cars_md5=md5(whole)), "HTTP 404")
    served = server.serve(ARCHIVES[name], whole[: len(whole) // 2])
    wrong = "wrong checksum" if name == "cars" else "nothing is unpacked"  # no other checksum is published
    refused(script(name, server.url(), target, cars_md5=md5(whole)), wrong)
    assert contents(tmp_path / "data").keys() == {"downloads/.lock"} and not target.exists()

    served.content = whole
    assert script(name, server.url(), target, cars_md5=md5(whole)).returncode == 0
    (tmp_path / "data" / "downloads" / ARCHIVES[name]).unlink()
    served.content = archive(name, tmp_path / "other", ("more.txt", b"more"))
    refused(script(name, server.url(), tmp_path / "data" / "again"), "wrong checksum")  # as recorded
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"set", "downloads"}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_folder_with_the_archive_or_with_its_files_is_only_read(name, tmp_path):
    local = tmp_path / "local"
    local.mkdir()
    archive(name, local / ARCHIVES[name])
    files = tmp_path / "files"
    for path, content in members(name):
        place = files / (path.partition("/")[2] if name in FIRST else path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    before = contents(local), contents(files)
    for source, target in ((local, tmp_path / "a" / "set"), (files, tmp_path / "b" / "set")):
        result = script(name, source, target)
        assert result.returncode == 0, result
        assert open_set(name, target) == LENGTHS[name]
    assert (contents(local), contents(files)) == before
    arrays = [sorted(path.name for path in (tmp_path / place / "set").rglob("*.npy")) for place in ("a", "b")]
    assert arrays[0] == arrays[1] != []


@pytest.mark.parametrize(
    ("name", "made", "inner"), [("cyclegan", zip_of, "trainA"), ("pix2pix", tar_of, "train")]
)
def test_an_archive_without_what_it_should_hold_makes_no_set(name, made, inner, server, tmp_path):
    made(tmp_path / "whole", ("readme.txt", b"x"))
    server.serve(ARCHIVES[name], (tmp_path / "whole").read_bytes())
    refused(script(name, server.url(), tmp_path / "data" / "set"), f"holds no {inner}")
    assert contents(tmp_path / "data").keys() == {"downloads/.lock"}


def test_pix2pix_names_its_sets_and_the_direction_of_each(tmp_path):
    def pix2pix(*words: object) -> subprocess.CompletedProcess:
        return call("bash", ROOT / "download" / "pix2pix.sh", *words)

    assert "cityscapes edges2handbags edges2shoes facades maps night2day" in pix2pix("--help").stdout
    refused(pix2pix("facade"), "facade is none of cityscapes", status=2)
    refused(pix2pix("maps", "facades"), "one NAME at a time", status=2)
    refused(pix2pix(), "NAME is missing", status=2)
    (tmp_path / "files" / "train").mkdir(parents=True)
    (tmp_path / "files" / "test").mkdir()
    for split in ("train", "test"):
        (tmp_path / "files" / split / "1.jpg").write_bytes(jpeg(1))
    for name, direction in (("facades", "BtoA"), ("maps", "AtoB"), ("mine", "AtoB")):
        result = pix2pix(
            name, "--from", tmp_path / "files", "--to", tmp_path / name, "--", "--resolution", 16
        )
        assert result.returncode == 0 and f"data.direction={direction}" in result.stdout.splitlines()[-1]


# mnist_m.sh


def mnist_m(source: object, target: Path) -> subprocess.CompletedProcess:
    return call("bash", ROOT / "download" / "mnist_m.sh", "--from", source, "--to", target)


def test_digits_that_are_missing_cut_or_changed_make_no_mnist_m(server, tmp_path):
    target = tmp_path / "data" / "set"
    refused(mnist_m(server.url(), target), "HTTP 404")
    for wrong in (b"\x1f\x8b cut", b"<html>"):
        server.serve("train-images-idx3-ubyte.gz", wrong, drops=[3])
        refused(mnist_m(server.url(), target), "wrong checksum")
    assert contents(tmp_path / "data").keys() == {"downloads/mnist/.lock"} and not target.exists()


@pytest.mark.skipif(not MNIST.is_dir(), reason="no MNIST beside the repository")
def test_mnist_m_is_made_from_a_dropping_mirror_and_a_second_run_asks_nobody(server: Server, tmp_path):
    target = tmp_path / "data" / "set"
    served = [
        server.serve(path.name, path.read_bytes(), drops=[path.stat().st_size // 2])
        for path in MNIST.glob("*.gz")
    ]
    for _ in range(2):
        result = mnist_m(server.url(), target)
        assert result.returncode == 0, result
        assert [len(file.starts) for file in served] == [2] * 4
    assert read_split(target / "test")[1]["images"].shape == (10_000, 28, 28, 3)
    assert "there already" in result.stdout
