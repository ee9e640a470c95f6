"""A watch over the losses: the first that is not finite stops the run; none comes to the host for it."""

import torch
from torch import Tensor


class NonFiniteLoss(RuntimeError):
    """A loss became NaN or infinite; the message says which, when, and what the last good checkpoint is."""


class LossWatch:
    """Looks at every loss of every iteration without pulling any to the host: the first iteration at which
    each was not finite is kept on the device until it is asked for."""

    NEVER = torch.iinfo(torch.int64).max

    def __init__(self, device: torch.device):
        self.device, self.names = device, []
        self.first_bad: Tensor | None = None

    def see(self, iteration: int, losses: dict[str, Tensor]) -> None:
        values = torch.stack([loss.float() for loss in losses.values()])
        if self.first_bad is None or self.names != list(losses):
            self.names = list(losses)
            self.first_bad = torch.full((len(losses),), self.NEVER, device=self.device)
        now = torch.where(values.isfinite(), self.NEVER, iteration)
        self.first_bad = torch.minimum(self.first_bad, now)

    def fault(self) -> tuple[int, str] | None:
        """(iteration, name) of the first loss that was not finite, or None."""
        if self.first_bad is None:
            return None
        first = self.first_bad.tolist()
        iteration = min(first)
        return None if iteration == self.NEVER else (iteration, self.names[first.index(iteration)])
