"""No room on the disk, or no memory: said in one line, with where and how much; nothing is left half-made."""

import errno
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from dataloader.packed import sync

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk's quota is used up",
    errno.EFBIG: "the disk takes no file as large",
}
ASKED = (  # how NumPy, PyTorch and CUDA say how much was wanted
    re.compile(r"tried to allocate ([\d.]+ (?:bytes|[KMGT]iB))", re.IGNORECASE),
    re.compile(r"Unable to allocate ([\d.]+ (?:bytes|[KMGT]iB))"),
)
MEMORY = re.compile(r"can't allocate memory|out of memory|ALLOC_FAILED|Cannot allocate memory")


class Shortage(RuntimeError):
    """A run that ended for want of disk or memory; the message is one line."""


def shortage(error: BaseException | None) -> str | None:
    """What is used up, in words, if this error or what led to it comes from that."""
    for each in chain_of(error):
        code = getattr(each, "errno", None)
        if code in FULL:
            name = getattr(each, "filename", None)
            return f"{FULL[code]}: {name}" if name else FULL[code]
        text = str(each)
        kinds = (MemoryError, torch.OutOfMemoryError)
        if isinstance(each, kinds) or (isinstance(each, RuntimeError | OSError) and MEMORY.search(text)):
            asked = next((match[1] for way in ASKED if (match := way.search(text))), None)
            place = "the GPU" if "CUDA" in text or "CUDNN" in text or "CUBLAS" in text else "the machine"
            wanted = f": {readable(asked)} more were wanted" if asked else ""
            return f"{place} is out of memory{wanted}"
    return None


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it came from, what that came from, and so on; none twice."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def readable(amount: str) -> str:
    """ "123456789 bytes" as "117.7 MiB"; anything else as it is."""
    number, unit = amount.split()
    if unit != "bytes":
        return amount
    size = float(number)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.4g} {unit}"


@contextmanager
def told(where: Callable[[], str]) -> Iterator[None]:
    """Turn what comes of a shortage inside into a Shortage that ends in `where`. A person's own mistakes,
    which have classes of their own, go through as they are."""
    try:
        yield
    except Shortage as error:
        raise Shortage(f"{error}; {where()}") from error
    except (MemoryError, OSError, RuntimeError) as error:
        ours = type(error).__module__.partition(".")[0] in ("solvers", "dataloader")
        reason = None if ours else shortage(error)
        if reason is None:
            raise
        raise Shortage(f"{reason}; {where()}") from error


@contextmanager
def whole(path: Path, part: Path, size: int | None = None, durable: bool = True) -> Iterator[Path]:
    """The place `part` to write a file at, which then takes the place of `path`: as before or complete, and
    no part is left; `durable`: on the disk before that. `size` in bytes, where it is known before, is named
    if there is no room. Raises Shortage."""
    try:
        yield part
        if durable:
            sync(part)
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        reason = shortage(error) if isinstance(error, OSError | RuntimeError) else None
        if reason is None or "memory" in reason:
            raise
        free = f"{readable(f'{shutil.disk_usage(path.parent).free} bytes')} are free"
        wants = f"wants {readable(f'{size} bytes')} and {free}" if size else f"cannot be written, {free}"
        raise Shortage(f"{reason.partition(':')[0]}: {path} {wants}") from error
