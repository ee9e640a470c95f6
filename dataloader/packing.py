"""Reading pictures of any kind as RGB, and packing them into one uint8 .npy on all cores, in little memory.

No PyTorch here: a worker is a fresh process, and small.
"""

import io
import os
import shutil
import signal
import struct
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps
from tqdm import tqdm

from dataloader.packed import DataError

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")  # Pillow's others run or read more: EPS
Source = Any  # what a row is made of: the path of a picture, or several
CHUNK = 16  # pictures per task
WORTH_A_WORKER = 200  # pictures that take about as long as a worker takes to start
MOST_WORKERS = 16  # beyond, workers mostly wait for the disk and for memory
UNREADABLE = (  # what Pillow raises on damaged files
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


# Pictures


def list_images(folder: Path) -> list[Path]:
    """The pictures directly in `folder`, by name in code-point order; hidden files are left out. Raises
    DataError where there is none."""
    if not folder.is_dir():
        raise DataError(f"no folder at {folder}")
    found = [path for path in folder.iterdir() if is_image(path)]
    if not found:
        raise DataError(f"no pictures ({', '.join(s[1:] for s in sorted(SUFFIXES))}) in {folder}")
    return sorted(found, key=lambda path: path.name)


def is_image(path: Path) -> bool:
    """By name: whether this is a picture that a person put there."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def read_picture(path: Path) -> Image.Image:
    """The picture in a file as 8-bit sRGB, turned upright by its EXIF orientation, transparency over white.
    Raises DataError, naming the file, where it cannot be read whole, is of no kind in FORMATS, or is larger
    than Pillow's limit against decompression bombs (some 89 million pixels)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd files
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_formats()) as picture:
                picture.load()
                return to_rgb(picture)
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as a picture ({_reason(error)})") from None


@cache
def _formats() -> list[str]:
    """Those that this Pillow can read."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _reason(error: BaseException) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "no known image format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def to_rgb(picture: Image.Image) -> Image.Image:
    """Any mode -> RGB: 16-bit grey is scaled, palettes looked up, colour profiles applied, transparency laid
    over white. Raises ValueError for floating-point and 32-bit pictures, whose white is unknown."""
    profile = picture.info.get("icc_profile")
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        picture = _from_16_bit(picture)
    if picture.mode == "F":
        raise ValueError("floating-point pixels")
    if not picture.has_transparency_data:
        return _to_srgb(picture, profile)
    grey = picture.mode in ("LA", "La")
    picture = picture.convert("LA" if grey else "RGBA")
    alpha = picture.getchannel("A")
    over = Image.new("RGB", picture.size, "white")
    over.paste(_to_srgb(picture.convert("L" if grey else "RGB"), profile), mask=alpha)
    return over


def _from_16_bit(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.int64)  # [H, W]
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise ValueError("32-bit pixels")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """To RGB by the embedded profile. One that is damaged or of another kind of picture counts as none, as
    it does for a browser."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            space = source.profile.xcolor_space.strip()
            if space == "RGB":
                picture = picture.convert("RGB")
            mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space)
            if mode == picture.mode and "sRGB" not in ImageCms.getProfileDescription(source):
                return ImageCms.profileToProfile(picture, source, _srgb(), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            pass
    return picture.convert("RGB")


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def resized(picture: Image.Image, height: int, width: int, filter: str = "bilinear") -> np.ndarray:
    """The picture as uint8 [height, width, 3], bilinear or bicubic with antialiasing; as it is where the size
    fits."""
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling[filter.upper()])
    return np.asarray(picture)


# Packing


class Packed(NamedTuple):
    """Which of the given files are stored, by index and in order, and what is wrong with each of the
    others."""

    kept: list[int]
    left_out: list[str]


@dataclass(frozen=True)
class Job:
    """What a worker must know: how to make a row of the file, and where rows stand in it."""

    target: Path
    convert: Callable[[Source], np.ndarray]
    shape: tuple[int, ...]
    offset: int
    skip_bad: bool

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape))


