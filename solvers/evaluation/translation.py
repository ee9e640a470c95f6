"""Whether translations keep what the domains share and take from their reference what is the target's own: a
label that a classifier of real images reads in them, and a colour that is measured in them."""

from collections import defaultdict
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dataloader import DataError
from dataloader.dataset import Dataset
from dataloader.domains import count_of, in_batches, one_domain, spread
from solvers.evaluation.classifier import IMAGES as TRAINED_ON
from solvers.evaluation.classifier import target_classifier
from solvers.evaluation.codes import Part, View
from solvers.evaluation.family import QUESTIONS, Family, Meaning

IMAGES = 2000  # of each direction and domain, at most
LOOKED_AT = 256  # images of each domain by which its labels are known
KINDS = 32  # a label with more values is no class
CHANNELS = ("red", "green", "blue")


class Numbers(Family):
    """translation/digit/random/x_to_y, the share of x's images whose digit a classifier of real images of y
    reads in their translations with random styles, the same for reference, or translation/digit/x_to_y of a
    model without styles, and beside them translation/digit/real_y, the share that it reads rightly of y's own
    images; for every label of few values that the domains share.

    translation/colour_error/reference/x_to_y, how far the colour that is measured in a translation is from
    the true one of its reference, a mean over channels from 0 to 1, and beside it
    translation/colour_error/real_y, the same for real images and their own colour.
    """

    name = "translation"
    kept = ("found",)
    question = QUESTIONS[3]
    needs = ("content",)

    def __init__(self, view: View):
        super().__init__(view)
        self.labels = self.labels_or_reason(view)[0]
        self.colours = view.dataset.colour_domains if view.model.has_style else ()
        self.targets = sorted({target for _, target in view.model.directions})
        self.judges = {
            (target, label): target_classifier(view, target, label)
            for target in self.targets
            for label in self.labels
        }
        self.index = [spread(count, IMAGES) for count in view.counts]
        self.found: dict[str, list[Tensor]] = defaultdict(list)

    @classmethod
    def why_not(cls, view: View) -> str | None:
        if (reason := super().why_not(view)) is not None:
            return reason
        labels, reason = cls.labels_or_reason(view)
        return None if labels or (view.dataset.colour_domains and view.model.has_style) else reason

    @staticmethod
    def labels_or_reason(view: View) -> tuple[list[str], str]:
        """The labels that are read in translations, and why there is none where there is none."""
        try:
            return judged_labels(view), "the domains share no label of few values, and no colour is known"
        except DataError as error:
            return [], f"it needs the training split: {error}"

    def see(self, part: Part) -> None:
        for domain in self.targets:
            if domain in self.colours and len(part.items[domain]):
                part.seen.see(part, "colour", domain, partial(true_colours, domain=domain))
            places, mine = part.chosen(domain, self.index[domain])
            if len(places):
                end = f"real_{self.view.domains[domain]}"
                items = part.items[domain][mine.cpu().numpy()]
                self.judge(part.images[domain][mine], domain, part.labels[domain], mine, end)
                self.measure(part, part.images[domain][mine], domain, items, end)
        for source, target in self.view.model.directions:
            if len(part.items[source]):
                self.see_direction(part, source, target)

    def see_direction(self, part: Part, source: int, target: int) -> None:
        way, model = self.view.way(source, target), self.view.model
        places, mine = part.chosen(source, self.index[source])
        if model.has_style:
            part.reference_style(source, target)
        if not len(places):
            return
        if not model.takes_style and self.labels:
            made = part.some_in_style("none", source, target, mine)
            self.judge(made, target, part.labels[source], mine, way)
        if model.has_style_prior and self.labels:
            made = part.some_in_style("random", source, target, mine)
            self.judge(made, target, part.labels[source], mine, f"random/{way}")
        if model.has_style and (self.labels or target in self.colours):
            made = part.some_in_style("reference", source, target, mine)
            self.judge(made, target, part.labels[source], mine, f"reference/{way}")
            items = part.items[source][mine.cpu().numpy()]
            references = self.view.references_of(items, source, target)
            self.measure(part, made, target, references, f"reference/{way}")

    def judge(self, images: Tensor, domain: int, labels: dict[str, Tensor], mine: Tensor, end: str) -> None:
        """Whether each of these pictures, as of this domain, is read as the label says."""
        for label in self.labels:
            guess = self.judges[domain, label].logits(images).argmax(dim=1)
            right = guess == labels[label].to(guess.device)[mine]
            self.found[f"translation/{label}/{end}"].append(right.cpu())

    def measure(self, part: Part, images: Tensor, domain: int, items: np.ndarray, end: str) -> None:
        """How far the colours of these pictures are from those that the images of these numbers have."""
        if domain in self.colours:
            asked = part.seen.of(part, items, "colour", domain, partial(true_colours, domain=domain)).cpu()
            error = (self.view.dataset.colour_of(images, domain).cpu() - asked).abs().mean(dim=1)
            self.found[f"translation/colour_error/{end}"].append(error)

    def numbers(self) -> dict[str, float]:
        return {name: torch.cat(values).double().mean().item() for name, values in self.found.items()}

    def draws(self, number: str) -> bool:
        return "/random/" in number

    def meanings(self) -> list[Meaning]:
        apart = "mean error of the colour that a translation takes from its reference (real: of measuring it)"
        found = [Meaning("translation/colour_error", f"{apart}, RGB from 0 to 1", None, 0, "lower")]
        for label in self.labels:
            chance = 1 / max(judge.kinds for (_, name), judge in self.judges.items() if name == label)
            words = f"share of translations in which a classifier of real images reads the right {label}"
            found.append(
                Meaning(f"translation/{label}", f"{words} (real: of real images)", chance, 1, "higher")
            )
        return found

    def protocol(self) -> dict[str, Any]:
        names = self.view.domains
        return {
            "images": {name: len(index) for name, index in zip(names, self.index)},
            "classifiers": {
                f"{label} of {names[target]}": {
                    "weights": judge.weights_hash,
                    "iterations": self.view.settings.classifier_iterations,
                    "training_images_at_most": TRAINED_ON,
                }
                for (target, label), judge in self.judges.items()
            },
        }


