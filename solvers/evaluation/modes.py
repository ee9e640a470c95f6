"""Whether a model covers a domain that has several modes, and whether a mixture's components are they."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import normalized_mutual_info_score

from dataloader.dataset import Dataset
from dataloader.domains import count_of, in_batches, one_domain, spread
from models.translator import Translator

INPUTS, STYLES = 500, 4  # at most so many images of each other domain, each translated with so many styles
COVERED = 0.01  # a mode is covered that has at least this share of the translations
KINDS = 32  # a label with more values is no class


@torch.no_grad()
def mode_metrics(
    model: Translator, dataset: Dataset, batch_size: int, seed: int, device: torch.device
) -> dict[str, float]:
    """Where the data know the modes of a domain y, of translations x_to_y with random styles:

    modes/covered/x_to_y, how many modes have at least 1 % of them; modes/distance/x_to_y, the total variation
    between their frequencies and those of y's test images, 0 to 1; modes/none/x_to_y, the share that is of no
    mode, which counts in the distance as a mode that y lacks. The model is in eval mode and has a prior of
    styles."""
    target = dataset.mode_domain
    if target is None:
        return {}
    truth = np.concatenate([labels["mode"] for _, labels in every_batch(dataset, target, batch_size, device)])
    wanted = np.bincount(truth, minlength=truth.max() + 1) / len(truth)
    metrics = {}
    for source in range(len(model.domains)):
        if source == target:
            continue
        generator, found = torch.Generator().manual_seed(seed), []
        for part in in_batches(spread(count_of(dataset, source), INPUTS), batch_size):
            content = model.encode_content(one_domain(dataset, source, part, device)[0], source)
            for _ in range(STYLES):
                style = model.sample_style(len(part), target, generator)
                found.append(dataset.mode_of(model.decode(content, style, target)).cpu().numpy())
        way = f"{model.domains[source]}_to_{model.domains[target]}"
        metrics |= {
            f"modes/{name}/{way}": value for name, value in coverage(np.concatenate(found), wanted).items()
        }
    return metrics


def coverage(modes: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """`modes` [N] of translations, -1 for none, against the frequencies [K] that real images have."""
    shares = np.bincount(modes + 1, minlength=len(wanted) + 1) / len(modes)  # first, of no mode
    return {
        "covered": float((shares[1:] >= COVERED).sum()),
        "distance": float(np.abs(shares - np.append(0, wanted)).sum() / 2),
        "none": float(shares[0]),
    }


@torch.no_grad()
def clustering_metrics(
    model: Translator, dataset: Dataset, batch_size: int, device: torch.device
) -> dict[str, float]:
    """Where the prior of styles is a mixture, of each label with 2 to 32 values of each domain x's test
    images against the likeliest component: clustering/nmi/x/label, the normalised mutual information
    (arithmetic mean; 0 to 1), and clustering/accuracy/x/label, the share that is right when components and
    values are matched as well as can be, one to one. Besides, clustering/components/x, how many components
    are the likeliest of some image."""
    if not model.components:
        return {}
    metrics = {}
    for domain, name in enumerate(model.domains):
        components, known = [], {}
        for images, labels in every_batch(dataset, domain, batch_size, device):
            components.append(model.component_probabilities(images, domain).argmax(dim=1).cpu().numpy())
            for label, values in labels.items():
                known.setdefault(label, []).append(values)
        chosen = np.concatenate(components)
        metrics[f"clustering/components/{name}"] = float(len(np.unique(chosen)))
        for label, values in known.items():
            truth = np.concatenate(values)
            if 2 <= len(np.unique(truth)) <= KINDS:
                metrics[f"clustering/nmi/{name}/{label}"] = float(normalized_mutual_info_score(truth, chosen))
                metrics[f"clustering/accuracy/{name}/{label}"] = matched_accuracy(truth, chosen)
    return metrics


def matched_accuracy(truth: np.ndarray, chosen: np.ndarray) -> float:
    """The share of items [N] whose cluster is their class's, under the best one-to-one matching."""
    table = np.zeros((truth.max() + 1, chosen.max() + 1))
    np.add.at(table, (truth, chosen), 1)
    return float(table[linear_sum_assignment(-table)].sum() / len(truth))


def every_batch(dataset: Dataset, domain: int, batch_size: int, device: torch.device):
    """(images [B, 3, R, R], labels as NumPy [B] by name) of one domain's whole split."""
    for part in in_batches(np.arange(count_of(dataset, domain)), batch_size):
        images, labels = one_domain(dataset, domain, part, device)
        yield images, {name: values.cpu().numpy() for name, values in labels.items()}
