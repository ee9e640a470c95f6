"""One domain of a data set at a time, whether its items come in pairs or each domain has its own."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from dataloader.dataset import Dataset

READ = 64  # images read at a time for their labels


def count_of(dataset: Dataset, domain: int) -> int:
    """How many images of this domain the split holds."""
    return dataset.streams[domain] if len(dataset.streams) > 1 else dataset.streams[0]


def one_domain(
    dataset: Dataset, domain: int, index: np.ndarray, device: torch.device
) -> tuple[Tensor, dict[str, Tensor]]:
    """The images [B, 3, H, W] of one domain at these indices, without augmentation, and what is known of
    them: int64 [B] by label."""
    indices = [index]
    if len(dataset.streams) > 1:  # of every other domain one item is read and not looked at
        indices = [np.zeros(1, int)] * len(dataset.streams)
        indices[domain] = index
    batch = dataset.at(*indices, device=device)
    return batch.images[domain], batch.labels[domain]


def labels_of(dataset: Dataset) -> list[set[str]]:
    """The names of the labels of each domain."""
    batch = dataset.at(*[np.zeros(1, int)] * len(dataset.streams))
    return [set(labels) for labels in batch.labels]


def in_batches(index: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """`index` in parts of at most `batch_size`."""
    return [index[first : first + batch_size] for first in range(0, len(index), batch_size)]


def spread(count: int, most: int) -> np.ndarray:
    """At most `most` indices below `count`, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def attribute_vectors(labels: Mapping[str, Tensor], attributes: Sequence[str]) -> Tensor:
    """Which of the attributes images have, by their labels: float [B, attributes] of 0 and 1."""
    return torch.stack([labels[name].float() for name in attributes], dim=1)


def spread_attributes(dataset: Dataset, most: int, device: torch.device | str = "cpu") -> Tensor:
    """The attribute vectors of at most `most` images of a set of one domain, evenly spread: float
    [n, attributes]."""
    parts = in_batches(spread(count_of(dataset, 0), most), READ)
    known = [one_domain(dataset, 0, part, torch.device(device))[1] for part in parts]
    return torch.cat([attribute_vectors(labels, dataset.attributes) for labels in known])


def attribute_groups(dataset: Dataset) -> dict[str, list[int]]:
    """What can be asked for independently, by name, and the numbers of its attributes: one, or several that
    exclude each other (red+green+blue)."""
    names, groups = dataset.attributes, dataset.exclusive_attributes
    found: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        group = next((list(members) for members in groups if number in members), [number])
        found["+".join(names[one] for one in group) if len(group) > 1 else name] = group
    return found


def asked_for(have: Tensor, number: int, groups: Iterable[list[int]]) -> Tensor:
    """`have` [B, attributes] with the other value of this attribute, or, of several that exclude each other,
    with it and none of the others."""
    want = have.clone()
    group = next(members for members in groups if number in members)
    want[:, group] = 0
    want[:, number] = 1 if len(group) > 1 else 1 - have[:, number]
    return want