def judged_labels(view: View) -> list[str]:
    """The labels that a classifier can learn to read from the training split. Raises DataError without it."""
    key = "judged labels"
    if key not in view.made:
        view.made[key] = shared_labels(view.open_train())
    return view.made[key]


def shared_labels(dataset: Dataset) -> list[str]:
    """The labels that the domains share and that have 2 to KINDS values in each: for pairs, those that
    partners agree in. Attributes, which a style changes, are none."""
    known = [seen_labels(dataset, domain) for domain in range(len(dataset.domains))]
    found = []
    for name in set.intersection(*map(set, known)) - set(dataset.attributes):
        values = [labels[name] for labels in known]
        fewest, all_together = min(map(kinds, values)), kinds(np.concatenate(values))
        agree = not dataset.paired or all(np.array_equal(values[0], some) for some in values)
        if fewest > 1 and all_together <= KINDS and agree:
            found.append(name)
    return sorted(found)


def kinds(values: np.ndarray) -> int:
    return len(np.unique(values))


def seen_labels(dataset: Dataset, domain: int) -> dict[str, np.ndarray]:
    """The labels of some images of a domain."""
    index, device = spread(count_of(dataset, domain), LOOKED_AT), torch.device("cpu")
    parts = [one_domain(dataset, domain, part, device)[1] for part in in_batches(index, 64)]
    return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}


def true_colours(part: Part, domain: int) -> Tensor:
    """Of a part's images: [B, 3], 0 to 1."""
    name, labels = part.view.domains[domain], part.labels[domain]
    return torch.stack([labels[f"{name}_{channel}"] for channel in CHANNELS], dim=1).float() / 255
