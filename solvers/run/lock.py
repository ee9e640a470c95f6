"""One run, one process: a lock on a run's folder, which ends when the process that holds it ends."""

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from solvers.run.folder import RunError, RunFolder

try:
    import fcntl
except ImportError:  # Windows, where runs are not locked
    fcntl = None

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)  # a folder of somebody else's: nobody else writes either


@contextmanager
def held(run: RunFolder) -> Iterator[None]:
    """The lock of a run's folder while it trains. What the run made of its folder is removed again where it
    ends by an error before it has `begun`."""
    with RunLock(run.root):
        new = not run.config.exists()
        try:
            yield
        except BaseException:
            if new and not run.begun:
                run.remove()
            raise


class RunLock:
    """While entered, no other process that enters may train or test in `folder`, which is made where it is
    missing, and removed again where it stays empty. The system keeps the lock and lets go of it when the
    process ends; what a killed one leaves is an unlocked file. Raises RunError where another holds it."""

    def __init__(self, folder: Path):
        self.folder, self.path = folder, folder / ".lock"
        self.file: int | None = None
        self.made: list[Path] = []  # folders that were missing, the innermost first

    def __enter__(self) -> "RunLock":
        if fcntl is None:
            return self
        self.made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            while self.file is None:
                self.file = self.locked()
        except BlockingIOError:
            raise RunError(
                f"{self.folder} is in use by {self.holder()}; wait for its end, or give another run_dir"
            ) from None
        except OSError as error:
            if error.errno in (*READ_ONLY, errno.ENOTSUP, errno.ENOLCK):
                return self
            raise RunError(
                f"cannot write to {self.folder}: {error.strerror}; set output_dir or run_dir elsewhere"
            ) from None
        os.ftruncate(self.file, 0)
        os.pwrite(self.file, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)
        return self

    def locked(self) -> int | None:
        """The lock's file, open and locked; None where its holder removed it in between."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.path.exists() and os.path.samestat(os.fstat(file), self.path.stat()):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        return None

    def holder(self) -> str:
        try:
            found = json.loads(self.path.read_text())
            return f"process {int(found['pid'])} on {found['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    def __exit__(self, *_: object) -> None:
        if self.file is None:
            return
        with suppress(OSError):
            self.path.unlink()
        os.close(self.file)
        self.file = None
        with suppress(OSError):  # one holds something
            for folder in self.made:
                folder.rmdir()
