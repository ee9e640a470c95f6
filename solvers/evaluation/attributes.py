"""Whether asking for an attribute changes what was asked for, and nothing else."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from dataloader import DataError
from dataloader.domains import asked_for, attribute_groups, attribute_vectors, spread
from solvers.evaluation.classifier import IMAGES as TRAINED_ON
from solvers.evaluation.classifier import TrainedClassifier, target_classifier
from solvers.evaluation.codes import Part, View
from solvers.evaluation.distances import l1
from solvers.evaluation.family import QUESTIONS, Family, Meaning
from solvers.evaluation.translation import judged_labels

IMAGES = 500  # of the split, at most; each is edited once for every attribute
DOMAIN = 0  # a model of attributes has one domain


class Numbers(Family):
    """Of each attribute a, for which images are asked that do not have it, or, where it is none of several
    that exclude each other, for its other value:

    attributes/a/asked, the share of images that then have what was asked; attributes/a/kept/b, the share that
    has b as before, for every other attribute or group of attributes that exclude each other (attributes/
    a/kept/red+green+blue), and for every label of few values (attributes/a/kept/digit) that a classifier of
    real images reads. attributes/asked, attributes/kept and attributes/digit_kept are their means.

    attributes/unchanged_l1, how far images are from themselves when asked for what they have.

    attributes/reader/b, how much the reader of pictures gets right of real test images: what the data set
    measures, else a classifier of all attributes trained on real training images. By such a classifier always
    attributes/classification_error/translated, the share of attributes and groups that it reads otherwise
    than was asked, of images for which attributes were drawn from the model's prior, and /real, of real ones
    (StarGAN, CVPR 2018, table 3, where there is one group)."""

    name = "attributes"
    kept = ("found",)
    question = QUESTIONS[3]

    def __init__(self, view: View):
        super().__init__(view)
        self.names = view.dataset.attributes
        self.factors = attribute_groups(view.dataset)
        self.index = spread(view.counts[DOMAIN], IMAGES)
        self.classifier, self.judges = judges_of(view)
        self.found: dict[str, list[Tensor]] = defaultdict(list)

    @classmethod
    def why_not(cls, view: View) -> str | None:
        if not view.model.attributes:
            return "the model knows no attributes"
        if view.model.attributes != view.dataset.attributes:
            return "the data do not know the attributes that the model knows"
        try:
            view.open_train()
        except DataError as error:
            return None if view.dataset.measures_attributes else f"it needs the training split: {error}"
        return None

    def see(self, part: Part) -> None:
        places, mine = part.chosen(DOMAIN, self.index)
        if not len(places):
            return
        model, images = self.view.model, part.images[DOMAIN][mine]
        labels = {name: values.to(mine.device)[mine] for name, values in part.labels[DOMAIN].items()}
        have = attribute_vectors(labels, self.names)
        self.look_at_real(images, have, labels)
        self.put("unchanged_l1", l1(model.edit(images, DOMAIN, have, have), images))
        for number, name in enumerate(self.names):
            want = asked_for(have, number, self.factors.values())
            changed = (want != have).any(dim=1)
            if changed.any():
                some = {label: values[changed] for label, values in labels.items()}
                made = model.edit(images[changed], DOMAIN, have[changed], want[changed])
                self.look_at_edited(made, want[changed], number, name, some)
        if self.classifier and model.has_style_prior:
            items = part.items[DOMAIN][mine.cpu().numpy()]
            want = self.view.random_style_of(items, DOMAIN).to(have)
            made = model.edit(images, DOMAIN, have, want)
            self.put("classification_error/translated", self.errors(made, want))
            self.put("classification_error/real", self.errors(images, have))

    def look_at_real(self, images: Tensor, have: Tensor, labels: dict[str, Tensor]) -> None:
        read = self.read(images)
        for factor, members in self.factors.items():
            self.put(f"reader/{factor}", same(read, have, members))
        for label, judge in self.judges.items():
            self.put(f"reader/{label}", judge.logits(images).argmax(dim=1) == labels[label])

    def look_at_edited(
        self, made: Tensor, want: Tensor, number: int, name: str, labels: dict[str, Tensor]
    ) -> None:
        """Of images of which one attribute was asked: what they have now, and which labels they keep."""
        read = self.read(made)
        for factor, members in self.factors.items():
            what = "asked" if number in members else f"kept/{factor}"
            self.put(f"{name}/{what}", same(read, want, members))
        for label, judge in self.judges.items():
            self.put(f"{name}/kept/{label}", judge.logits(made).argmax(dim=1) == labels[label])

    def read(self, images: Tensor) -> Tensor:
        """What pictures have: bool [B, attributes]."""
        if self.view.dataset.measures_attributes:
            return self.view.dataset.attributes_of(images) > 0
        assert self.classifier is not None
        return self.classifier.logits(images) > 0

    def errors(self, images: Tensor, want: Tensor) -> Tensor:
        """The share of attributes and groups of each picture that the classifier reads otherwise: [B]."""
        assert self.classifier is not None
        read = self.classifier.logits(images) > 0
        wrong = [~same(read, want, members) for members in self.factors.values()]
        return torch.stack(wrong, dim=1).double().mean(dim=1)

    def put(self, name: str, values: Tensor) -> None:
        self.found[f"attributes/{name}"].append(values.cpu())

    def numbers(self) -> dict[str, float]:
        each = {name: torch.cat(values).double().mean().item() for name, values in self.found.items()}
        ends = {"asked": "asked", **{f"kept/{factor}": "kept" for factor in self.factors}}
        ends |= {f"kept/{label}": f"{label}_kept" for label in self.judges}
        some = defaultdict(list)
        for name in self.names:
            for end, mean in ends.items():
                if (number := f"attributes/{name}/{end}") in each:
                    some[f"attributes/{mean}"].append(each[number])
        return {mean: sum(values) / len(values) for mean, values in some.items()} | each

    def draws(self, number: str) -> bool:
        return number == "attributes/classification_error/translated"

    def meanings(self) -> list[Meaning]:
        reader = "read rightly of real test images, by the same reader of pictures or labels"
        error = "share of attributes that a classifier trained on real images reads otherwise than asked"
        unchanged = "mean absolute error, pixels in [-1, 1], of images asked for what they have"
        # what one and the same picture scores, whatever is asked
        chance = {self.names[one]: 1 / max(2, len(group)) for group in self.factors.values() for one in group}
        mean, asked = sum(chance.values()) / len(chance), "mean share of images that have what was asked"
        found = [
            Meaning("attributes/asked", asked, mean, 1, "higher"),
            Meaning("attributes/kept", "mean share that keeps an attribute not asked for", None, 1, "higher"),
            Meaning("attributes/unchanged_l1", unchanged, None, 0, "lower"),
            Meaning("attributes/reader", f"share {reader}", None, 1, "higher"),
            Meaning("attributes/classification_error", f"{error} (real: than they have)", None, 0, "lower"),
        ]
        for label, judge in self.judges.items():
            words = f"mean share in which a classifier of real images reads the same {label} as before"
            found.append(Meaning(f"attributes/{label}_kept", words, 1 / judge.kinds, 1, "higher"))
        for name in self.names:
            start, then = f"attributes/{name}", f"when asked for {name}"
            asked, kept = f"share of images that have it {then}", f"share that keeps what is named {then}"
            found.append(Meaning(f"{start}/asked", asked, chance[name], 1, "higher"))
            found.append(Meaning(f"{start}/kept", kept, None, 1, "higher"))
        return found

    def protocol(self) -> dict[str, Any]:
        judges: dict[str, TrainedClassifier] = dict(self.judges)
        if self.classifier is not None:
            judges["attributes"] = self.classifier
        return {
            "images": len(self.index),
            "reader": "the data set's" if self.view.dataset.measures_attributes else "a classifier",
            "targets": "from the model's prior" if self.view.model.has_style_prior else "none",
            "classifiers": {
                name: {
                    "weights": judge.weights_hash,
                    "iterations": self.view.settings.classifier_iterations,
                    "training_images_at_most": TRAINED_ON,
                }
                for name, judge in judges.items()
            },
        }


def judges_of(view: View) -> tuple[TrainedClassifier | None, dict[str, TrainedClassifier]]:
    """A classifier of all attributes, and one of each label; none where the training split is missing."""
    try:
        labels = judged_labels(view)
    except DataError:
        return None, {}
    classifier = target_classifier(view, DOMAIN, view.dataset.attributes)
    return classifier, {label: target_classifier(view, DOMAIN, label) for label in labels}


def same(read: Tensor, true: Tensor, members: list[int]) -> Tensor:
    """Whether all of these attributes are read as they are: bool [B]."""
    return (read[:, members] == (true[:, members] > 0.5)).all(dim=1)
