"""Unpacking archives: whole or not at all, and never outside the folder."""

import io
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, contents


def environment(**more: str) -> dict[str, str]:
    quick = {"DOWNLOAD_PAUSE": "0", "DOWNLOAD_TRIES": "3", "no_proxy": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, "PYTHON": sys.executable, **quick, **more}


def call(*command: object, **more: str) -> subprocess.CompletedProcess:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, env=environment(**more), timeout=600)


def refused(result: subprocess.CompletedProcess, reason: str, status: int = 1) -> None:
    assert result.returncode == status, result
    assert result.stderr.startswith("error: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert reason in result.stderr, result.stderr


def tar_of(path: Path, *members: tuple[str, object], mode: str = "w:gz") -> Path:
    """(name, bytes) is a file, (name, (type, target)) a link or device."""
    with tarfile.open(path, mode) as tar:
        for name, what in members:
            member = tarfile.TarInfo(name)
            if isinstance(what, bytes):
                member.size = len(what)
                tar.addfile(member, io.BytesIO(what))
            else:
                member.type, member.linkname = what
                tar.addfile(member)
    return path


def zip_of(path: Path, *members: tuple[str, bytes], mode: int = stat.S_IFREG | 0o644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            packed.writestr(info, content)
    return path


def unpack(archive: Path, folder: Path) -> subprocess.CompletedProcess:
    return call(sys.executable, "-I", "-S", ROOT / "download" / "unpack.py", archive, folder)


GOOD = (("set/train/a.png", b"A" * 3000), ("set/test/b.png", b"B" * 5000))


@pytest.mark.parametrize("kind", ["w:gz", "w:bz2", "w:xz", "w", "zip"])
def test_tar_and_zip_archives_are_unpacked_whole(tmp_path, kind):
    archive = zip_of(tmp_path / "a", *GOOD) if kind == "zip" else tar_of(tmp_path / "a", *GOOD, mode=kind)
    (tmp_path / ".out.killed.part").mkdir()
    assert unpack(archive, tmp_path / "out").returncode == 0
    assert contents(tmp_path / "out") == dict(GOOD)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "out"]


def test_links_inside_an_archive_become_copies(tmp_path):
    links = (("set/c", (tarfile.SYMTYPE, "train/a.png")), ("set/d", (tarfile.LNKTYPE, "set/test/b.png")))
    assert unpack(tar_of(tmp_path / "a", *GOOD, *links), tmp_path / "out").returncode == 0
    assert (tmp_path / "out/set/c").read_bytes() == GOOD[0][1]
    assert (tmp_path / "out/set/d").read_bytes() == GOOD[1][1]
    assert not any(p.is_symlink() for p in (tmp_path / "out").rglob("*"))


HOSTILE = {
    "dots": [("../evil", b"x")],
    "dots inside": [("set/../../evil", b"x")],
    "absolute": [("{outside}/evil", b"x")],
    "symlink out": [("link", (tarfile.SYMTYPE, "../secret"))],
    "symlink absolute": [("link", (tarfile.SYMTYPE, "{outside}/secret"))],
    "hardlink out": [("link", (tarfile.LNKTYPE, "../secret"))],
    "hardlink absolute": [("link", (tarfile.LNKTYPE, "{outside}/secret"))],
    "through a symlink": [("link", (tarfile.SYMTYPE, "..")), ("link/evil", b"x")],
    "through a chain": [
        ("d/link", (tarfile.SYMTYPE, ".")),
        ("up", (tarfile.SYMTYPE, "d/link/../..")),
        ("up/evil", b"x"),
    ],
    "device": [("null", (tarfile.CHRTYPE, ""))],
    "pipe": [("pipe", (tarfile.FIFOTYPE, ""))],
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_tar_is_refused_in_one_line_and_nothing_is_written(tmp_path, attack):
    outside, inner = tmp_path / "outside", tmp_path / "outside" / "inner"
    inner.mkdir(parents=True)
    (outside / "secret").write_text("secret")

    def placed(text: str) -> str:
        return text.format(outside=outside)

    members = [
        (placed(name), what if isinstance(what, bytes) else (what[0], placed(what[1])))
        for name, what in HOSTILE[attack]
    ]
    archive = tar_of(tmp_path / "a.tar.gz", *GOOD, *members)
    refused(unpack(archive, inner / "out"), "nothing is unpacked")
    assert contents(tmp_path) == {"a.tar.gz": archive.read_bytes(), "outside/secret": b"secret"}
    assert list(inner.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil-{pid}", "set\\..\\..\\evil"])
def test_a_hostile_zip_is_refused_in_one_line_and_nothing_is_written(tmp_path, name):
    name = name.format(pid=os.getpid())
    refused(unpack(zip_of(tmp_path / "a.zip", *GOOD, (name, b"x")), tmp_path / "in" / "out"), "lead out")
    assert list((tmp_path / "in").iterdir()) == []
    assert not (tmp_path / "evil").exists() and not Path(f"/tmp/evil-{os.getpid()}").exists()


def test_a_zip_with_a_symlink_is_refused(tmp_path):
    archive = zip_of(tmp_path / "a.zip", ("link", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777)
    refused(unpack(archive, tmp_path / "out"), "link is a link or a device")


@pytest.mark.parametrize("kind", ["w:gz", "w", "zip"])
def test_a_truncated_archive_is_refused_wherever_it_is_cut(tmp_path, kind):
    whole = (
        zip_of(tmp_path / "w", *GOOD) if kind == "zip" else tar_of(tmp_path / "w", *GOOD, mode=kind)
    ).read_bytes()
    data_end = 512 + 3072 + 512 + 5120  # of the plain tar: after it there is only padding
    lengths = (
        [0, 100, 512, 3584, 4096, 6000, data_end] if kind == "w" else [1, len(whole) // 2, len(whole) - 1]
    )
    for length in lengths:
        (tmp_path / "cut").write_bytes(whole[:length])
        refused(unpack(tmp_path / "cut", tmp_path / "out"), "nothing is unpacked")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut", "w"]


def test_an_archive_with_a_garbled_member_is_refused(tmp_path):
    whole = bytearray(tar_of(tmp_path / "a", *GOOD, mode="w").read_bytes())
    whole[512 + 3072 + 20] ^= 255  # the second header
    (tmp_path / "a").write_bytes(whole)
    refused(unpack(tmp_path / "a", tmp_path / "out"), "damaged")
    assert not (tmp_path / "out").exists()


def test_a_name_that_no_file_can_have_or_that_commands_a_terminal_is_refused_in_plain_words(tmp_path):
    for name, said in (
        ("set/\0/a.png", "is no name of a file"),
        ("../\x1b[31mevil\a", "?[31mevil? would"),
    ):
        member = tarfile.TarInfo("a")
        member.pax_headers = {"path": name}
        with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(member)
        refused(unpack(tmp_path / "a.tar", tmp_path / "out"), said)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def run_unpack(archive: Path, folder: Path, **limits: int) -> subprocess.CompletedProcess:
    """unpack.py with other limits."""
    sets = "".join(f"unpack.{name} = {value}; " for name, value in limits.items())
    code = f"import sys; sys.path.insert(0, 'download'); import unpack; {sets}"
    code += "sys.exit(unpack.main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, str(archive), str(folder)]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=600)


@pytest.mark.parametrize("kind", ["tar", "zip", "links"])
def test_an_archive_that_would_fill_the_disk_is_refused_before_it_does(tmp_path, kind):
    folder, archive = tmp_path / "out", tmp_path / "bomb"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("zeros", bytes(3_000_000))
    elif kind == "tar":
        tar_of(archive, *((f"{n}", bytes(300_000)) for n in range(10)))
    else:
        links = ((f"{n}", (tarfile.LNKTYPE, "first")) for n in range(40))
        tar_of(archive, ("first", os.urandom(100_000)), *links)
    refused(run_unpack(archive, folder, SMALL=1_000_000, MOST_TIMES=30), "more than 30 times its own size")
    assert [path.name for path in tmp_path.iterdir()] == ["bomb"]
    assert run_unpack(archive, folder).returncode == 0


def test_an_archive_of_too_many_files_is_refused(tmp_path):
    archive = tar_of(tmp_path / "many", *((f"{n}", b"") for n in range(11)))
    refused(run_unpack(archive, tmp_path / "out", MOST_FILES=10), "more than 10 files")
    assert run_unpack(archive, tmp_path / "out", MOST_FILES=11).returncode == 0
