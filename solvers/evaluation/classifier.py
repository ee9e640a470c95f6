"""A small classifier of pictures: the examples that it learns from and is tested on, its network and its
training."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.keys.common import Adaptation
from dataloader.dataset import Dataset
from dataloader.domains import in_batches, one_domain
from dataloader.loader import Shuffle

SIDE = 32  # the classifier's pictures; larger ones are reduced to it
LEARNING_RATE = 1e-3


class Examples(NamedTuple):
    """Pictures uint8 [N, 3, 32, 32] and their classes int64 [N], both on the device."""

    pictures: Tensor
    classes: Tensor


def draw(count: int, most: int, seed: int) -> np.ndarray:
    """`most` (0: all) of `count` indices, at random and in random order."""
    return np.random.Generator(np.random.PCG64(seed)).permutation(count)[: most or count]


def stored(
    dataset: Dataset, domain: int, index: np.ndarray, label: str, batch_size: int, device: torch.device
) -> Examples:
    """The real images of one domain at these indices, with their labels."""
    pictures, classes = [], []
    for part in in_batches(index, batch_size):
        images, labels = one_domain(dataset, domain, part, device)
        pictures.append(to_bytes(images))
        classes.append(labels[label].to(device))
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


def train_classifier(examples: Examples, kinds: int, settings: Adaptation, seed: int) -> nn.Module:
    """A classifier trained for `settings.iterations` by Adam, its learning rate falling to zero along a
    cosine; no augmentation. The global generators are as before afterwards."""
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
            loss = F.cross_entropy(logits, examples.classes[chosen])
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