def pack_images(
    paths: Sequence[Source],
    target: Path,
    convert: Callable[[Source], np.ndarray],
    shape: tuple[int, ...],
    workers: int | None = None,
    skip_bad: bool = False,
    label: str = "pictures",
) -> Packed:
    """Write `convert(path)`, uint8 of `shape`, of every path into `target`, an .npy [N, *shape]; the same
    bytes whatever the number of workers (None: one per core, fewer for a small set).

    Workers write their rows into the file themselves, so memory does not grow with the set. `convert` must be
    picklable and raise DataError for a bad picture: that stops packing, or with `skip_bad` leaves the picture
    out. Raises DataError too where nothing is left, or where the disk is too full.
    """
    job = Job(target, convert, tuple(shape), len(npy_header(len(paths), shape)), skip_bad)
    _check_space(target.parent, len(paths) * job.row_bytes)
    with target.open("wb") as file:
        file.write(npy_header(len(paths), shape))
        file.truncate(job.offset + len(paths) * job.row_bytes)
    chunks = [(first, paths[first : first + CHUNK]) for first in range(0, len(paths), CHUNK)]
    bad: dict[int, str] = {}
    with tqdm(total=len(paths), desc=label, unit="", disable=None) as bar:
        for size, found in _run(job, chunks, min(workers or default_workers(len(paths)), len(chunks))):
            bad.update(found)
            bar.update(size)
    kept = [index for index in range(len(paths)) if index not in bad]
    if not kept:
        raise DataError(
            f"none of the {len(paths)} {label} can be read; the first: {bad.get(0, 'there is none')}"
        )
    if bad:
        _close_gaps(job, kept)
    return Packed(kept, [bad[index] for index in sorted(bad)])


class Stacks(NamedTuple):
    """What `pack_stacks` has written: by array its shape and the names of the files that were left out, and
    what is wrong with those."""

    shapes: dict[str, list[int]]
    left_out: dict[str, list[str]]
    reasons: list[str]


def pack_stacks(
    folder: Path,
    files: Mapping[str, Sequence[Path]],
    convert: Callable[[Path], np.ndarray],
    shape: tuple[int, ...],
    label: str,
    **options: Any,
) -> Stacks:
    """`pack_images`, with its options, of the files of every name into `folder`/NAME.npy. `label` may hold
    {name}. Raises DataError."""
    made = Stacks({}, {}, [])
    for name, paths in files.items():
        target, words = folder / f"{name}.npy", label.format(name=name)
        packed = pack_images(paths, target, convert, shape, label=words, **options)
        kept = set(packed.kept)
        made.shapes[name] = [len(kept), *shape]
        made.left_out[name] = [path.name for index, path in enumerate(paths) if index not in kept]
        made.reasons.extend(packed.left_out)
    return made


def default_workers(count: int) -> int:
    """One worker for each core that this process may use, 16 at most; fewer where `count` pictures are done
    before they have started."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, MOST_WORKERS, count // WORTH_A_WORKER))


def npy_header(count: int, shape: Sequence[int]) -> bytes:
    """What precedes the bytes of a uint8 array [count, *shape] in an .npy; as long for every count."""
    header = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (count, *map(int, shape))}
    np.lib.format.write_array_header_1_0(header, about)
    return header.getvalue()


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(f"this set takes {needed / 1e9:,.1f} GB and its disk has {free / 1e9:,.1f} GB free")


def _run(
    job: Job, chunks: list[tuple[int, Sequence[Source]]], workers: int
) -> Iterator[tuple[int, dict[int, str]]]:
    """Per chunk, in order: how many pictures it has, and what is wrong with the bad ones by index."""
    if workers <= 1:
        yield from ((len(paths), _pack_chunk(job, first, paths)) for first, paths in chunks)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker)
    pending: deque[tuple[int, Future]] = deque()
    try:
        for first, paths in chunks:
            pending.append((len(paths), pool.submit(_pack_chunk, job, first, paths)))
            if len(pending) >= 4 * workers:
                size, future = pending.popleft()
                yield size, future.result()
        for size, future in pending:
            yield size, future.result()
    except BrokenProcessPool:
        raise DataError("a worker was killed, perhaps for want of memory; try --workers 1") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def follow() -> None:
        connection.wait([parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _pack_chunk(job: Job, first: int, paths: Sequence[Source]) -> dict[int, str]:
    """Write rows first, first + 1 ...; what is wrong with the bad ones by index, where they may be left
    out."""
    bad = {}
    with job.target.open("r+b") as file:
        for index, path in enumerate(paths, first):
            try:
                row = job.convert(path)
            except DataError as error:
                if not job.skip_bad:
                    raise DataError(f"{error}; --skip-bad leaves such files out") from None
                bad[index] = str(error)
                continue
            if row.shape != job.shape or row.dtype != np.uint8:
                raise TypeError(f"{path}: became {row.dtype} {row.shape}, not uint8 {job.shape}")
            file.seek(job.offset + index * job.row_bytes)
            file.write(np.ascontiguousarray(row).data)
    return bad


def _close_gaps(job: Job, kept: list[int]) -> None:
    """Move the rows that are kept together, row by row, and correct the header's count."""
    with job.target.open("r+b") as file:
        for to, index in enumerate(kept):
            if to != index:
                file.seek(job.offset + index * job.row_bytes)
                row = file.read(job.row_bytes)
                file.seek(job.offset + to * job.row_bytes)
                file.write(row)
        file.truncate(job.offset + len(kept) * job.row_bytes)
        file.seek(0)
        file.write(npy_header(len(kept), job.shape))
