"""The download scripts against a loopback server that misbehaves."""

import gzip
import io
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SHARED, contents
from download_server import md5, server
from PIL import Image
from test_unpack import call, environment, refused, tar_of

from dataloader.packed import read_split
from solvers.run.folder import RunFolder

__all__ = ["server"]  # a fixture

MNIST = SHARED / "data" / "mnist"
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="no MNIST beside the repository")
CONTENT = np.random.default_rng(0).bytes(200_000)


def shell(text: str) -> subprocess.CompletedProcess:
    return call("bash", "-c", f". {ROOT}/download/common.sh; {text}")


def fetch(file: Path, content: bytes | None, *urls: str) -> subprocess.CompletedProcess:
    """common.sh's fetch, with the checksum of `content`, or with none published."""
    return shell(f"fetch {file} {md5(content) if content is not None else '-'} {' '.join(urls)}")


def mnist_cdcb(*arguments: object, **more: str) -> subprocess.CompletedProcess:
    return call("bash", ROOT / "download" / "mnist_cdcb.sh", *arguments, **more)


def test_the_commands_that_are_printed_are_quoted_for_a_shell(tmp_path):
    folder = tmp_path / "a 'b' $c"
    printed = shell(f"finish Digits {shlex.quote(str(folder))} 'has 1 image' README.md").stdout.splitlines()[
        -1
    ]
    assert shlex.split(printed.partition(": ")[2])[1:] == ["README.md", f"path_to_data={folder}"]
    assert shlex.split(RunFolder(folder).word) == [f"run_dir={folder}"]


# Fetching


def test_a_download_whose_connection_keeps_dropping_is_resumed_where_it_broke_off(server, tmp_path):
    served = server.serve("a", CONTENT, drops=[70_000, 50_000])
    result = fetch(tmp_path / "a", CONTENT, server.url("a"))
    assert result.returncode == 0, result
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert served.starts == [0, 70_000, 120_000]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_server_that_cannot_resume_is_asked_for_the_whole_file_again(server, tmp_path):
    server.serve("a", CONTENT, drops=[70_000], ranges=False)
    assert fetch(tmp_path / "a", CONTENT, server.url("a")).returncode == 0
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_server_that_always_drops_is_given_up_for_the_next_mirror(server, tmp_path):
    server.serve("bad/a", CONTENT, drops=[1000] * 50, ranges=False)
    server.serve("none/a", CONTENT, drops=[0] * 50)
    server.serve("good/a", CONTENT)
    result = fetch(
        tmp_path / "a", CONTENT, *(server.url(f"{mirror}/a") for mirror in ("bad", "none", "good"))
    )
    assert result.returncode == 0, result
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server, tmp_path):
    busy = server.serve("busy/a", CONTENT, statuses=[503, 429])
    gone = server.serve("gone/a", CONTENT, statuses=[404, 404])
    result = fetch(tmp_path / "a", CONTENT, server.url("gone/a"), server.url("busy/a"))
    assert result.returncode == 0, result
    assert (gone.statuses, busy.statuses) == ([404], [])


def test_a_file_that_no_mirror_has_is_one_clear_line_and_leaves_nothing(server, tmp_path):
    server.serve("wrong/a", CONTENT[:-1])
    result = fetch(tmp_path / "a", CONTENT, server.url("nowhere/a"), server.url("wrong/a"))
    refused(result, "HTTP 404")
    assert "wrong checksum" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [CONTENT[:90_000], CONTENT[:-1] + b"x", CONTENT + b"more", b"<html>hello"],
    ids=["cut", "changed", "more", "page"],
)
def test_a_truncated_or_changed_file_is_thrown_away_and_the_next_mirror_asked(server, tmp_path, wrong):
    server.serve("wrong/a", wrong)
    good = server.serve("good/a", CONTENT)
    result = fetch(tmp_path / "a", CONTENT, server.url("wrong/a"), server.url("good/a"))
    assert result.returncode == 0, result
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert good.starts == [0]


