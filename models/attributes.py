"""What models of known attributes share: their style is a vector of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.translator import Translator


class KnownAttributes(Translator):
    """A translator of images of one domain, whose style says which of `attributes` an image has, [B,
    attributes] of 0 and 1. The prior of styles is how attributes come together in training: one of the
    vectors `known`, float [n, attributes], a buffer, so that a checkpoint holds it."""

    known: Tensor

    def __init__(self, domains: Sequence[str], attributes: Sequence[str], known: Tensor):
        super().__init__()
        if len(domains) != 1 or not attributes:
            raise ValueError("attributes are learnt from one domain whose labels say what its images have")
        self.domains, self.attributes = tuple(domains), tuple(attributes)
        self.register_buffer("known", known.float())

    @property
    def directions(self) -> tuple[tuple[int, int], ...]:
        return ((0, 0),)

    def sample_style(self, count: int, domain: int, generator: torch.Generator | None = None) -> Tensor:
        chosen = torch.randint(len(self.known), (count,), generator=generator)
        return self.known[chosen.to(self.known.device)]
