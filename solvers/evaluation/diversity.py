"""How much translations of one image differ: the mean distance between pairs of translations of the same
image with random styles (DRIT, ECCV 2018, table of LPIPS diversity), beside pairs of real images.

L1 needs nothing but the images. LPIPS, the paper's distance, needs pretrained weights: it is computed where a
config asks for it and they are there.
"""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dataloader.dataset import Dataset
from dataloader.domains import count_of, in_batches, one_domain, spread
from models.translator import Translator
from solvers.evaluation.paired import l1
from solvers.run.folder import RunError
from solvers.visualization.grids import directions

INPUTS, STYLES = 100, 5  # ten pairs of five translations each of 100 images: 1,000 pairs, as in the paper
PAIRS = INPUTS * STYLES * (STYLES - 1) // 2
ALEXNET = "alexnet-owt-7be5be79.pth"  # the backbone's weights, as torchvision names them
INSTALL = "pip install torchmetrics torchvision"

Distance = Callable[[Tensor, Tensor], Tensor]  # [B, 3, R, R] twice, in [-1, 1] -> [B]


@torch.no_grad()
def diversity_metrics(
    model: Translator,
    dataset: Dataset,
    batch_size: int,
    seed: int,
    device: torch.device,
    lpips: bool = False,
) -> dict[str, float]:
    """diversity/l1/x_to_y, the mean over 1,000 pairs of translations that differ in their style alone, and
    diversity/l1/real_y over 1,000 pairs of different real images of y, for every direction and domain; the
    same under diversity/lpips with `lpips`. L1 is a mean over pixels in [-1, 1]: 0 to 2. The model is in
    eval mode. RunError where LPIPS is asked for and cannot be had."""
    distances: dict[str, Distance] = {"l1": l1}
    if lpips:
        distances["lpips"] = lpips_distance(device)
    names, metrics = model.domains, {}
    for kind, distance in distances.items():
        for source, target in directions(model):
            found = translated_pairs(model, dataset, source, target, batch_size, seed, device, distance)
            metrics[f"diversity/{kind}/{names[source]}_to_{names[target]}"] = found
        for domain, name in enumerate(names):
            if count_of(dataset, domain) > 1:
                found = real_pairs(dataset, domain, batch_size, seed, device, distance)
                metrics[f"diversity/{kind}/real_{name}"] = found
    return metrics


def translated_pairs(
    model: Translator,
    dataset: Dataset,
    source: int,
    target: int,
    batch_size: int,
    seed: int,
    device: torch.device,
    distance: Distance,
) -> float:
    """The mean distance over the pairs of translations of up to INPUTS images of `source`, each with STYLES
    styles of its own from the prior."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for part in in_batches(spread(count_of(dataset, source), INPUTS), batch_size):
        content = model.encode_content(one_domain(dataset, source, part, device)[0], source)
        styles = [model.sample_style(len(part), target, generator) for _ in range(STYLES)]
        made = [model.decode(content, style, target) for style in styles]
        found += [distance(a, b).cpu() for a, b in combinations(made, 2)]
    return torch.cat(found).double().mean().item()


def real_pairs(
    dataset: Dataset, domain: int, batch_size: int, seed: int, device: torch.device, distance: Distance
) -> float:
    """The mean distance over PAIRS pairs of different images of one domain, drawn at random."""
    chooser = np.random.Generator(np.random.PCG64(seed))
    count = count_of(dataset, domain)
    first = chooser.integers(count, size=PAIRS)
    second = (first + chooser.integers(1, count, size=PAIRS)) % count
    found = []
    for a, b in zip(in_batches(first, batch_size), in_batches(second, batch_size)):
        images = [one_domain(dataset, domain, part, device)[0] for part in (a, b)]
        found.append(distance(*images).cpu())
    return torch.cat(found).double().mean().item()


def check_lpips() -> Any:
    """torchmetrics' LPIPS class, where it can be used without a download. Raises RunError where it cannot."""
    from solvers.run.torchvision_shim import import_torchvision

    try:
        import_torchvision()
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    except ImportError as error:
        raise RunError(f"test.lpips: {error}; install it ({INSTALL}) or leave test.lpips at 0") from None
    weights = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    if not weights.is_file():
        raise RunError(
            f"test.lpips: no pretrained weights at {weights}; "
            f"put https://download.pytorch.org/models/{ALEXNET} there or leave test.lpips at 0"
        )
    return LearnedPerceptualImagePatchSimilarity


def lpips_distance(device: torch.device) -> Distance:
    """LPIPS of AlexNet's features, one number for each pair, as DRIT uses it. Raises RunError."""
    network = check_lpips()(net_type="alex").to(device)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        pairs = zip(a.float().clamp(-1, 1), b.float().clamp(-1, 1))
        return torch.stack([network(one[None], other[None]) for one, other in pairs])

    return distance
