"""A small classifier of pictures: the examples that it learns from and is tested on, its network and its
training; and the one that judges translations, trained on real images once per data set and resolution and
kept in a folder."""

import hashlib
import json
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dataloader.dataset import Dataset
from dataloader.domains import attribute_vectors, count_of, in_batches, one_domain, spread
from dataloader.loader import Shuffle
from dataloader.packed import sync
from solvers.evaluation.codes import View

SIDE = 32  # the classifier's pictures; larger ones are reduced to it
LEARNING_RATE = 1e-3
FORMAT = 1  # of a stored classifier; a change of how it is trained needs a new one
IMAGES = 20_000  # that a judge learns from, at most
BATCH = 64
SEED = 0  # of every judge, so that runs of all seeds have the same
LOOKED_AT = 64  # images by which a data set is known again

Label = str | tuple[str, ...]  # a class, or several attributes


class Course(Protocol):
    """How long a classifier learns."""

    iterations: int
    batch_size: int


class Lessons(NamedTuple):
    iterations: int
    batch_size: int = BATCH


class Examples(NamedTuple):
    """Pictures uint8 [N, 3, 32, 32] and their classes int64 [N], or what they have of several attributes, 0
    or 1, [N, attributes]; both on the device."""

    pictures: Tensor
    classes: Tensor


def draw(count: int, most: int, seed: int) -> np.ndarray:
    """`most` (0: all) of `count` indices, at random and in random order."""
    return np.random.Generator(np.random.PCG64(seed)).permutation(count)[: most or count]


def stored(
    dataset: Dataset, domain: int, index: np.ndarray, label: Label, batch_size: int, device: torch.device
) -> Examples:
    """The real images of one domain at these indices, with their label or attributes."""
    pictures, classes = [], []
    for part in in_batches(index, batch_size):
        images, labels = one_domain(dataset, domain, part, device)
        pictures.append(to_bytes(images))
        one = labels[label] if isinstance(label, str) else attribute_vectors(labels, label).long()
        classes.append(one.to(device))
    return Examples(torch.cat(pictures), torch.cat(classes))


def to_bytes(images: Tensor) -> Tensor:
    """[B, 3, H, W] in [-1, 1] -> uint8 [B, 3, 32, 32], with antialiasing where larger."""
    images = images.float()
    if images.shape[2:] != (SIDE, SIDE):
        images = F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)
    return ((images.clamp(-1, 1) + 1) * 127.5).round().byte()


def classifier(kinds: int) -> nn.Sequential:
    """[B, 3, 32, 32] -> logits [B, kinds]: DANN's digit classifier (Ganin, Lempitsky, ICML 2015), which
    PixelDA takes too, with dropout before its linear layers. It has no BatchNorm: that would carry the
    training domain's brightness and contrast into the test."""
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 5), nn.ReLU(), nn.MaxPool2d(2)),  # [B, 32, 14, 14]
        *(nn.Conv2d(32, 48, 5), nn.ReLU(), nn.MaxPool2d(2)),  # [B, 48, 5, 5]
        *(nn.Flatten(), nn.Dropout(0.5), nn.Linear(48 * 5 * 5, 100), nn.ReLU()),
        *(nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, kinds)),
    )


def train_classifier(examples: Examples, kinds: int, settings: Course, seed: int) -> nn.Module:
    """A classifier trained for `settings.iterations` by Adam, its learning rate falling to zero along a
    cosine; no augmentation. Of attributes, `kinds` of them, each is a yes or no of its own. The global
    generators are as before afterwards."""
    device = examples.pictures.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = classifier(kinds).to(device, memory_format=torch.channels_last).train()
        optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.iterations)
        order = Shuffle(len(examples.classes), seed)
        for iteration in range(settings.iterations):
            index = order.take(iteration * settings.batch_size, settings.batch_size)
            chosen = torch.from_numpy(index).to(device)
            logits = network(to_floats(examples.pictures[chosen]))
            classes = examples.classes[chosen]
            if classes.ndim == 1:
                loss = F.cross_entropy(logits, classes)
            else:
                loss = F.binary_cross_entropy_with_logits(logits, classes.float())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, examples: Examples, block: int = 1000) -> float:
    """The fraction of the examples that the network gets right."""
    right = 0
    for first in range(0, len(examples.classes), block):
        logits = network(to_floats(examples.pictures[first : first + block]))
        right += (logits.argmax(dim=1) == examples.classes[first : first + block]).sum().item()
    return right / len(examples.classes)


