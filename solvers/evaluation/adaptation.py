"""Domain adaptation as a test of translation (DRIT, ECCV 2018, "Domain adaptation"; IJCV 2020).

A classifier never sees a label of the target domain: it learns from labelled source images translated to the
target, and is tested on real target images. With several translations of each image, the variety of styles
counts as well. Two bounds stand beside it: the same classifier trained on the source images as they are, and
on real target training images with their labels.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from configs.keys.common import Adaptation, Test
from dataloader import DataError
from dataloader.dataset import Dataset
from dataloader.domains import count_of, in_batches, labels_of, one_domain
from models.translator import Translator
from solvers.evaluation.classifier import (
    SIDE,
    Examples,
    accuracy,
    draw,
    stored,
    to_bytes,
    train_classifier,
)
from solvers.evaluation.codes import Part, View
from solvers.evaluation.family import QUESTIONS, Family, Meaning
from solvers.run.folder import RunError

COPIES = (1, 3, 5)  # translations of each source image, as in the paper's table
ONE = (1,)  # of a model without styles


class Plan(NamedTuple):
    """What is adapted: `source` and `target` are indices of domains."""

    settings: Adaptation
    source: int
    target: int


def plan_adaptation(settings: Adaptation, dataset: Dataset) -> Plan | None:
    """The plan that `test.adaptation` of a config makes for this data set; None where there is none. Raises
    RunError where it names what the data set has not."""
    if settings.enabled is False:
        return None
    names = dataset.domains
    for key, name in (("source", settings.source), ("target", settings.target)):
        if name and name not in names:
            raise RunError(f"test.adaptation.{key}: got {name!r}; allowed: {', '.join(names)}")
    if settings.source and settings.source == settings.target:
        raise RunError(f"test.adaptation: source and target are both {settings.source}; give two domains")
    if len(names) < 2:
        if settings.enabled:
            raise RunError(f"test.adaptation: there is one domain ({names[0]}); it needs two")
        return None
    free = [name for name in names if name not in (settings.source, settings.target)]
    source = names.index(settings.source or free.pop(0))
    target = names.index(settings.target or free.pop(0))
    if dataset.paired and not settings.enabled:
        return None
    known = labels_of(dataset)
    if settings.label in known[source] & known[target]:
        return Plan(settings, source, target)
    if settings.enabled:
        common = ", ".join(sorted(known[source] & known[target])) or "none"
        raise RunError(
            f"test.adaptation.label: got {settings.label!r}; {names[source]} and {names[target]} "
            f"have in common: {common}"
        )
    return None


class Numbers(Family):
    """The fraction of the target's test split that each classifier gets right: adaptation/source_only, /x1,
    /x3, /x5 and /target_only.

    All five have the same network, initial weights, optimiser, number of iterations and number of training
    images; only x3 and x5 have several translations of each. The translations of x1 are among those of x3,
    and these among x5's. They are made once, a batch at a time, and kept as bytes: 15 kB for each source
    image, on the model's device.

    Styles are drawn from the model's prior, anew for every translation. The paper says how many translations
    each image gets; the authors' code leaves this experiment out (its issue 15), so that whether theirs came
    from the prior or from target images is not known here. With `styles` "reference" they are encoded from
    random target training images, whose labels are not looked at. A model without styles has one translation
    of each image, so that there is x1 alone.
    """

    name = "adaptation"
    kept = ("tested",)
    question = QUESTIONS[6]
    needs = ("content",)

    def __init__(self, view: View):
        super().__init__(view)
        self.plan = plan_adaptation(view.settings.adaptation, view.dataset)
        self.tested: list[Examples] = []

    @classmethod
    def check(cls, settings: Test, dataset: Dataset) -> None:
        plan_adaptation(settings.adaptation, dataset)

    @classmethod
    def why_not(cls, view: View) -> str | None:
        if (reason := super().why_not(view)) is not None:
            return reason
        settings, model, names = view.settings.adaptation, view.model, view.domains
        plan = plan_adaptation(settings, view.dataset)
        if plan is None:
            off = "test.adaptation.enabled is false"
            return off if settings.enabled is False else "no unpaired domains that share the label"
        if (plan.source, plan.target) not in model.directions:
            return f"the model does not translate {names[plan.source]} to {names[plan.target]}"
        has = {"prior": model.has_style_prior, "reference": model.has_style}
        if model.takes_style and not has[settings.styles]:
            return "the model has no styles of the kind that test.adaptation.styles asks for"
        try:
            view.open_train()
        except DataError as error:
            if settings.enabled:
                raise
            return f"it needs the training split: {error}"
        return None

    def see(self, part: Part) -> None:
        target = self.plan.target
        if len(part.items[target]):
            classes = part.labels[target][self.plan.settings.label].to(self.view.device)
            self.tested.append(Examples(to_bytes(part.images[target]), classes))

    def numbers(self) -> dict[str, float]:
        view, (settings, source, target) = self.view, self.plan
        train, size, seed = view.open_train(), view.settings.batch_size, view.seed
        drawn = [draw(count_of(train, d), settings.images, seed + d) for d in (source, target)]
        count, numbers = min(map(len, drawn)), copies_of(view.model)
        times = "once" if max(numbers) == 1 else f"{max(numbers)} times"
        view.say(
            f"Adaptation: {count:,} images of {train.domains[source]} translated to {train.domains[target]} "
            f"{times}, then {len(numbers) + 2} classifiers of {settings.iterations:,} iterations"
        )
        read = {"label": settings.label, "batch_size": size, "device": view.device}
        sources = stored(train, source, drawn[0][:count], **read)
        targets = stored(train, target, drawn[1][:count], **read)
        tested = Examples(*(torch.cat(parts) for parts in zip(*self.tested)))
        translations = translate_all(view, self.plan, train, drawn[0][:count])
        sets = {"source_only": sources}
        for copies in numbers:
            pictures = translations[:copies].flatten(0, 1)
            sets[f"x{copies}"] = Examples(pictures, sources.classes.repeat(copies))
        sets["target_only"] = targets
        self.kinds = kinds = 1 + max(int(part.classes.max()) for part in (sources, targets, tested))
        self.count = count
        return {
            f"adaptation/{name}": accuracy(train_classifier(examples, kinds, settings, seed), tested)
            for name, examples in sets.items()
        }

    def draws(self, number: str) -> bool:
        asked = self.plan.settings.styles == "prior" and self.view.model.takes_style
        return asked and number.startswith("adaptation/x")

    def meanings(self) -> tuple[Meaning, ...]:
        several = "1, 3 or 5 translations" if self.view.model.takes_style else "one translation"
        words = (
            "accuracy on real target images of a classifier trained on source images, on "
            f"{several} of each, or on target images"
        )
        return (Meaning("adaptation", words, 1 / self.kinds, 1, "higher"),)

    def protocol(self) -> dict[str, Any]:
        model = self.view.model
        said = {"source_images": self.count, "copies": list(copies_of(model))}
        return said if model.takes_style else {**said, "styles": "none"}


def copies_of(model: Translator) -> tuple[int, ...]:
    """Of how many translations of each image there are numbers."""
    return COPIES if model.takes_style else ONE


@torch.no_grad()
def translate_all(view: View, plan: Plan, train: Dataset, index: np.ndarray) -> Tensor:
    """Every translation of the source images at these indices: uint8 [5, N, 3, 32, 32], of a model without
    styles [1, ...]. Each image is encoded once and decoded with as many styles, which the batch size does not
    decide."""
    _, source, target = plan
    model, copies = view.model, max(copies_of(view.model))
    chooser = np.random.Generator(np.random.PCG64([view.seed, 1]))
    references = chooser.integers(count_of(train, target), size=(copies, len(index)))
    made = torch.empty(copies, len(index), 3, SIDE, SIDE, dtype=torch.uint8, device=view.device)
    for places in in_batches(np.arange(len(index)), view.settings.batch_size):
        image, _ = one_domain(train, source, index[places], view.device)
        content = model.encode_content(image, source)
        for copy in range(copies):
            if not model.takes_style:
                style = None
            elif plan.settings.styles == "prior":
                style = view.random_style_of(places, target, copy)
            else:
                image, _ = one_domain(train, target, references[copy, places], view.device)
                style = model.encode_style(image, target)
            made[copy, places[0] : places[-1] + 1] = to_bytes(model.decode(content, style, target))
    return made
