"""The one look that test mode takes at a split: every image is read and encoded once, a batch at a time, and
every family of numbers sees the same batches.

Nothing here grows with the split but what a family keeps of each image, in `Rows`, which go to the disk where
they are large.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from configs.keys.common import Test
from dataloader.dataset import Dataset
from dataloader.domains import count_of
from models.translator import Translator

DRAWS = 64  # random styles are drawn so many at a time, whatever the batch size
IN_MEMORY = 1 << 28  # bytes of one `Rows`; what is larger is kept in a file


@dataclass
class View:
    """What is looked at and how. `model` is in eval mode; `open_train` gives the training split, which few
    families need; `say` tells a person what takes long; `cache` is a folder for what takes long to make and
    depends on the data alone, None where there is none. `share` is (rank, world) of processes that look
    together. `made` is what families make for each other."""

    model: Translator
    dataset: Dataset
    settings: Test
    seed: int
    device: torch.device
    open_train: Callable[[], Dataset]
    say: Callable[[str], None] = lambda line: None
    cache: Path | None = None
    split: str = "test"
    share: tuple[int, int] = (0, 1)
    made: dict[Any, Any] = field(default_factory=dict)

    @property
    def domains(self) -> tuple[str, ...]:
        return self.model.domains

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """How many images of each domain the split holds."""
        return tuple(count_of(self.dataset, domain) for domain in range(len(self.domains)))

    @property
    def styles(self) -> str:
        """Of translations that one kind of styles is enough for: "random", from the prior where there is one;
        without, of "reference" images; "none" of a model that has no styles."""
        if self.model.has_style_prior:
            return "random"
        return "reference" if self.model.has_style else "none"

    def way(self, source: int, target: int) -> str:
        return f"{self.domains[source]}_to_{self.domains[target]}"

    def parts(self) -> Iterator["Part"]:
        """The split in batches, of several processes a run of them: item 0 upwards of every domain side by
        side."""
        seen, (rank, world), count = Seen(self), self.share, len(self.batches)
        for items in self.batches[count * rank // world : count * (rank + 1) // world]:
            yield Part(self, items, seen)

    @cached_property
    def batches(self) -> list[tuple[np.ndarray, ...]]:
        """The items of each domain that every batch of the whole split has. They are an even number, but for
        the last, which is never alone: items 2n and 2n + 1 are always together."""
        size, longest = max(2, self.settings.batch_size // 2 * 2), max(self.counts)
        ends = [*range(size, longest - 1, size), longest]
        return [
            tuple(np.arange(min(first, count), min(last, count)) for count in self.counts)
            for first, last in zip([0, *ends], ends)
        ]

    def references_of(self, items: np.ndarray, source: int, target: int) -> np.ndarray:
        """The images of `target` that give these images of `source` a style, none of them its partner: of
        pairs the neighbour's partner, else the image of the same number, counted round."""
        count = self.counts[target]
        if len(self.dataset.streams) > 1:
            return items % count
        return np.where(items ^ 1 < count, items ^ 1, np.maximum(items - 1, 0))  # the last of an odd number

    @cached_property
    def ways(self) -> frozenset[str]:
        """All translations, as they are named in numbers."""
        return frozenset(self.way(*ends) for ends in self.model.directions)

    def random_styles(self, domain: int, count: int, copies: int) -> Tensor:
        """`copies` styles of `domain` from the prior for each of `count` images: [count, copies, ...], a
        function of the seed alone."""
        generator = torch.Generator().manual_seed(self.seed)
        blocks = []
        for first in range(0, count, DRAWS):
            size = min(DRAWS, count - first)
            drawn = [self.model.sample_style(size, domain, generator) for _ in range(copies)]
            blocks.append(torch.stack(drawn, dim=1))
        return torch.cat(blocks)

    def random_style_of(self, items: np.ndarray, domain: int, copy: int = 0) -> Tensor:
        """A style of `domain` from the prior for each of these numbers (ascending): [B, ...], a function of
        seed, domain, number and `copy`, whatever batch it is asked for in."""
        drawn = []
        for block in np.unique(items // DRAWS):
            source = np.random.SeedSequence([self.seed, domain, copy, int(block)])
            generator = torch.Generator().manual_seed(int(source.generate_state(1, np.uint64)[0]))
            styles = self.model.sample_style(DRAWS, domain, generator)
            drawn.append(styles[torch.from_numpy(items[items // DRAWS == block] % DRAWS)])
        return torch.cat(drawn)


class Seen:
    """Something of every image, such as its style, as far as the split was looked at; for references in
    unpaired data, whose domains may have different lengths."""

    def __init__(self, view: View):
        self.view = view
        self.rows: dict[tuple[str, int], Rows] = {}

    def see(self, part: "Part", what: str, domain: int, of: Callable[["Part"], Tensor]) -> "Rows":
        """Keep what `of` makes of the part's images of a domain, once."""
        rows = self.rows.setdefault((what, domain), Rows(self.view.counts[domain]))
        mine = part.items[domain]
        if len(mine) and not rows.has[mine[0]]:
            rows.put(mine, of(part))
        return rows

    def of(
        self, part: "Part", items: np.ndarray, what: str, domain: int, of: Callable[["Part"], Tensor]
    ) -> Tensor:
        """That of these items. Those that neither `part` holds nor a part that was seen before it are in
        batches of other processes, which are made here, too."""
        rows = self.see(part, what, domain, of)
        missing = items[~rows.has[items]]
        for batch in self.view.batches if len(missing) else ():
            if np.isin(batch[domain], missing).any():
                self.see(Part(self.view, batch, self), what, domain, of)
        return torch.from_numpy(rows.array[items]).to(self.view.device)


class Part:
    """One batch of the split. `items[d]` are the numbers of the images of domain d that it holds, none where
    the domain has fewer than others; everything else is computed on first need and once."""

    def __init__(self, view: View, items: tuple[np.ndarray, ...], seen: Seen):
        self.view, self.items, self.seen = view, items, seen
        paired = len(view.dataset.streams) == 1
        indices = items[:1] if paired else [item if len(item) else np.zeros(1, int) for item in items]
        batch = view.dataset.at(*indices, device=view.device)
        self.images, self.labels = batch.images, batch.labels
        self.made: dict[tuple, Tensor] = {}

    def once(self, key: tuple, make: Callable[[], Tensor]) -> Tensor:
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def content(self, domain: int) -> Tensor:
        return self.once(
            ("content", domain), lambda: self.view.model.encode_content(self.images[domain], domain)
        )

    def style(self, domain: int) -> Tensor:
        if self.view.model.components:
            return self.style_and_components(domain)[0]
        return self.once(("style", domain), lambda: self.view.model.encode_style(self.images[domain], domain))

    def components(self, domain: int) -> Tensor:
        """How probable each component of the prior is for each style: [B, components]."""
        return self.style_and_components(domain)[1]

    def style_and_components(self, domain: int) -> tuple[Tensor, Tensor]:
        key = ("components", domain)
        return self.once(
            key, lambda: self.view.model.encode_style_and_components(self.images[domain], domain)
        )

    def reconstruction(self, domain: int) -> Tensor:
        """The images of a domain from their own content and, where the model has styles, style."""
        model = self.view.model
        key = ("reconstruction", domain)
        style = self.style(domain) if model.has_style else None
        return self.once(key, lambda: model.decode(self.content(domain), style, domain))

    def translation(self, source: int, target: int) -> Tensor:
        """Of a model that has no styles of images: the images of `source` in `target`, where there is a prior
        each with a style of its own from it."""
        if self.view.model.has_style_prior:
            return self.in_random_style(source, target)
        key = ("translation", source, target)
        return self.once(key, lambda: self._in_style(source, target, None))

    def in_partners_style(self, source: int, target: int) -> Tensor:
        """Of pairs: the images of `source` in `target`, each with its partner's style."""
        model = self.view.model
        key = ("in partner's style", source, target)
        return self.once(key, lambda: model.decode(self.content(source), self.style(target), target))

    def in_reference_style(self, source: int, target: int) -> Tensor:
        """The images of `source` in `target`, each with the style of its reference: View.references_of."""
        key = ("in reference's style", source, target)
        return self.once(key, lambda: self._in_style(source, target, self.reference_style(source, target)))

    def in_random_style(self, source: int, target: int) -> Tensor:
        """The images of `source` in `target`, each with a style of its own from the prior."""
        key = ("in random style", source, target)
        items = self.items[source]
        return self.once(
            key, lambda: self._in_style(source, target, self.view.random_style_of(items, target))
        )

    def _in_style(self, source: int, target: int, style: Tensor | None) -> Tensor:
        return self.view.model.decode(self.content(source), style, target)

    def reference_style(self, source: int, target: int) -> Tensor:
        """The style of each image's reference. In unpaired data to be asked for in every part that has images
        of `source`, or in none."""
        key = ("reference's style", source, target)
        return self.once(key, lambda: self._reference_style(source, target))

    def _reference_style(self, source: int, target: int) -> Tensor:
        references = self.view.references_of(self.items[source], source, target)
        if len(self.view.dataset.streams) == 1:
            places = torch.from_numpy(references - self.items[source][0])
            return self.style(target)[places.to(self.view.device)]
        return self.seen.of(self, references, "style", target, lambda part: part.style(target))

    def some_in_style(self, kind: str, source: int, target: int, mine: Tensor) -> Tensor:
        """Some images of `source` (their places in this part, one or more) in `target`, with styles of this
        kind: "random", "reference" or, of a model without styles, "none"."""
        style = None
        if kind == "reference":
            style = self.reference_style(source, target)[mine]
        elif kind == "random":
            style = self.view.random_style_of(self.items[source][mine.cpu().numpy()], target)
        return self.view.model.decode(self.content(source)[mine], style, target)

    def chosen(self, domain: int, wanted: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """Of items `wanted` (no item twice) of a domain, those that this part holds: their places in `wanted`
        and their places in this part, on the device."""
        items = self.items[domain]
        if not len(items):
            return np.zeros(0, int), torch.zeros(0, dtype=torch.long, device=self.view.device)
        places = np.flatnonzero((wanted >= items[0]) & (wanted <= items[-1]))
        return places, torch.from_numpy(wanted[places] - items[0]).to(self.view.device)


class Rows:
    """An array [N, ...] that is filled row by row as the split is looked at; in a file that nobody else sees
    where it is larger than IN_MEMORY."""

    def __init__(self, count: int):
        self.count = count
        self.array: np.ndarray | None = None
        self.has = np.zeros(count, bool)  # which rows were filled

    def put(self, places: np.ndarray | slice, values: Tensor | np.ndarray) -> None:
        values = values.cpu().numpy() if isinstance(values, Tensor) else values
        if self.array is None:
            self.array = self._new((self.count, *values.shape[1:]), values.dtype)
        self.array[places] = values
        self.has[places] = True

    def written(self) -> np.ndarray:
        """The rows that were filled, in ascending order."""
        return np.flatnonzero(self.has)

    @staticmethod
    def _new(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        if int(np.prod(shape)) * dtype.itemsize <= IN_MEMORY:
            return np.zeros(shape, dtype)
        with tempfile.TemporaryFile() as file:  # the map keeps what it needs; the name is gone already
            return np.memmap(file, dtype, "w+", shape=shape)

    def __len__(self) -> int:
        return self.count