@pytest.mark.parametrize("left", [b"x" * 60_000, CONTENT + b"x" * 9], ids=["other", "more"])
def test_what_another_run_left_wrong_does_not_spoil_a_good_mirror(server, tmp_path, left):
    (tmp_path / "a.part").write_bytes(left)
    server.serve("a", CONTENT)
    assert fetch(tmp_path / "a", CONTENT, server.url("a")).returncode == 0
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_file_that_was_complete_but_not_yet_renamed_is_taken(server, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT)
    server.serve("a", CONTENT)
    assert fetch(tmp_path / "a", CONTENT, server.url("a")).returncode == 0
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_killed_download_looks_unfinished_and_the_next_run_goes_on_with_it(server, tmp_path):
    served = server.serve("a", CONTENT, stall=threading.Event())
    script = f". {ROOT}/download/common.sh; fetch {tmp_path}/a {md5(CONTENT)} {server.url('a')}"
    running = subprocess.Popen(
        ["bash", "-c", script], env=environment(), stdout=subprocess.DEVNULL, start_new_session=True
    )
    part = tmp_path / "a.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size > 50_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    served.stall.set()
    assert [p.name for p in tmp_path.iterdir()] == ["a.part"]
    left = part.stat().st_size
    served.stall = None
    assert fetch(tmp_path / "a", CONTENT, server.url("a")).returncode == 0
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert served.starts == [0, left] and left > 50_000


def test_a_second_fetch_asks_nobody(server, tmp_path):
    served = server.serve("a", CONTENT)
    for _ in range(2):
        assert fetch(tmp_path / "a", CONTENT, server.url("a")).returncode == 0
    assert served.starts == [0]


def test_without_a_published_checksum_the_recorded_one_holds(server, tmp_path):
    served = server.serve("a", CONTENT)
    file = tmp_path / "a"
    assert shell(f"fetch {file} - {server.url('a')}; record {file}").returncode == 0
    assert (tmp_path / "a.md5").read_text() == f"{md5(CONTENT)}  a\n"
    file.write_bytes(b"spoilt")
    assert fetch(file, None, server.url("a")).returncode == 0
    assert file.read_bytes() == CONTENT
    file.unlink()
    served.content = b"something else"
    refused(fetch(file, None, server.url("a")), "wrong checksum")
    assert not file.exists()


def test_too_little_disk_space_is_said_before_anything_is_fetched(tmp_path):
    refused(shell(f"need_space {tmp_path}/new 999999999"), "999999999 MB are needed")


# mnist_cdcb.sh


def test_wrong_usage_is_one_line_and_status_2():
    refused(mnist_cdcb("--form", "x"), "unknown argument --form", status=2)
    refused(mnist_cdcb("--from"), "--from needs a value", status=2)
    assert "--original" in mnist_cdcb("--help").stdout


