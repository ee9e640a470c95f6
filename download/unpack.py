"""Unpacks a tar (plain, gz, bz2, xz) or zip archive into a new folder, or refuses it:

    python download/unpack.py ARCHIVE FOLDER

FOLDER appears complete or not at all, and nothing is written outside it: an archive with absolute paths,
'..', links that lead out, devices, more files or bytes than a data set has, or damage is refused in one line,
exit status 1. Links inside become copies, so that what is unpacked holds plain files and folders only. Needs
nothing but Python.
"""

import glob
import lzma
import os
import posixpath
import resource
import shutil
import signal
import stat
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

DAMAGE = (
    OSError,
    EOFError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    MemoryError,
)
MOST_FILES = 1_000_000  # and folders
MOST_TIMES = 100  # of the archive's own size, what may come out, or
SMALL = 1 << 30  # bytes, whatever the archive's size
MEMORY = 4 << 30  # bytes: more than any compression needs, less than a header blown up on purpose


class Refused(Exception):
    """Why an archive is not unpacked."""


class Entry(NamedTuple):
    """One file (`content`), link (`link`, a name in the archive) or folder (neither)."""

    name: str
    size: int
    content: IO[bytes] | None = None
    link: str | None = None


def main(arguments: list[str]) -> int:
    """Exit status: 0 done, 1 refused, 2 wrong usage."""
    if len(arguments) != 2:
        print("error: usage: unpack.py ARCHIVE FOLDER", file=sys.stderr)
        return 2
    archive, folder = map(Path, arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    with suppress(ValueError, OSError):  # some systems have no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY if hard < 0 else min(MEMORY, hard), hard))
    try:
        unpack(archive, folder)
    except Refused as reason:
        print(f"error: {archive}: {printable(str(reason))}; nothing is unpacked", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def unpack(archive: Path, folder: Path) -> None:
    """Raises Refused. Does nothing where `folder` is there. Two at a time into one folder is the caller's to
    prevent."""
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.*.part"):
        shutil.rmtree(leftover)
    if not archive.is_file():
        raise Refused("there is no such file")
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        left = max(SMALL, MOST_TIMES * archive.stat().st_size)
        for number, entry in enumerate(entries(archive), 1):
            if number > MOST_FILES:
                raise Refused(f"holds more than {MOST_FILES:,} files")
            left -= max(entry.size, 0) if entry.link is None else size_of_link(entry, work)
            if left < 0:
                raise Refused(f"would unpack to more than {MOST_TIMES} times its own size")
            write(entry, work)
        work.chmod(0o755)
        os.sync()
        work.rename(folder)
    except UnicodeError:
        raise Refused("has file names that cannot be read") from None
    except DAMAGE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Refused(f"is damaged or cannot be written out ({reason})") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def entries(archive: Path) -> Iterator[Entry]:
    """What an archive holds, in its order."""
    if tarfile.is_tarfile(archive):  # first, for a tar may end in a zip
        with tarfile.open(archive) as tar:
            yield from tar_entries(tar)
    elif zipfile.is_zipfile(archive):
        yield from zip_entries(archive)
    else:
        raise Refused("is no tar or zip archive, or is damaged")


def tar_entries(tar: tarfile.TarFile) -> Iterator[Entry]:
    for member in tar:
        if member.isreg():
            yield Entry(member.name, member.size, content=tar.extractfile(member))
        elif member.isdir():
            yield Entry(member.name, 0)
        elif member.issym():
            yield Entry(member.name, 0, link=posixpath.join(posixpath.dirname(member.name), member.linkname))
        elif member.islnk():
            yield Entry(member.name, 0, link=member.linkname)
        else:
            raise Refused(f"{member.name} is a device or something else than a file")
        tar.members.clear()  # or a list of every member grows in memory
    # tarfile takes a cut or garbled header for the end: the end is a block of zeros, and reading on to the
    # last byte checks the compression's own checksum.
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise Refused("is cut off or damaged")
    while tar.fileobj.read(1 << 20):
        pass


def zip_entries(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise Refused(f"{member.filename} is a link or a device")
            if member.flag_bits & 1:
                raise Refused(f"{member.filename} is encrypted")
            if member.is_dir():
                yield Entry(member.filename, 0)
            else:
                with packed.open(member) as content:
                    yield Entry(member.filename, member.file_size, content=content)


def write(entry: Entry, work: Path) -> None:
    """Write one entry below `work`, where there are no links that could lead out."""
    target = inside(entry.name, work, entry.name)
    if entry.content is not None:
        if entry.size > shutil.disk_usage(work).free:
            raise Refused(f"{entry.name} takes {entry.size / 1e9:.1f} GB, more than is free")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(entry.content, file, 1 << 20)
        if target.stat().st_size != entry.size:
            raise Refused(f"is damaged ({entry.name} is cut off)")
    elif entry.link is not None:
        source = inside(posixpath.normpath(entry.link), work, f"{entry.name}, a link to {entry.link},")
        if not source.is_file():
            raise Refused(f"{entry.name} is a link to {entry.link}, which is no file before it")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    else:
        target.mkdir(parents=True, exist_ok=True)


def size_of_link(entry: Entry, work: Path) -> int:
    """What the copy of a link's file will take; `write` refuses what is no such link."""
    source = inside(posixpath.normpath(entry.link or ""), work, f"{entry.name}, a link to {entry.link},")
    return source.stat().st_size if source.is_file() else 0


def inside(name: str, work: Path, what: str) -> Path:
    """Where the archive's `name` comes to stand below `work`. Raises Refused where that is outside."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name:
        raise Refused(f"{what} would lead out of the folder")
    if "\0" in name:
        raise Refused(f"{what} is no name of a file")
    return work.joinpath(*(part for part in parts if part not in ("", ".")))


def printable(text: str) -> str:
    """On one line, and without what would command a terminal: an archive's names may hold anything."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
