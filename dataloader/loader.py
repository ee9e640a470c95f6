"""Endless batches whose order is a pure function of (seed, position), read ahead by threads.

Nothing here has a state worth saving: batch number n is the same whether a run came to it or was resumed at
it.
"""

import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dataloader.dataset import Batch, Dataset


class Shuffle:
    """An endless stream of indices below `length`: one permutation per epoch, each drawn from (seed,
    epoch)."""

    def __init__(self, length: int, seed: int, stream: int = 0):
        self.length, self.seed, self.stream = length, seed, stream
        self.epoch_order = lru_cache(maxsize=2)(self._epoch_order)

    def _epoch_order(self, epoch: int) -> np.ndarray:
        return np.random.Generator(np.random.PCG64([self.seed, self.stream, epoch])).permutation(self.length)

    def take(self, start: int, count: int) -> np.ndarray:
        """Positions start .. start + count - 1 of the stream."""
        parts, position = [], start
        while position < start + count:
            epoch, offset = divmod(position, self.length)
            part = self.epoch_order(epoch)[offset : offset + start + count - position]
            parts.append(part)
            position += len(part)
        return np.concatenate(parts)


class TrainLoader:
    """Training batches from iteration `start` + 1 on, on `device`, rendered and augmented.

    Every rank of several processes takes its own share of the global batch. `workers` threads read ahead; 0
    reads when asked. An exception in a reader is raised where the batch is asked for.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        workers: int = 1,
    ):
        self.dataset, self.device, self.workers = dataset, device, workers
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.shuffles = [Shuffle(length, seed, stream) for stream, length in enumerate(dataset.streams)]

    def raw(self, iteration: int) -> dict[str, Tensor]:
        """The stored batch of one iteration (the first is 1), on the CPU, pinned for a GPU."""
        mine = slice(self.rank, None, self.world)
        first = (iteration - 1) * self.batch_size
        indices = [shuffle.take(first, self.batch_size)[mine] for shuffle in self.shuffles]
        batch = self.dataset.read(*indices)
        return {name: t.pin_memory() for name, t in batch.items()} if self.device.type == "cuda" else batch

    def batch(self, raw: dict[str, Tensor]) -> Batch:
        moved = {name: tensor.to(self.device, non_blocking=True) for name, tensor in raw.items()}
        return self.dataset.render(moved, training=True)

    def iterate(self, start: int, stop: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """(iteration, raw batch) for iterations start + 1 .. stop, read ahead of need. `batch` renders
        one."""
        if self.workers == 0:
            yield from ((iteration, self.raw(iteration)) for iteration in range(start + 1, stop + 1))
            return
        pending: queue.SimpleQueue[tuple[int, Future]] = queue.SimpleQueue()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="loader")
        try:
            ahead = start
            for iteration in range(start + 1, stop + 1):
                while ahead < min(stop, iteration + 2 * self.workers):
                    ahead += 1
                    pending.put((ahead, pool.submit(self.raw, ahead)))
                number, future = pending.get()
                yield number, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def in_order(
    dataset: Dataset, batch_size: int, device: torch.device, count: int | None = None
) -> Iterator[Batch]:
    """The first `count` items (None: all) of a paired data set, in order, without augmentation."""
    stop = len(dataset) if count is None else min(count, len(dataset))
    for first in range(0, stop, batch_size):
        yield dataset.at(np.arange(first, min(first + batch_size, stop)), device=device)
