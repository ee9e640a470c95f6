"""A process that died: the others say which one it was, and end."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch.distributed as dist

from solvers.run.shortage import chain_of

BEAT, SILENCE = 0.2, 3.0  # seconds between two signs of life; without one for so long a process is dead
BROKEN = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")
NAME, LIFE, SAID = "process/", "beat/", "said/"  # keys of the store, before a rank


class LostProcess(RuntimeError):
    """Another process is gone. `speaks`: whether it is for this one to say so."""

    def __init__(self, reason: str, speaks: bool):
        super().__init__(reason)
        self.speaks = speaks


class Pulse:
    """Signs of life of this process in the store that all share, and a look at those of the others."""

    def __init__(self, host: str, port: int, rank: int, world: int):
        self.store = dist.TCPStore(host, port, is_master=False, timeout=timedelta(seconds=SILENCE))
        self.rank, self.world = rank, world
        self.ending = threading.Event()
        self.store.set(
            f"{NAME}{rank}", f"process {rank} of {world} (pid {os.getpid()} on {socket.gethostname()})"
        )
        self.store.add(f"{LIFE}{rank}", 1)
        threading.Thread(
            target=self.beat, args=(dist.TCPStore(host, port, is_master=False),), daemon=True
        ).start()

    def beat(self, store: dist.Store) -> None:
        """Until the end; `store` is a connection of the thread's own."""
        while not self.ending.wait(BEAT):
            try:
                store.add(f"{LIFE}{self.rank}", 1)
            except RuntimeError:  # the store is gone, and the one who has it
                return

    def dead(self) -> list[int]:
        """The ranks of those who give no sign of life for SILENCE seconds."""
        others = {rank for rank in range(self.world) if rank != self.rank}
        before = {rank: self.store.add(f"{LIFE}{rank}", 0) for rank in others}
        end = time.monotonic() + SILENCE
        while others and time.monotonic() < end:
            time.sleep(BEAT)
            others = {rank for rank in others if self.store.add(f"{LIFE}{rank}", 0) == before[rank]}
        return sorted(others)

    def say_goodbye(self) -> None:
        with suppress(RuntimeError):
            self.store.set(f"{SAID}{self.rank}", "1")

    def lost(self) -> LostProcess:
        """Who is dead, in words."""
        try:
            dead = self.dead()
            names = ", ".join(self.store.get(f"{NAME}{rank}").decode() for rank in dead)
            said = any(self.store.check([f"{SAID}{rank}"]) for rank in dead)
        except RuntimeError:
            return LostProcess("the process at which all meet is gone", True)
        first = min(set(range(self.world)) - set(dead)) == self.rank
        gone = f"{names} {'is' if len(dead) == 1 else 'are'} gone"
        return LostProcess(gone if dead else "a connection to another process broke", first and not said)


pulse: Pulse | None = None  # while there are several processes


@contextmanager
def watched(where: Callable[[], str]) -> Iterator[None]:
    """Turn what a broken connection to another process raises inside into a LostProcess that names the one
    that is gone and ends in `where`."""
    try:
        yield
    except RuntimeError as error:
        if pulse is None or not any(word in str(each) for each in chain_of(error) for word in BROKEN):
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, to those who are left and end anyway
        found = pulse.lost()
        raise LostProcess(f"{found}; {where()}", found.speaks) from error


def say_goodbye() -> None:
    """This process ends and says itself why."""
    if pulse is not None:
        pulse.say_goodbye()


def start(host: str, port: int, rank: int, world: int) -> None:
    """Give signs of life from now on, at the store that torchrun announced."""
    global pulse
    pulse = Pulse(host, port, rank, world)


def stop() -> None:
    global pulse
    if pulse is not None:
        pulse.ending.set()
        pulse = None
