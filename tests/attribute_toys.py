"""A small set of known attributes for tests: real digits, whose ink and background are drawn."""

import numpy as np
import torch
import torch.nn.functional as F
from drit_toys import toy_pictures
from sklearn.datasets import load_digits
from torch import Tensor

from configs.keys import MODELS
from configs.load import validate
from dataloader.dataset import Batch, Dataset
from solvers import solver_class

NETWORKS = {"base_width": 4, "residual_blocks": 1, "dis_width": 4}


class Inks(Dataset):
    """scikit-learn's digits in red, green or blue on a dark or a light background; one domain. Item i has
    ink i % 3, and where its digit is odd, light. With `exclusive_only`, the ink alone is an attribute."""

    domains = ("digits",)
    paired = False
    attributes = ("red", "green", "blue", "light")
    exclusive_attributes = ((0, 1, 2),)

    def __init__(self, first: int, last: int, size: tuple[int, int], exclusive_only: bool = False):
        bundle = load_digits()
        self.grey, self.digit = bundle.images[first:last] / 16, bundle.target[first:last]
        self.size, self.streams = size, (last - first,)
        if exclusive_only:
            self.attributes = self.attributes[:3]

    def read(self, *indices: np.ndarray) -> dict[str, Tensor]:
        (index,) = indices
        found = {"grey": self.grey[index].astype(np.float32), "digit": self.digit[index], "item": index}
        return {name: torch.from_numpy(np.asarray(array)) for name, array in found.items()}

    def render(self, raw: dict[str, Tensor], training: bool = False) -> Batch:
        ink, light = F.one_hot(raw["item"] % 3, 3), raw["digit"] % 2
        grey = F.interpolate(raw["grey"][:, None].float(), self.size, mode="bilinear")
        behind = light[:, None, None, None] * 1.4 - 0.9
        image = torch.lerp(behind.float(), ink[:, :, None, None] * 1.6 - 0.8, grey)
        labels = {"digit": raw["digit"], "light": light, **dict(zip(self.attributes, ink.unbind(1)))}
        return Batch((image,), (labels,))


def attribute_solver(model: str, size: tuple[int, int] = (32, 32), exclusive_only: bool = False, **sections):
    """A tiny solver of this model on 12 training and 10 test images of `Inks`."""
    training = {"max_iters": 4, "batch_size": 3, "print_freq": 2, **sections.pop("training", {})}
    test = {"batch_size": 8, "after_training": False, "extractors": [], "classifier_iterations": 2}
    test["adaptation"] = {"enabled": False}  # of one domain to another
    test |= sections.pop("test", {})
    network = {**NETWORKS, **sections.pop("network", {})}
    top = {"id": "toy", "model": model, "dataset": "Folders", "resolution": list(size), "device": "cpu"}
    top |= {"threads": 1, **sections, "training": training, "network": network, "test": test}
    splits = {"train": (0, 12), "test": (12, 22)}

    class Toy(solver_class(MODELS[model])):
        def open_split(self, split: str) -> Inks:
            return Inks(*splits[split], self.config.size, exclusive_only)

        open_alone = open_split

    return Toy(validate(top, "toy"))


def domain_solver(pictures, run_dir, **sections):
    """A tiny solver on what `pictures(split)` gives."""

    class Toy(solver_class(MODELS["StarGAN"])):
        def open_split(self, split):
            return pictures(split)

        open_alone = open_split

    training = {"max_iters": 4, "batch_size": 2, "print_freq": 2, **sections.pop("training", {})}
    test = {"after_training": False, "classifier_iterations": 2, "extractors": [], **sections.pop("test", {})}
    top = {"id": "toy", "model": "StarGAN", "dataset": "Folders", "resolution": 32, "device": "cpu"}
    top |= {"threads": 1, "run_dir": str(run_dir), "network": NETWORKS, **sections}
    return Toy(validate({**top, "training": training, "test": test}, "toy"))


def three_kinds(split: str):
    return toy_pictures(6 if split == "train" else 5, (32, 32), 3)
