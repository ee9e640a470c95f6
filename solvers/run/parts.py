"""An iteration's batch in equal parts, of which one at a time is in memory (gradient accumulation).

An iteration has several updates, and what comes after one sees the weights that it left. So the parts go from
update to update together: each runs the training step from its start to that update, gives its share of the
gradient, and is let go with all that it computed. For the next update it runs from the start again, with the
same draws, and at every update on its way the weights become what that one left. So the outcome is that of
the whole batch, whatever a step does, and what is paid is the time of what is computed again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dataloader.dataset import Batch
from solvers.schedules import seed_iteration

if TYPE_CHECKING:
    from solvers.run.stepping import Stepping


class Enough(Exception):
    """A part has given its gradient; its training step ends here. None catches it but `Parts`."""


class Parts:
    """One iteration in `count` parts. Part `number` runs now, for the `wanted`-th update."""

    def __init__(self, solver: "Stepping", count: int):
        self.solver, self.count = solver, count
        self.number, self.wanted, self.seen = 0, 0, 0
        self.names: tuple[str, ...] = ()
        self.clip: float | None = None
        self.more = False  # whether another update follows the wanted one
        self.before: dict[Tensor, Tensor] = {}  # weights of all that learned, as they were at the start
        self.after: list[dict[Tensor, Tensor]] = []  # by update, what it made of its own
        self.kept: list[tuple[Tensor, int, Tensor]] = []  # buffers after the last share in the wanted update
        self.buffers = [buffer for network in solver.networks.values() for buffer in network.buffers()]

    @property
    def begins(self) -> bool:
        """Whether the first part runs for the first time."""
        return self.wanted == 1 and self.number == 0

    def run(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        """The means of the parts' losses. Raises RuntimeError where parts of a batch have other updates."""
        parts = [part_of(batch, number, self.count) for number in range(self.count)]
        while True:
            self.wanted, self.more = self.wanted + 1, False
            losses = [self.run_part(number, part, iteration) for number, part in enumerate(parts)]
            ended = [of_part for of_part in losses if of_part is not None]
            if len(ended) == self.count:
                self.step()
                return {name: torch.stack([of[name] for of in ended]).mean(dim=0) for name in ended[0]}
            if ended:
                raise RuntimeError("training.accumulate: the parts of a batch differ in their updates")
            mine = list(self.weights())
            self.before |= copies(weight for weight in mine if weight not in self.before)
            self.step()
            self.after.append(copies(mine))

    def run_part(self, number: int, part: Batch, iteration: int) -> dict[str, Tensor] | None:
        """Take a part to the wanted update; its losses, where no other comes after that. The first goes on to
        see whether one does, and what buffers became meanwhile is forgotten."""
        self.number, self.seen = number, 0
        put(self.before)
        seed_iteration(self.solver.config.seed, self.solver.rank, iteration, number + 1)
        try:
            losses = self.solver.train_step(part, iteration)
        except Enough:
            self.more = True
            self.restore()
            return None
        self.keep()
        return losses

    def weights(self) -> Iterator[Tensor]:
        """Those that the wanted update is of."""
        for name in self.names:
            for group in self.solver.optimizers[name].param_groups:
                yield from group["params"]

    def keep(self) -> None:
        """Remember what the buffers are."""
        self.kept = [(buffer, buffer._version, buffer.clone()) for buffer in self.buffers]

    def restore(self) -> None:
        """Make those that changed since what they were. No gradient goes through such, so that graphs which
        know them may live on."""
        for buffer, version, value in self.kept:
            if buffer._version != version:
                buffer.data.copy_(value)

    def step(self) -> None:
        self.solver.step(*self.names, clip=self.clip)

    def update(self, backward: Callable[[], None], names: Sequence[str], clip: float | None) -> None:
        """A part came to an update. Buffers change once with each part, not again on the way to it."""
        self.seen += 1
        if self.seen < self.wanted:
            put(self.after[self.seen - 1])
            if self.seen == self.wanted - 1:
                self.restore()
            return
        if self.seen > self.wanted:
            raise Enough
        if self.number == 0:
            self.names, self.clip = tuple(names), clip
            self.solver.clear(names)
        backward()
        self.keep()
        if self.more:
            raise Enough


def part_of(batch: Batch, number: int, count: int) -> Batch:
    """Of `count` equal parts of a batch the one of this number."""

    def cut(values: Tensor) -> Tensor:
        size = len(values) // count
        return values[number * size : (number + 1) * size]

    labels = tuple({name: cut(values) for name, values in known.items()} for known in batch.labels)
    return Batch(tuple(map(cut, batch.images)), labels)


def copies(tensors: Iterable[Tensor]) -> dict[Tensor, Tensor]:
    """Each with a copy of what is in it."""
    return {tensor: tensor.detach().clone() for tensor in tensors}


@torch.no_grad()
def put(values: dict[Tensor, Tensor]) -> None:
    """Give tensors what was copied from them back."""
    for tensor, value in values.items():
        tensor.copy_(value)
