"""Numbers that say whether a Translator separates what two domains share from what is exclusive to each.

They know only the four verbs. Names are flat: retrieval/shared/x_to_y, reconstruction/l1/x, and so on.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dataloader.dataset import Dataset
from dataloader.domains import count_of, in_batches, one_domain
from dataloader.loader import in_order
from models.translator import Translator


def recall_at_1(
    queries: Tensor, keys: Tensor, query_ids: Tensor, key_ids: Tensor, block: int = 1024
) -> float:
    """The fraction of queries [N, D] whose nearest key [M, D] by L2 has the query's id.

    Computed in blocks of `block` queries, so that memory stays at block x M. The squared distance is
    expanded in float64 around the keys' mean, so that codes far from the origin lose nothing. Among equally
    near keys the first counts, so codes that all coincide score at chance.
    """
    centre = keys.double().mean(dim=0)
    queries, keys = queries.double().sub_(centre), keys.double().sub_(centre)
    norms = keys.square().sum(dim=1)
    hits = 0
    for first in range(0, len(queries), block):
        chosen = torch.addmm(norms, queries[first : first + block], keys.T, alpha=-2).argmin(dim=1)
        hits += (key_ids[chosen] == query_ids[first : first + block]).sum().item()
    return hits / len(queries)


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of each image: [B, 3, R, R] twice -> [B], for images in [-1, 1] between 0
    and 2."""
    return (a - b).abs().flatten(1).mean(dim=1)


@torch.no_grad()
def paired_metrics(
    model: Translator, dataset: Dataset, batch_size: int, device: torch.device
) -> dict[str, float]:
    """Retrieval, reconstruction and translation over a whole paired split of two domains. The model is in
    eval mode."""
    names = model.domains
    codes: dict[str, list[Tensor]] = {}
    for values in encoded_batches(model, dataset, batch_size, device):
        for name, value in values.items():
            codes.setdefault(name, []).append(value.cpu())
    whole = {name: torch.cat(parts) for name, parts in codes.items()}
    metrics = {}
    for kind in ("shared", "exclusive"):
        for a, b in ((0, 1), (1, 0)):
            if f"{kind}/{a}" in whole and f"{kind}/{b}" in whole:
                metrics[f"retrieval/{kind}/{names[a]}_to_{names[b]}"] = recall_at_1(
                    whole[f"{kind}/{a}"], whole[f"{kind}/{b}"], whole["id/0"], whole["id/1"]
                )
    metrics.update({name: values.double().mean().item() for name, values in whole.items() if "l1" in name})
    return metrics


def encoded_batches(
    model: Translator, dataset: Dataset, batch_size: int, device: torch.device
) -> Iterator[dict[str, Tensor]]:
    """Per batch, in the data set's order: codes [B, D], partner ids [B] and L1 errors [B]."""
    names, seen = model.domains, 0
    for batch in in_order(dataset, batch_size, device):
        count = len(batch.images[0])
        values: dict[str, Tensor] = {}
        contents = [model.encode_content(image, d) for d, image in enumerate(batch.images)]
        for d, content in enumerate(contents):
            values[f"shared/{d}"] = content.flatten(1)
            label = dataset.partner_label
            values[f"id/{d}"] = batch.labels[d][label] if label else torch.arange(seen, seen + count)
        seen += count
        if model.has_style:
            styles = [model.encode_style(image, d) for d, image in enumerate(batch.images)]
            for d, (style, image) in enumerate(zip(styles, batch.images)):
                values[f"exclusive/{d}"] = style.flatten(1)
                values[f"reconstruction/l1/{names[d]}"] = l1(model.decode(contents[d], style, d), image)
            for a, b in ((0, 1), (1, 0)):
                translated = model.decode(contents[a], styles[b], b)
                values[f"translation/reference_l1/{names[a]}_to_{names[b]}"] = l1(translated, batch.images[b])
        yield values


@torch.no_grad()
def unpaired_metrics(
    model: Translator, dataset: Dataset, batch_size: int, device: torch.device
) -> dict[str, float]:
    """What needs no partner: the reconstruction error over each domain's whole split. The model is in eval
    mode."""
    if not (model.has_content and model.has_style):
        return {}
    metrics = {}
    for d, name in enumerate(model.domains):
        errors = []
        for part in in_batches(np.arange(count_of(dataset, d)), batch_size):
            image, _ = one_domain(dataset, d, part, device)
            errors.append(l1(model.reconstruct(image, d), image).cpu())
        metrics[f"reconstruction/l1/{name}"] = torch.cat(errors).double().mean().item()
    return metrics
