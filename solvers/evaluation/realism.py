"""How real translations look as a whole: distances between the features of translations and of real images
(KID, FID), and how much of either lies among the other (precision, recall, density, coverage)."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from configs.keys.common import Test
from dataloader import DataError
from dataloader.dataset import Dataset
from dataloader.domains import count_of, in_batches, one_domain, spread
from solvers.evaluation.codes import Part, Rows, View
from solvers.evaluation.family import QUESTIONS, Family, Meaning
from solvers.evaluation.features import check_extractors, extractors
from solvers.run.torchvision_shim import import_torchmetrics

SMALLEST = 10  # images of each domain, for anything to be said
SUBSETS, SUBSET = 20, 500  # of KID: how many, and of how many images at most
NEAR, WIDE = 3, 5  # neighbours: of precision and recall, of density and coverage
ALONE = {"sync_on_compute": False}  # the first of several processes has all features
OWN_SCALE = "classifier"  # its features are divided by the root mean square of the real images'
BLOCK = 1000  # rows of distances held at a time
SLACK = 1e-12  # of the features' squared norm, by which equal ones may seem apart


REAL = "real images of the target"
KINDS = {  # in words, of equal distributions, and which way is better
    "kid": (
        f"kernel distance of features of translations and of {REAL} (unbiased, for sets of any size)",
        0,
        "lower",
    ),
    "fid": (
        f"Frechet distance of features of translations and of {REAL} (too large for few images)",
        0,
        "lower",
    ),
    "precision": (f"share of translations that lie among {REAL}", 1, "higher"),
    "recall": (f"share of {REAL} that lie among translations", 1, "higher"),
    "density": (f"how deep translations lie among {REAL}", 1, "higher"),
    "coverage": (f"share of {REAL} that have a translation near", 1, "higher"),
}


class Numbers(Family):
    """kid/lite0/x_to_y, the kernel distance (Binkowski et al., ICLR 2018) between real images of y and
    translations of x, and fid/lite0/x_to_y, the Frechet distance (Heusel et al., NeurIPS 2017), by the
    features of the extractor that the name says; precision and recall (Kynkaanniemi et al., NeurIPS 2019,
    three neighbours); density and coverage (Naeem et al., ICML 2020, five). Beside each stands real_y,
    training images of y in the translations' place.

    The classifier's features have a scale of its own, which KID's kernel would cube: they are divided by the
    root mean square of the real test images'.

    Translations have random styles, of a model without a prior those of references, and of one without styles
    none. FID is too large for few images, KID is not.
    """

    name = "realism"
    kept = ("real", "made")
    question = QUESTIONS[4]
    needs = ("content",)

    def __init__(self, view: View):
        super().__init__(view)
        most = view.settings.realism_images
        self.styles = view.styles
        self.extractors, self.missing = extractors(view)
        self.index = [spread(count, most) for count in view.counts]
        self.targets = sorted({target for _, target in view.model.directions})
        self.real = {(e.name, d): Rows(len(self.index[d])) for e in self.extractors for d in self.targets}
        ways = view.model.directions
        self.made = {(e.name, way): Rows(len(self.index[way[0]])) for e in self.extractors for way in ways}
        self.no_real = ""

    @classmethod
    def check(cls, settings: Test, dataset: Dataset) -> None:
        check_extractors(settings)

    @classmethod
    def why_not(cls, view: View) -> str | None:
        if (reason := super().why_not(view)) is not None:
            return reason
        if min(view.counts) < SMALLEST:
            return "the split is too small"
        if view.settings.extractors == []:
            return "test.extractors is empty"
        found, missing = extractors(view)
        return None if found else "; ".join(f"{name}: {why}" for name, why in missing.items())

    def see(self, part: Part) -> None:
        for domain in self.targets:
            places, mine = part.chosen(domain, self.index[domain])
            if len(places):
                self.keep(self.real, domain, domain, places, part.images[domain][mine])
        for source, target in self.view.model.directions:
            if len(part.items[source]) and self.styles == "reference":
                part.reference_style(source, target)
            places, mine = part.chosen(source, self.index[source])
            if len(places):
                made = part.some_in_style(self.styles, source, target, mine)
                self.keep(self.made, (source, target), target, places, made)

    def keep(self, rows: dict[Any, Rows], what: Any, domain: int, places: np.ndarray, images: Tensor) -> None:
        for extractor in self.extractors:
            rows[extractor.name, what].put(places, extractor.of(images, domain).float())

    def numbers(self) -> dict[str, float]:
        train = {target: self.training_features(target) for target in self.targets}
        found: dict[str, float] = {}
        for name in (extractor.name for extractor in self.extractors):
            for target in self.targets:
                real = double(self.real[name, target].array)
                others = {
                    self.view.way(*way): double(self.made[name, way].array)
                    for way in self.view.model.directions
                    if way[1] == target
                }
                if name in train[target]:
                    others[f"real_{self.view.domains[target]}"] = train[target][name]
                scale = root_mean_square(real) if name == OWN_SCALE else 1.0
                for end, other in others.items():
                    scores = compared(real / scale, other / scale, self.view.seed)
                    found |= {f"{kind}/{name}/{end}": score for kind, score in scores.items()}
        return {name: found[name] for kind in KINDS for name in found if name.startswith(f"{kind}/")}

    def training_features(self, domain: int) -> dict[str, Tensor]:
        """By extractor, of as many real training images as of the split; none without a training split."""
        view, device = self.view, self.view.device
        try:
            train = view.open_train()
        except DataError as error:
            self.no_real = str(error)
            return {}
        index = spread(count_of(train, domain), len(self.index[domain]))
        parts: list[list[Tensor]] = []
        for part in in_batches(index, view.settings.batch_size):
            images = one_domain(train, domain, part, device)[0]
            parts.append([extractor.of(images, domain).double().cpu() for extractor in self.extractors])
        return {e.name: torch.cat(features) for e, features in zip(self.extractors, zip(*parts))}

    def draws(self, number: str) -> bool:
        return self.styles == "random" and number.rpartition("/")[2] in self.view.ways

    def meanings(self) -> list[Meaning]:
        real = "(real: training images in place of translations)"
        return [
            Meaning(f"{kind}/", f"{words} {real}", None, *facts) for kind, (words, *facts) in KINDS.items()
        ]

    def protocol(self) -> dict[str, Any]:
        count = min(map(len, self.index))
        return {
            "extractors": {extractor.name: extractor.about for extractor in self.extractors},
            "extractors_left_out": self.missing,
            "images": {name: len(index) for name, index in zip(self.view.domains, self.index)},
            "styles": self.styles,
            "kid": {"subsets": SUBSETS, "subset_size": subset_size(count), "seed": self.view.seed},
            "neighbours": {"precision, recall": NEAR, "density, coverage": WIDE},
            **({"no_real_rows": self.no_real} if self.no_real else {}),
        }


def root_mean_square(features: Tensor) -> float:
    return max(1e-12, features.square().mean().sqrt().item())


def double(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float64))


def compared(real: Tensor, made: Tensor, seed: int) -> dict[str, float]:
    """All numbers of two sets of features, float64 [N, D] and [M, D]."""
    return {"kid": kid(real, made, seed), "fid": fid(real, made), **prdc(real, made)}


class Given(nn.Module):
    """Features as they are, for torchmetrics, which would extract them."""

    def __init__(self, dimensions: int):
        super().__init__()
        self.num_features = dimensions

    def forward(self, features: Tensor) -> Tensor:
        return features


def fid(real: Tensor, made: Tensor) -> float:
    kind = import_torchmetrics("image.fid").FrechetInceptionDistance
    return result_of(lambda: kind(Given(real.shape[1]), **ALONE), real, made)


def kid(real: Tensor, made: Tensor, seed: int) -> float:
    """The mean over subsets, which the seed alone decides; the global generator is as before afterwards."""
    size = subset_size(min(len(real), len(made)))
    kind = import_torchmetrics("image.kid").KernelInceptionDistance
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return result_of(
            lambda: kind(Given(real.shape[1]), subsets=SUBSETS, subset_size=size, **ALONE), real, made
        )


def subset_size(count: int) -> int:
    return max(2, min(SUBSET, count // 2))


def result_of(make: Callable[[], Any], real: Tensor, made: Tensor) -> float:
    with warnings.catch_warnings():  # that it keeps features in memory
        warnings.simplefilter("ignore")
        metric = make()
        metric.update(real, real=True)
        metric.update(made, real=False)
        found = metric.compute()
    return float(found[0] if isinstance(found, tuple) else found)


def prdc(real: Tensor, made: Tensor) -> dict[str, float]:
    """precision: how many of `made` are as near to some real one as its third neighbour; recall: the same the
    other way round; density: how many real ones each of `made` is as near to as their fifth neighbour, over
    five; coverage: how many real ones have one of `made` as near as their fifth neighbour."""
    centre = real.mean(dim=0)
    real, made = real - centre, made - centre
    slack = SLACK * real.square().sum(dim=1).mean()
    near, wide = (neighbour(real, k) + slack for k in (NEAR, WIDE))
    nearest = torch.full((len(real),), torch.inf, dtype=real.dtype)
    precise, dense, recalled = 0, 0, torch.zeros(len(real), dtype=torch.bool)
    around_made = neighbour(made, NEAR) + slack
    for first in range(0, len(made), BLOCK):
        distances = squared(made[first : first + BLOCK], real)  # [B, N]
        precise += (distances <= near).any(dim=1).sum().item()
        dense += (distances <= wide).sum().item()
        recalled |= (distances <= around_made[first : first + BLOCK, None]).any(dim=0)
        nearest = torch.minimum(nearest, distances.amin(dim=0))
    return {
        "precision": precise / len(made),
        "recall": recalled.double().mean().item(),
        "density": dense / (WIDE * len(made)),
        "coverage": (nearest <= wide).double().mean().item(),
    }


def neighbour(features: Tensor, k: int) -> Tensor:
    """The squared distance of each to its k-th nearest other one: [N]."""
    found = []
    for first in range(0, len(features), BLOCK):
        distances = squared(features[first : first + BLOCK], features)
        distances[torch.arange(len(distances)), first + torch.arange(len(distances))] = torch.inf
        found.append(distances.kthvalue(k, dim=1).values)
    return torch.cat(found)


def squared(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances: [N, D] and [M, D] -> [N, M]."""
    norms = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)
    return (norms - 2 * a @ b.T).clamp(min=0)
