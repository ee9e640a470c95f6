"""Whether random translations cover a domain that has several modes."""

from collections import defaultdict

import numpy as np

from dataloader.domains import spread
from solvers.evaluation.codes import Part, View
from solvers.evaluation.family import QUESTIONS, Family, Meaning

INPUTS, STYLES = 500, 4  # at most so many images of each other domain, each translated with so many styles
COVERED = 0.01  # a mode is covered that has at least this share of the translations


class Numbers(Family):
    """Where the data know the modes of a domain y, of translations x_to_y with random styles:

    modes/covered/x_to_y, how many modes have at least 1 % of them; modes/distance/x_to_y, the total variation
    between their frequencies and those of y's test images, 0 to 1; modes/none/x_to_y, the share that is of no
    mode, which counts in the distance as a mode that y lacks."""

    name = "modes"
    kept = ("truth", "made")
    question = QUESTIONS[5]
    needs = ("content", "prior")

    def __init__(self, view: View):
        super().__init__(view)
        self.target = view.dataset.mode_domain
        self.sources = [source for source, target in view.model.directions if target == self.target]
        self.inputs = {source: spread(view.counts[source], INPUTS) for source in self.sources}
        self.styles = {
            source: view.random_styles(self.target, len(index), STYLES)
            for source, index in self.inputs.items()
        }
        self.truth: list[np.ndarray] = []
        self.made: dict[int, list[np.ndarray]] = defaultdict(list)

    @classmethod
    def why_not(cls, view: View) -> str | None:
        known = view.dataset.mode_domain is not None
        return super().why_not(view) or (None if known else "the data know no modes")

    def see(self, part: Part) -> None:
        if len(part.items[self.target]):
            self.truth.append(part.labels[self.target]["mode"].cpu().numpy())
        for source in self.sources:
            places, mine = part.chosen(source, self.inputs[source])
            if len(places):
                content = part.content(source)[mine]
                for style in self.styles[source][places].unbind(1):
                    made = self.view.model.decode(content, style, self.target)
                    self.made[source].append(self.view.dataset.mode_of(made).cpu().numpy())

    def numbers(self) -> dict[str, float]:
        truth = np.concatenate(self.truth)
        wanted = np.bincount(truth, minlength=truth.max() + 1) / len(truth)
        return {
            f"modes/{name}/{self.view.way(source, self.target)}": value
            for source in self.sources
            for name, value in coverage(np.concatenate(self.made[source]), wanted).items()
        }

    def meanings(self) -> tuple[Meaning, ...]:
        covered = "how many of the target's modes have at least 1 % of the randomly styled translations"
        distance = "total variation between the frequencies of modes in translations and in real images"
        return (
            Meaning("modes/covered", covered, 1, None, "higher"),
            Meaning("modes/distance", distance, None, 0, "lower"),
            Meaning("modes/none", "share of translations that are of no mode", None, 0, "lower"),
        )


def coverage(modes: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """`modes` [N] of translations, -1 for none, against the frequencies [K] that real images have."""
    shares = np.bincount(modes + 1, minlength=len(wanted) + 1) / len(modes)  # first, of no mode
    return {
        "covered": float((shares[1:] >= COVERED).sum()),
        "distance": float(np.abs(shares - np.append(0, wanted)).sum() / 2),
        "none": float(shares[0]),
    }
