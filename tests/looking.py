"""One look at a split for tests: the numbers of some families, of a model and data that a test made."""

import torch

from configs.keys.common import Test
from dataloader.dataset import Dataset
from models.translator import Translator
from solvers.evaluation.codes import View
from solvers.evaluation.evaluate import measure


def never():
    raise AssertionError("the training split is not needed")


def view_of(model: Translator, dataset: Dataset, size: int = 64, seed: int = 0, **settings) -> View:
    """As test mode makes it; `open_train` and `say` may be given beside keys of the section test."""
    open_train, say = settings.pop("open_train", never), settings.pop("say", lambda line: None)
    test = Test(batch_size=size, **settings)
    return View(model.eval(), dataset, test, seed, torch.device("cpu"), open_train, say)


def numbers(model: Translator, dataset: Dataset, *families: str, **options) -> dict[str, float]:
    """What these families measure."""
    return measure(view_of(model, dataset, metrics=list(families), **options))[0]


def left_out(model: Translator, dataset: Dataset, **options) -> dict[str, str]:
    """The families that have no numbers here, and why."""
    return measure(view_of(model, dataset, **options))[1]["left_out"]
