"""Retrieval: whether an image's content finds its partner among all images of the other domain (IIAE, section
4.2), and whether its style does, which should not."""

import numpy as np
import torch
from torch import Tensor

from solvers.evaluation.codes import Part, Rows, View
from solvers.evaluation.family import QUESTIONS, Family, Meaning

RECALLS = {"retrieval": 1, "retrieval_at_5": 5}  # by name, how many of the nearest count
DISTANCES = 1 << 22  # held at a time
KEYS = 4096  # made float64 at a time


class Numbers(Family):
    """retrieval/shared/x_to_y, the share of images whose nearest content code of the other domain is their
    partner's, and retrieval/exclusive/x_to_y, the same by style code; retrieval_at_5/..., the share whose
    partner is among the five nearest."""

    name = "retrieval"
    kept = ("labels", "codes")
    question = QUESTIONS[0]
    needs = ("content", "codes", "codes of all")

    def __init__(self, view: View):
        super().__init__(view)
        count = len(view.dataset)
        self.labels = [Rows(count) for _ in range(2)]
        self.codes = {"shared": [Rows(count) for _ in range(2)]}
        if view.model.has_style:
            self.codes["exclusive"] = [Rows(count) for _ in range(2)]

    @classmethod
    def why_not(cls, view: View) -> str | None:
        return super().why_not(view) or (None if view.dataset.paired else "the data are not paired")

    def see(self, part: Part) -> None:
        label = self.view.dataset.partner_label
        for domain, items in enumerate(part.items):
            self.codes["shared"][domain].put(items, part.content(domain).float().flatten(1))
            if "exclusive" in self.codes:
                self.codes["exclusive"][domain].put(items, part.style(domain).float().flatten(1))
            if label:
                self.labels[domain].put(items, part.labels[domain][label])

    @property
    def ids(self) -> list[np.ndarray]:
        """Of each domain's images: equal numbers are partners."""
        return [np.arange(len(rows)) if rows.array is None else rows.array for rows in self.labels]

    def numbers(self) -> dict[str, float]:
        found = {}
        for kind, codes in self.codes.items():
            for a, b in ((0, 1), (1, 0)):
                ranks = ranks_of_partners(codes[a].array, codes[b].array, self.ids[a], self.ids[b])
                for name, most in RECALLS.items():
                    found[f"{name}/{kind}/{self.view.way(a, b)}"] = float((ranks < most).mean())
        return found

    def meanings(self) -> list[Meaning]:
        found = []
        for name, most in RECALLS.items():
            chance = chance_recall(*self.ids, most)
            nearest = "the nearest" if most == 1 else f"one of the {most} nearest"
            words = f"how often the partner is {nearest} of all images of the other domain by"
            found += [
                Meaning(f"{name}/shared", f"{words} content code", chance, 1, "higher"),
                Meaning(
                    f"{name}/exclusive", f"{words} style code, which should not know", chance, chance, "lower"
                ),
            ]
        return found


def chance_recall(query_ids: np.ndarray, key_ids: np.ndarray, most: int) -> float:
    """The recall of keys in random order."""
    values, counts = np.unique(key_ids, return_counts=True)
    place = np.searchsorted(values, query_ids).clip(max=len(values) - 1)
    right = np.where(values[place] == query_ids, counts[place], 0)
    all_wrong = np.prod(
        [(len(key_ids) - right - n).clip(0) / (len(key_ids) - n) for n in range(most)], axis=0
    )
    return float(np.mean(1 - all_wrong))


def ranks_of_partners(
    queries: np.ndarray, keys: np.ndarray, query_ids: np.ndarray, key_ids: np.ndarray
) -> np.ndarray:
    """For each query [N, D], how many keys [M, D] come before the first that has its id, by L2: int64 [N].

    Computed in blocks, so that memory stays bounded. The squared distance is expanded in float64 around the
    keys' mean, so that codes far from the origin lose nothing. Of equally near keys the first comes first, so
    codes that all coincide score at chance. A query whose id no key has comes after all.
    """
    centre = np.mean(keys, axis=0, dtype=np.float64)
    block = max(1, DISTANCES // len(keys))
    key_ids_there = torch.from_numpy(key_ids)
    places = torch.arange(len(keys))
    ranks = []
    for first in range(0, len(queries), block):
        mine = slice(first, first + block)
        distances = distances_between(queries[mine], keys, centre)
        right = key_ids_there == torch.from_numpy(query_ids[mine])[:, None]
        nearest = torch.where(right, distances, torch.inf).amin(dim=1)
        level = distances == nearest[:, None]
        place = torch.where(level & right, places, len(keys)).amin(dim=1)
        before = (distances < nearest[:, None]) | (level & (places < place[:, None]))
        ranks.append(torch.where(nearest.isinf(), len(keys), before.sum(dim=1)))
    return torch.cat(ranks).numpy()


def distances_between(queries: np.ndarray, keys: np.ndarray, centre: np.ndarray) -> Tensor:
    """Squared distances, but for each query's own square: float64 [N, M]."""
    from_centre = torch.from_numpy(queries - centre)
    found = torch.empty(len(queries), len(keys), dtype=torch.float64)
    for first in range(0, len(keys), KEYS):
        there = torch.from_numpy(keys[first : first + KEYS] - centre)
        norms = there.square().sum(dim=1)
        torch.addmm(norms, from_centre, there.T, alpha=-2, out=found[:, first : first + KEYS])
    return found


def recall(
    queries: np.ndarray, keys: np.ndarray, query_ids: np.ndarray, key_ids: np.ndarray, most: int = 1
) -> float:
    """The share of queries one of whose `most` nearest keys has their id."""
    return float((ranks_of_partners(queries, keys, query_ids, key_ids) < most).mean())
