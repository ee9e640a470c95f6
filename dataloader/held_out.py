"""A share of the training data that training never sees, so that validation can look at it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from dataloader.dataset import Batch, Dataset
from dataloader.packed import DataError

MOST = 2000  # items of each stream, at most
LEAST = 2
SEED = 20_250_701  # of the choice, whatever a config's seed: runs of different seeds hold out the same


class Subset(Dataset):
    """Some items of a data set: of every stream those at `items`, counted anew from 0."""

    def __init__(self, whole: Dataset, items: tuple[np.ndarray, ...]):
        self.whole, self.items = whole, items
        self.domains, self.size = whole.domains, whole.size
        self.paired, self.partner_label = whole.paired, whole.partner_label
        self.mode_domain, self.colour_domains, self.knows = (
            whole.mode_domain,
            whole.colour_domains,
            whole.knows,
        )
        self.attributes, self.exclusive_attributes = whole.attributes, whole.exclusive_attributes
        self.measures_attributes = whole.measures_attributes
        self.streams = tuple(map(len, items))

    @property
    def half_images(self) -> int:
        return self.whole.half_images * sum(self.streams) // sum(self.whole.streams)

    def read(self, *indices: np.ndarray) -> dict[str, Tensor]:
        return self.whole.read(*(mine[index] for mine, index in zip(self.items, indices, strict=True)))

    def render(self, raw: dict[str, Tensor], training: bool = False) -> Batch:
        return self.whole.render(raw, training)

    def mode_of(self, images: Tensor) -> Tensor:
        return self.whole.mode_of(images)

    def colour_of(self, images: Tensor, domain: int) -> Tensor:
        return self.whole.colour_of(images, domain)

    def attributes_of(self, images: Tensor) -> Tensor:
        return self.whole.attributes_of(images)

    def groups(self) -> tuple[np.ndarray | None, ...]:
        found = zip(self.whole.groups(), self.items)
        return tuple(None if groups is None else groups[mine] for groups, mine in found)


def hold_out(train: Dataset, share: float) -> tuple[Subset, Subset]:
    """The rest, for training, and about this share of every stream (LEAST to MOST items). What comes from one
    source (`Dataset.groups`) is on one side. Of pairs that only their index makes partners, the share has
    one of each source, as a digit's pairs in other colours would all be as right. A function of the data
    alone. Raises DataError where they are too few."""
    groups = numbered(train)
    count = 1 + max(int(numbers.max()) for numbers in groups)
    sizes = np.stack([np.bincount(numbers, minlength=count) for numbers in groups], axis=1)
    wanted = np.array([min(MOST, max(LEAST, int(share * length))) for length in train.streams])
    taken, chosen = np.zeros_like(wanted), np.zeros(count, bool)
    for group in np.random.Generator(np.random.PCG64(SEED)).permutation(count):
        fits = (taken + sizes[group] <= wanted) | (taken == 0) | (sizes[group] == 0)
        if fits.all():
            chosen[group] = True
            taken += sizes[group]
        if (taken >= wanted).all():
            break
    if (taken == 0).any() or (taken == train.streams).any():
        counts = ", ".join(map(str, train.streams))
        raise DataError(f"validation cannot hold out some of so few training images ({counts})")
    held = tuple(chosen[numbers] for numbers in groups)
    rest, held_out = (tuple(np.flatnonzero(side == which) for side in held) for which in (False, True))
    if train.paired and train.partner_label is None:
        held_out = (held_out[0][np.sort(np.unique(groups[0][held_out[0]], return_index=True)[1])],)
    return Subset(train, rest), Subset(train, held_out)


def numbered(dataset: Dataset) -> list[np.ndarray]:
    """The source of every item of every stream, int64 [N] from 0 up; an item without a group is a source of
    its own."""
    found, next_free = [], 0
    given = [groups for groups in dataset.groups() if groups is not None]
    if given:
        known = np.unique(np.concatenate(given))
        next_free = len(known)
    for groups, length in zip(dataset.groups(), dataset.streams, strict=True):
        if groups is not None:
            found.append(np.searchsorted(known, groups))
        else:
            found.append(np.arange(next_free, next_free + length))
            next_free += length
    return found


def training_sets(
    open_split: Callable[[str], Dataset], folder: str | Path, share: float
) -> tuple[Dataset, Dataset | None]:
    """What training sees, and what validation looks at: the split val of the data set in `folder` where it
    has one, else this share of the training split, None where that is 0. Raises DataError."""
    train = open_split("train")
    if not share:
        return train, None
    if train.has_validation or has_val_split(Path(folder)):
        return train, open_split("val")
    return hold_out(train, share)


def has_val_split(folder: Path) -> bool:
    """Whether a data set's folder has a split val, packed or as folders, that does not serve as its test
    split."""

    def holds(split: str) -> bool:
        return any(path.is_dir() for path in (*folder.glob(split), *folder.glob(f"{split}[A-Z]")))

    return holds("val") and holds("test")
