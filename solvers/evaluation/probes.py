"""Linear probes: what can be read from a code by a linear classifier that is trained on half of the test
split and judged on the other half.

A probe finds only what stands in a code linearly: a score above chance shows that something is there, a score
at chance does not show that nothing is.
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from dataloader.dataset import Dataset
from dataloader.domains import count_of, in_batches, one_domain
from models.translator import Translator

IMAGES = 2000  # of each domain, at most
FEATURES = 1024  # of each code, at most
KINDS = 32  # a label with more values (a colour, say) is no class


def probe_metrics(
    model: Translator, dataset: Dataset, batch_size: int, seed: int, device: torch.device
) -> dict[str, float]:
    """Balanced accuracies: probe/content/domain, the domain from the content code (chance: one over the
    number of domains), and for each label that every domain has with the same values, such as `digit`:
    probe/content/digit from the contents of all domains together, and probe/style/digit from the styles of
    each domain alone, averaged over domains (chance: one over the number of values).

    Up to 2,000 images of each domain, the same indices in every domain where it has as many, so that partners
    never stand on both sides. The model is in eval mode.
    """
    if not model.has_content:
        return {}
    contents, styles, labels = [], [], []
    shortest = min(count_of(dataset, d) for d in range(len(model.domains)))
    index = np.random.Generator(np.random.PCG64(seed)).permutation(shortest)[:IMAGES]
    if len(index) < 4:
        return {}
    for domain in range(len(model.domains)):
        content, style, known = encode(model, dataset, domain, index, batch_size, device)
        contents.append(content)
        styles.append(style)
        labels.append(known)
    training = np.arange(len(index)) < len(index) // 2
    together, halves = np.concatenate(contents), np.tile(training, len(contents))
    where = np.repeat(np.arange(len(contents)), len(index))
    metrics = {"probe/content/domain": probe(together, where, halves)}
    for name in shared_classes(labels, training):
        classes = np.concatenate([known[name] for known in labels])
        metrics[f"probe/content/{name}"] = probe(together, classes, halves)
        if model.has_style:
            found = [probe(codes, known[name], training) for codes, known in zip(styles, labels)]
            metrics[f"probe/style/{name}"] = float(np.mean(found))
    return metrics


@torch.no_grad()
def encode(
    model: Translator, dataset: Dataset, domain: int, index: np.ndarray, batch_size: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray | None, dict[str, np.ndarray]]:
    """Contents [N, F], styles [N, F] (None without) and labels of the images at these indices."""
    contents, styles, labels = [], [], {}
    for part in in_batches(index, batch_size):
        images, known = one_domain(dataset, domain, part, device)
        contents.append(features(model.encode_content(images, domain)))
        if model.has_style:
            styles.append(features(model.encode_style(images, domain)))
        for name, values in known.items():
            labels.setdefault(name, []).append(values.cpu().numpy())
    joined = {name: np.concatenate(values) for name, values in labels.items()}
    return np.concatenate(contents), np.concatenate(styles) if styles else None, joined


def features(code: Tensor) -> np.ndarray:
    """A code [B, ...] as float64 [B, F] with F at most FEATURES. A map [B, C, H, W] that is larger is
    averaged over a grid as fine as fits; of what is still too long, every so many-th number is taken."""
    code = code.float()
    if code.ndim == 4 and code[0].numel() > FEATURES:
        side = max(1, int((FEATURES / code.shape[1]) ** 0.5))
        code = F.adaptive_avg_pool2d(code, (min(side, code.shape[2]), min(side, code.shape[3])))
    flat = code.flatten(1)
    step = -(-flat.shape[1] // FEATURES)
    return flat[:, ::step].double().cpu().numpy()


def shared_classes(labels: list[dict[str, np.ndarray]], training: np.ndarray) -> list[str]:
    """The labels that every domain has, with the same 2 to KINDS values in each, all of them seen in
    training."""
    found = []
    for name in labels[0]:
        if not all(name in known for known in labels):
            continue
        values = set(labels[0][name].tolist())
        halves = [known[name][half].tolist() for known in labels for half in (training, slice(None))]
        if 2 <= len(values) <= KINDS and all(set(half) == values for half in halves):
            found.append(name)
    return found


def probe(codes: np.ndarray, classes: np.ndarray, training: np.ndarray) -> float:
    """The balanced accuracy (mean recall over classes) on the items that are not `training` of a logistic
    regression, on standardised codes [N, F], trained on those that are."""
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    fitted.fit(codes[training], classes[training])
    guess, truth = fitted.predict(codes[~training]), classes[~training]
    return float(np.mean([np.mean(guess[truth == kind] == kind) for kind in np.unique(truth)]))
