"""The prior of styles that test mode draws from: the model's own, or (test.prior "fitted") a mixture of
Gaussians fitted to the styles of training images, which takes its place.

A prior that training did not bring to where the encoded styles lie has random styles that no image has; the
fitted one is where they lie, whatever training did. What a model says of components of its own stays its own.
"""

import hashlib
import json
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import sklearn
import torch
from torch import Tensor

from configs.keys.common import Test
from dataloader.dataset import Dataset
from dataloader.domains import count_of, in_batches, one_domain, spread
from models.translator import Translator
from solvers.evaluation.classifier import hash_of
from solvers.evaluation.codes import View
from solvers.evaluation.density import MOST, Mixture, fit_mixture
from solvers.run import distributed
from solvers.run.folder import RunError, RunFolder
from solvers.run.shortage import whole

FORMAT = 1  # of the file
LOOKED_AT = 64  # training images of each domain that tell a data set from another
LARGEST = 4096  # values of a style; a covariance of so many takes 134 MB
INSTEAD = "set test.prior=model"


class Fitted(Translator):
    """A model whose random styles come from `mixtures`, by domain. `with_mixtures` makes it of any model."""

    mixtures: dict[int, Mixture]

    def sample_style(
        self,
        count: int,
        domain: int,
        generator: torch.Generator | None = None,
        component: int | None = None,
    ) -> Tensor:
        """From the fitted mixture; where a `component` is asked for, which is one of the model's own prior,
        from that."""
        if component is not None:
            return super().sample_style(count, domain, generator, component)
        device = next((tensor.device for tensor in self.state_dict().values()), "cpu")
        return self.mixtures[domain].sample(count, generator).to(device)


def with_mixtures(model: Translator, mixtures: dict[int, Mixture]) -> Translator:
    """The same model, with the same networks, whose prior of styles these are."""
    kind = type(model)
    made = copy(model)
    made.__class__ = type(kind.__name__, (Fitted, kind), {"__module__": kind.__module__})
    made.mixtures, made.has_style_prior = mixtures, True
    made.missing = {verb: why for verb, why in model.missing.items() if verb != "has_style_prior"}
    return made


def check_prior(settings: Test, model: Translator, train: Dataset | None = None) -> None:
    """Whether the prior that the section test asks for can be fitted, as far as model and, where it is open,
    training split tell. Raises RunError."""
    if settings.prior == "model":
        return
    if not model.has_style:
        why = model.missing.get("has_style")
        what = "the model encodes no styles of images" + (f" ({why})" if why else "")
        raise RunError(f"test.prior: {what}, so that there is nothing to fit a prior to; {INSTEAD}")
    if model.attributes:
        raise RunError(f"test.prior: styles are vectors of known attributes, of 0 and 1; {INSTEAD}")
    if train is not None and settings.prior_components is not None:
        for domain in targets(model):
            count = min(count_of(train, domain), settings.prior_images)
            if count < settings.prior_components:
                raise RunError(
                    f"test.prior_components: got {settings.prior_components}; allowed: at most {count}, the "
                    f"training images of {model.domains[domain]} that are looked at, or null"
                )


def targets(model: Translator) -> list[int]:
    """The domains that have random styles: those that something is translated to."""
    return sorted({target for _, target in model.directions})


def with_prior(view: View, run: RunFolder) -> View:
    """What is looked at, with the prior that its settings ask for. A fitted one is read from the run's folder
    where it was fitted to the same, else fitted and kept there. Of several processes the first does it, and
    all draw from the same. Raises RunError, and DataError without the training split."""
    if view.settings.prior == "model":
        return view
    found = fit_or_read(view, place_of(run)) if not view.share[0] else None
    if view.share[1] > 1:
        found = distributed.from_first(found)
    return replace(view, model=with_mixtures(view.model, found))


def place_of(run: RunFolder) -> Path:
    return run.results / "prior.npz"


def fit_or_read(view: View, path: Path) -> dict[int, Mixture]:
    train = view.open_train()
    check_prior(view.settings, view.model, train)
    about = facts_of_fit(view, train)
    kept = read_prior(path)
    if kept is not None and kept[1] == about:
        return kept[0]
    found = {}
    for domain in targets(view.model):
        codes, shape = encoded(view, train, domain)
        found[domain] = fit_mixture(codes, shape, view.settings.prior_components, view.seed)
        name, count = view.domains[domain], len(found[domain].weights)
        number = f"{count} Gaussian" + ("s" if count > 1 else "")
        view.say(f"A prior of {number} is fitted to the styles of {len(codes):,} training images of {name}")
    write_prior(path, found, about)
    return found