def test_a_python_without_the_packages_is_told_about_run_train(tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    result = mnist_cdcb("--to", tmp_path / "set", PYTHON=str(bare))
    refused(result, "run ./run_train.sh --setup")
    assert [p.name for p in tmp_path.iterdir()] == ["python"]


def test_files_that_are_not_mnist_are_refused_and_nothing_is_made(server, tmp_path):
    local = tmp_path / "local"
    local.mkdir()
    with gzip.open(local / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(b"\0\0\x08\x03" + bytes(12))
    refused(mnist_cdcb("--from", local, "--to", tmp_path / "set"), "is not MNIST's")
    server.serve("train-images-idx3-ubyte.gz", b"not it")
    refused(mnist_cdcb("--from", server.url(), "--to", tmp_path / "set"), "wrong checksum")
    assert not (tmp_path / "set").exists()
    assert contents(tmp_path / "downloads").keys() == {"mnist/.lock"}


@needs_mnist
def test_mnist_from_a_folder_and_from_a_dropping_mirror_becomes_the_same_set(server, tmp_path):
    served = [
        server.serve(f"mirror/{path.name}", path.read_bytes(), drops=[path.stat().st_size // 2])
        for path in MNIST.glob("*.gz")
    ]
    local = mnist_cdcb("--from", MNIST, "--to", tmp_path / "a" / "set")
    assert local.returncode == 0, local
    assert f"./run_train.sh configs/iiae_mnist_32.json path_to_data={tmp_path}/a/set" in local.stdout
    remote = mnist_cdcb("--from", server.url("mirror/"), "--to", tmp_path / "b" / "set")
    assert remote.returncode == 0, remote
    assert contents(tmp_path / "a" / "set") == contents(tmp_path / "b" / "set")
    assert len(read_split(tmp_path / "a" / "set" / "train")[1]["digits"]) == 60_000
    assert [len(file.starts) for file in served] == [2] * 4
    again = mnist_cdcb("--from", server.url("mirror/"), "--to", tmp_path / "b" / "set")
    assert again.returncode == 0 and "there already" in again.stdout
    assert [len(file.starts) for file in served] == [2] * 4


def original_archive(path: Path, *more: tuple[str, object]) -> bytes:
    """The layout of the authors' archive: train/ and test/ of pictures, x beside y."""
    members = []
    for split, count in (("train", 3), ("test", 2)):
        for index in range(count):
            picture = io.BytesIO()
            pixels = np.random.default_rng(index).integers(0, 256, (256, 512, 3), np.uint8)
            Image.fromarray(pixels).save(picture, "PNG", compress_level=0)
            members.append((f"MNIST-CDCB/{split}/{index:05}.png", picture.getvalue()))
    return tar_of(path, *members, *more).read_bytes()


def test_the_original_archive_becomes_a_set_and_its_checksum_is_recorded(server, tmp_path):
    name, target = "MNIST-CDCB-256Ims.tar.gz", tmp_path / "data" / "set"
    whole = original_archive(tmp_path / "whole")
    served = server.serve(name, whole[:-20])
    first = mnist_cdcb("--original", "--from", server.url(), "--to", target)
    refused(first, "nothing is unpacked")
    assert contents(tmp_path / "data").keys() == {"downloads/.lock"}

    served.content, served.drops = whole, [1000]
    assert mnist_cdcb("--original", "--from", server.url(), "--to", target).returncode == 0
    assert read_split(target / "train")[1]["images"].shape == (3, 2, 256, 256, 3)
    left = {p.name for p in (tmp_path / "data" / "downloads").iterdir()}
    assert left == {".lock", name, f"{name}.md5"}
    asked = len(served.starts)
    assert mnist_cdcb("--original", "--from", server.url(), "--to", target).returncode == 0
    assert len(served.starts) == asked
    refused(mnist_cdcb("--from", server.url(), "--to", target), "made from something else")


def test_the_original_comes_from_an_archive_or_a_folder_in_either_layout(tmp_path):
    archive = tmp_path / "cdcb.tgz"
    original_archive(archive)
    parent = tmp_path / "parent"
    with tarfile.open(archive) as tar:
        tar.extractall(parent, filter="data")
    for path in sorted(parent.rglob("*.png")):  # as IIAE-Pytorch halves them
        for side, half in zip("XY", np.split(np.asarray(Image.open(path)), 2, axis=1)):
            folder = tmp_path / "prepared" / f"{path.parent.name}{side}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(half).save(folder / path.name)
    before = contents(tmp_path)
    sources = {"a": archive, "b": parent, "c": parent / "MNIST-CDCB", "d": tmp_path / "prepared"}
    images = []
    for name, source in sources.items():
        target = tmp_path / f"made-{name}" / "set"
        made = mnist_cdcb("--from", source, "--original", "--to", target, "--", "--resolution", 64)
        assert made.returncode == 0, made
        assert f"./run_train.sh configs/iiae_mnist_32.json path_to_data={target}" in made.stdout
        images.append([read_split(target / split)[1]["images"] for split in ("train", "test")])
        assert not any(path.suffix in (".png", ".tgz") for path in target.parent.rglob("*"))
    assert [len(split) for split in images[0]] == [3, 2]
    for one in images[1:]:
        assert all(map(np.array_equal, one, images[0]))
    assert before.items() <= contents(tmp_path).items()


def test_what_holds_no_original_is_refused_and_left_as_it_is(tmp_path):
    local = tmp_path / "local"
    local.mkdir()
    (local / "t10k-labels-idx1-ubyte").write_bytes(b"not the pictures")
    refused(mnist_cdcb("--original", "--from", local, "--to", tmp_path / "set"), "nor trainX/ to testY/")
    torn = tmp_path / "downloads" / "torn.tgz"  # where what is fetched and damaged is removed
    torn.parent.mkdir()
    torn.write_bytes(original_archive(tmp_path / "whole")[:-20])
    refused(mnist_cdcb("--original", "--from", torn, "--to", tmp_path / "set"), "nothing is unpacked")
    refused(mnist_cdcb("--from", torn, "--to", tmp_path / "set"), "there is no folder at")
    assert torn.exists() and not (tmp_path / "set").exists()


def test_an_original_archive_that_leads_out_makes_no_set(server, tmp_path):
    evil = ("../../../evil", b"x")
    server.serve("MNIST-CDCB-256Ims.tar.gz", original_archive(tmp_path / "whole", evil))
    result = mnist_cdcb("--original", "--from", server.url(), "--to", tmp_path / "data" / "set")
    refused(result, "lead out")
    assert contents(tmp_path).keys() == {"whole", "data/downloads/.lock"}