def to_floats(pictures: Tensor) -> Tensor:
    """uint8 [B, 3, 32, 32] -> float in [-1, 1], channels last, in which small convolutions are fastest."""
    return (pictures.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


# The judge of translations


@dataclass
class TrainedClassifier:
    """Trained on real training images of one domain; `weights_hash` says which weights it has. Both methods
    take float images [B, 3, H, W] in [-1, 1] and reduce them to what it has seen."""

    network: nn.Sequential
    kinds: int
    weights_hash: str

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """[B, kinds]."""
        return self.network(to_floats(to_bytes(images)))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """What its last layer sees: [B, 100]."""
        return self.network[:-1](to_floats(to_bytes(images)))


def target_classifier(view: View, domain: int, label: Label) -> TrainedClassifier:
    """The classifier of a label, or of attributes, on real images of one domain: the one made before for this
    view, else the one stored in view.cache, else a new one, which is then stored there. Raises DataError
    where the training split is missing."""
    key = ("classifier", domain, label)
    if key not in view.made:
        train, course = view.open_train(), Lessons(view.settings.classifier_iterations)
        name = label if isinstance(label, str) else "attributes"
        path = view.cache and view.cache / f"{name}-{digest_of(train, domain, label, course)}.pt"
        network = read_classifier(path, view) if path else None
        if network is None:
            network = new_classifier(view, train, domain, label, course)
            if path:
                write_classifier(path, network)
        network = network.to(view.device, memory_format=torch.channels_last).eval()
        view.made[key] = TrainedClassifier(network, network[-1].out_features, hash_of(network))
    return view.made[key]


def new_classifier(view: View, train: Dataset, domain: int, label: Label, course: Lessons) -> nn.Sequential:
    index = draw(count_of(train, domain), IMAGES, SEED)
    what = label if isinstance(label, str) else f"{len(label)} attributes"
    view.say(f"A classifier of {what} learns from {len(index):,} real images of {train.domains[domain]}")
    examples = stored(train, domain, index, label, view.settings.batch_size, view.device)
    with torch.enable_grad():
        kinds = 1 + int(examples.classes.max()) if isinstance(label, str) else len(label)
        return train_classifier(examples, kinds, course, SEED)


def digest_of(train: Dataset, domain: int, label: Label, course: Lessons) -> str:
    """All that decides a judge: how it is trained, and the data set by its lengths and some of its images."""
    how = (FORMAT, torch.__version__, IMAGES, SIDE, LEARNING_RATE, SEED, *course)
    what = (label, train.domains[domain], *train.streams, *train.size)
    found = hashlib.sha256(json.dumps([*how, *what]).encode())
    index = spread(count_of(train, domain), LOOKED_AT)
    for values in stored(train, domain, index, label, LOOKED_AT, torch.device("cpu")):
        found.update(values.numpy().tobytes())
    return found.hexdigest()[:20]


def hash_of(network: nn.Module) -> str:
    """The first 12 hex digits of the SHA-256 of its weights."""
    found = hashlib.sha256()
    for name, values in network.state_dict().items():
        found.update(name.encode() + values.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:12]


def write_classifier(path: Path, network: nn.Sequential) -> None:
    """Store it whole, or not at all where the folder cannot be written."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    weights = {name: values.detach().cpu().contiguous() for name, values in network.state_dict().items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"kinds": network[-1].out_features, "hash": hash_of(network), "weights": weights}, part)
        sync(part)
        part.replace(path)
    except (OSError, RuntimeError):  # torch.save raises either
        part.unlink(missing_ok=True)


def read_classifier(path: Path, view: View) -> nn.Sequential | None:
    """The stored one; None where there is none or it is damaged."""
    if not path.is_file():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        network = classifier(found["kinds"])
        network.load_state_dict(found["weights"])
        if hash_of(network) == found["hash"]:
            return network
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError, OSError):
        pass  # said below
    view.say(f"{path} is damaged; the classifier is trained again")
    return None


def cache_folder(data_folder: Path) -> Path | None:
    """Where judges of this data set are kept: beside it, else in the user's cache; None where neither can be
    written."""
    beside = data_folder / ".classifiers"
    for folder in (beside, Path("~/.cache/cross-domain-translation/classifiers").expanduser()):
        there = next((place for place in (folder, *folder.parents) if place.exists()), None)
        if there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            return folder
    return None
