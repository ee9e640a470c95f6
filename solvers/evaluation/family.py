"""What a family of numbers is, and the list of all: every module beside this one with a class `Numbers`."""

from collections.abc import Collection, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from configs.keys.common import Test
from dataloader.dataset import Dataset
from models.translator import Translator
from solvers.evaluation.codes import Part, View
from solvers.run.folder import RunError

QUESTIONS = (  # that a reader has, in this order
    "Does the content find its partner?",
    "Is it rebuilt?",
    "What does each code know?",
    "Does the translation keep what it should?",
    "How real is it?",
    "How varied is it?",
    "Does it serve?",
)
NEEDS = {  # what a family may need, and why it is left out without
    "content": ("has_content", "the model has no content codes"),
    "codes": ("has_codes", "the content is the image itself, not a code"),
    "codes of all": ("encodes_every_domain", "the model does not encode the contents of every domain"),
    "style": ("has_style", "the model has no style codes"),
    "prior": ("has_style_prior", "the model has no prior of styles"),
    "components": ("components", "the model's prior of styles is no mixture"),
}


class Meaning(NamedTuple):
    """Of the numbers whose names begin with `name`: what they say in a sentence, what ignorance scores, what
    perfection scores, and which way is better ("higher", "lower"; "" where neither is)."""

    name: str
    words: str
    chance: float | None = None
    perfect: float | None = None
    better: str = ""


class Family:
    """Numbers that belong together. A subclass is named `Numbers`; it is made before the split is looked at,
    sees every part of it once, and is then asked for its numbers by flat names, for what they mean, and for
    how they were taken."""

    name: ClassVar[str]  # by which test.metrics chooses it
    question: ClassVar[str]
    needs: ClassVar[Collection[str]] = ()  # of NEEDS
    kept: ClassVar[Collection[str]]  # attributes that `see` adds to and nothing else: see shares.pieces

    def __init__(self, view: View):
        self.view = view

    @classmethod
    def check(cls, settings: Test, dataset: Dataset) -> None:
        """Whether the config asks of it what it can do with this data set, known before training. Raises
        RunError."""

    @classmethod
    def why_not(cls, view: View) -> str | None:
        """Why it has no numbers here; None where it has."""
        return next((why for has, why in map(NEEDS.get, cls.needs) if not getattr(view.model, has)), None)

    def see(self, part: Part) -> None:
        """Take from a batch what the numbers need."""

    def numbers(self) -> dict[str, float]:
        raise NotImplementedError

    def draws(self, number: str) -> bool:
        """Whether random styles decide the number of this name, as they do all of translations in a family
        that needs a prior."""
        return "prior" in self.needs and number.rpartition("/")[2] in self.view.ways

    def meanings(self) -> Iterable[Meaning]:
        """Asked after `numbers`; where several begin as a name does, the longest holds."""
        return ()

    def protocol(self) -> dict[str, Any]:
        """What else decides the numbers, beside split, seed, checkpoint and the settings of the section test:
        how many images and styles, which extractor of features by which weights ... Plain values."""
        return {}


@cache
def families() -> dict[str, type[Family]]:
    """All by name, in the order of their questions."""
    found = []
    for path in sorted(Path(__file__).parent.glob("*.py")):
        module = import_module(f"{__package__}.{path.stem}")
        if hasattr(module, "Numbers"):
            found.append(module.Numbers)
    return {family.name: family for family in sorted(found, key=lambda f: QUESTIONS.index(f.question))}


def chosen(settings: Test) -> list[type[Family]]:
    """The families that test.metrics names, or all. Raises RunError."""
    return named(settings.metrics, "test.metrics")


def named(names: Collection[str] | None, key: str) -> list[type[Family]]:
    """The families of these names, None meaning all; `key` is where a config gives them. Raises RunError."""
    known = families()
    for name in names or ():
        if name not in known:
            raise RunError(f"{key}: got {name!r}; allowed: {', '.join(known)}")
    return [family for name, family in known.items() if names is None or name in names]


def check_test(settings: Test, dataset: Dataset) -> None:
    """Whether test mode can do what the config asks for, known before training starts. Raises RunError."""
    for family in chosen(settings):
        family.check(settings, dataset)


def why_model_cannot(model: Translator) -> list[str]:
    """Reasons of the model's own for verbs that it lacks."""
    return list(model.missing.values())
