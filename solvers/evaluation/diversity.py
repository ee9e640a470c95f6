"""How much translations of one image differ: the mean distance between pairs of translations of the same
image with random styles (DRIT, ECCV 2018, table of LPIPS diversity), beside pairs of real images.

L1 needs nothing but the images. LPIPS, the paper's distance, needs pretrained weights: it is computed where a
config asks for it and they are there.
"""

from collections import defaultdict
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from configs.keys.common import Test
from dataloader.dataset import Dataset
from dataloader.domains import in_batches, spread
from solvers.evaluation.codes import Part, Rows, View
from solvers.evaluation.distances import Distance, check_lpips, l1, lpips_distance
from solvers.evaluation.family import QUESTIONS, Family, Meaning

INPUTS, STYLES = 100, 5  # ten pairs of five translations each of 100 images: 1,000 pairs, as in the paper
PAIRS = INPUTS * STYLES * (STYLES - 1) // 2


class Numbers(Family):
    """diversity/l1/x_to_y, the mean over 1,000 pairs of translations that differ in their style alone, and
    diversity/l1/real_y over 1,000 pairs of different real images of y, for every direction and domain; the
    same under diversity/lpips with test.lpips. L1 is a mean over pixels in [-1, 1]: 0 to 2."""

    name = "diversity"
    kept = ("found", "real")
    question = QUESTIONS[5]
    needs = ("content", "prior")

    def __init__(self, view: View):
        super().__init__(view)
        self.distances: dict[str, Distance] = {"l1": l1}
        if view.settings.lpips:
            self.distances["lpips"] = lpips_distance(view.device)
        self.inputs = [spread(count, INPUTS) for count in view.counts]
        self.styles = {
            (source, target): view.random_styles(target, len(self.inputs[source]), STYLES)
            for source, target in view.model.directions
        }
        self.found: dict[str, list[Tensor]] = defaultdict(list)
        self.pairs = [real_pairs(count, view.seed) for count in view.counts]
        self.wanted = [np.unique(np.concatenate(pairs)) for pairs in self.pairs]
        self.real = [Rows(len(wanted)) for wanted in self.wanted]

    @classmethod
    def check(cls, settings: Test, dataset: Dataset) -> None:
        if settings.lpips:
            check_lpips()

    def see(self, part: Part) -> None:
        model = self.view.model
        for domain, wanted in enumerate(self.wanted):
            places, mine = part.chosen(domain, wanted)
            if len(places):
                self.real[domain].put(places, part.images[domain][mine])
        for source, target in model.directions:
            places, mine = part.chosen(source, self.inputs[source])
            if not len(places):
                continue
            content = part.content(source)[mine]
            styles = self.styles[source, target][places].unbind(1)
            made = [model.decode(content, style, target) for style in styles]
            for kind, distance in self.distances.items():
                name = f"diversity/{kind}/{self.view.way(source, target)}"
                self.found[name] += [distance(a, b).cpu() for a, b in combinations(made, 2)]

    def numbers(self) -> dict[str, float]:
        found = {}
        for kind, distance in self.distances.items():
            for source, target in self.view.model.directions:
                name = f"diversity/{kind}/{self.view.way(source, target)}"
                found[name] = torch.cat(self.found[name]).double().mean().item()
            for domain, name in enumerate(self.view.domains):
                if self.view.counts[domain] > 1:
                    found[f"diversity/{kind}/real_{name}"] = self.among_real(domain, distance)
        return found

    def among_real(self, domain: int, distance: Distance) -> float:
        first, second = (np.searchsorted(self.wanted[domain], side) for side in self.pairs[domain])
        real, found = self.real[domain].array, []
        for part in in_batches(np.arange(PAIRS), self.view.settings.batch_size):
            a, b = (torch.from_numpy(real[side[part]]).to(self.view.device) for side in (first, second))
            found.append(distance(a, b).cpu())
        return torch.cat(found).double().mean().item()

    def meanings(self) -> tuple[Meaning, ...]:
        apart = (
            "mean distance between translations of one image with random styles, and between real images of a"
        )
        return (Meaning("diversity", f"{apart} domain (real)", 0, None, "higher"),)


def real_pairs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """PAIRS pairs of different items below `count`, drawn at random; of one item, itself."""
    chooser = np.random.Generator(np.random.PCG64(seed))
    first = chooser.integers(count, size=PAIRS)
    return first, (first + chooser.integers(1, max(2, count), size=PAIRS)) % count