def facts_of_fit(view: View, train: Dataset) -> dict[str, Any]:
    """All that decides a fit: weights, training images by their numbers and some of them, seed and keys."""
    settings = view.settings
    return {
        "format": FORMAT,
        "scikit-learn": sklearn.__version__,
        "weights": hash_of(view.model),
        "data": digest_of(train),
        "seed": view.seed,
        "images": settings.prior_images,
        "components": settings.prior_components,
    }


def digest_of(train: Dataset) -> str:
    """Of a data set's lengths, its size and some of its images."""
    found = hashlib.sha256(json.dumps([*train.domains, *train.streams, *train.size]).encode())
    for domain in range(len(train.domains)):
        index = spread(count_of(train, domain), LOOKED_AT)
        images = one_domain(train, domain, index, torch.device("cpu"))[0]
        found.update(images.numpy().tobytes())
    return found.hexdigest()[:20]


@torch.no_grad()
def encoded(view: View, train: Dataset, domain: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """The styles of a domain's training images, evenly spread: [N, D], float64, and one's shape. Raises
    RunError."""
    index = spread(count_of(train, domain), view.settings.prior_images)
    codes = []
    for part in in_batches(index, view.settings.batch_size):
        images, _ = one_domain(train, domain, part, view.device)
        codes.append(view.model.encode_style(images, domain).double().cpu())
        if (size := codes[0][0].numel()) > LARGEST:
            what = f"a style has {size:,} values, and at most {LARGEST:,} are fitted"
            raise RunError(f"test.prior: {what}; {INSTEAD}")
    all_codes = torch.cat(codes)
    if not all_codes.isfinite().all():
        raise RunError(f"test.prior: styles of {view.domains[domain]} are not finite; {INSTEAD}")
    return all_codes.flatten(1).numpy(), tuple(all_codes.shape[1:])


# --- The file


def write_prior(path: Path, mixtures: dict[int, Mixture], about: dict[str, Any]) -> None:
    """Write it whole or not at all. Raises Shortage."""
    arrays = {"about": np.array(json.dumps(about))}
    for domain, mixture in mixtures.items():
        for name, values in mixture._asdict().items():
            arrays[f"{name}_{domain}"] = np.asarray(values, None if name != "shape" else np.int64)
    path.parent.mkdir(parents=True, exist_ok=True)
    size = sum(values.nbytes for values in arrays.values())
    with whole(path, path.with_name(f".{path.name}.part"), size) as part, part.open("wb") as file:
        np.savez(file, **arrays)


def read_prior(path: Path) -> tuple[dict[int, Mixture], dict[str, Any]] | None:
    """The mixtures by domain and what they were fitted to; None where there is none or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            domains = [int(name.removeprefix("means_")) for name in file.files if name.startswith("means_")]
            found = {
                domain: Mixture(
                    *(file[f"{name}_{domain}"] for name in ("weights", "means", "factors")),
                    tuple(file[f"shape_{domain}"].tolist()),
                )
                for domain in sorted(domains)
            }
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return found, about


def kept_prior(model: Translator, results: Path) -> dict[int, Mixture] | None:
    """What test mode fitted to the styles of this very model; None where it did not."""
    kept = read_prior(results / "prior.npz")
    return kept[0] if kept is not None and kept[1].get("weights") == hash_of(model) else None


# --- Words


def said_of(view: View) -> dict[str, Any]:
    """For the protocol: which prior random styles are drawn from, "model", "fitted" or "none"."""
    model, settings = view.model, view.settings
    if not isinstance(model, Fitted):
        return {"which": "model" if model.has_style_prior else "none"}
    chosen = f"BIC, from 1 to {MOST}" if settings.prior_components is None else "test.prior_components"
    counts = {view.domains[domain]: len(mixture.weights) for domain, mixture in model.mixtures.items()}
    return {
        "which": "fitted",
        "components": counts,
        "chosen_by": chosen,
        "training_images_at_most": settings.prior_images,
    }
