"""A watch over the losses: the first that is not finite stops the run; none comes to the host for it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class NonFiniteLoss(RuntimeError):
    """A loss became NaN or infinite; the message says which, when, and what the last good checkpoint is."""


class LossWatch:
    """Looks at every loss of every iteration without pulling any to the host: the first iteration at which
    each was not finite is kept on the device until it is asked for."""

    NEVER = torch.iinfo(torch.int64).max

    def __init__(self, device: torch.device):
        self.device = device
        self.first_bad: dict[tuple[str, ...], Tensor] = {}  # by the names that an iteration's losses had

    def see(self, iteration: int, losses: dict[str, Tensor]) -> None:
        values = torch.stack([loss.float() for loss in losses.values()])
        names = tuple(losses)
        if names not in self.first_bad:
            self.first_bad[names] = torch.full((len(losses),), self.NEVER, device=self.device)
        now = torch.where(values.isfinite(), self.NEVER, iteration)
        self.first_bad[names] = torch.minimum(self.first_bad[names], now)

    def fault(self) -> tuple[int, str] | None:
        """(iteration, name) of the first loss that was not finite, or None."""
        found = [
            (iteration, name)
            for names, first in self.first_bad.items()
            for iteration, name in zip(first.tolist(), names)
            if iteration != self.NEVER
        ]
        return min(found, key=lambda one: one[0], default=None)


def first_bad(networks: Mapping[str, nn.Module]) -> str | None:
    """The name of the first network with a weight that is not finite, or None."""
    return next(
        (
            name
            for name, network in networks.items()
            if not all(bool(tensor.isfinite().all()) for tensor in network.parameters())
        ),
        None,
    )
