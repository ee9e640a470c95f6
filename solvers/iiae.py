"""IIAE's loss and training step (arXiv 2012.04251, eq. 7), and the reading of the PyTorch reference's
checkpoints."""

from itertools import chain
from typing import Any

from torch import Tensor

from configs.keys.iiae import IIAETraining
from dataloader.dataset import Batch
from models.iiae import IIAE, IIAEOutput
from solvers.losses import kl_between, kl_to_standard
from solvers.run.checkpoint import CheckpointError
from solvers.schedules import kl_annealing
from solvers.solver import Solver

# The networks that each optimiser of the reference steps, in the order of its parameters.
OPTIMIZED = {
    "exc_enc": ("zx_encoder", "zy_encoder"),
    "shr_enc": ("FE", "FE_y", "zs_encoder", "zx_s_encoder", "zy_s_encoder"),
    "dec": ("x_decoder", "y_decoder"),
}


class IIAESolver(Solver):
    least_share = 2  # for BatchNorm after the linear layers

    def build(self) -> None:
        if len(self.test_set.domains) != 2:
            raise ValueError(f"IIAE takes two domains and the data has {len(self.test_set.domains)}")
        net = self.config.network
        self.model = self.networks["iiae"] = self.place(IIAE(self.config.size, **net.model_dump()))
        for name, parts in OPTIMIZED.items():
            modules = (getattr(self.model, part) for part in parts)
            self.optimizers[name] = self.adam(
                chain.from_iterable(m.parameters() for m in modules if m is not None)
            )
        count = self.train_set.half_images if self.train_set is not None else 1
        self.kl_scale = self.training.batch_size / count if self.training.kld_scale == "dataset" else 1.0

    def train_step(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        x, y = batch.images
        with self.autocast():
            output = self.model(x, y)
        losses = iiae_losses(output, x, y, inter_tempering(self.training, iteration))
        total = total_loss(losses, self.training, self.kl_scale, iteration)
        self.update(total, *self.optimizers)
        return {"total": total.detach(), **{name: loss.detach() for name, loss in losses.items()}}

    def import_checkpoint(self, state: dict[str, Any]) -> dict[str, Any]:
        """The PyTorch reference's checkpoint: one dict of networks by name and three Adams."""
        networks = {part: state[part] for parts in OPTIMIZED.values() for part in parts if part in state}
        if not networks:
            return super().import_checkpoint(state)
        try:
            optimizers = {name: state[f"optimizer_{name}"] for name in OPTIMIZED}
        except KeyError as missing:
            raise CheckpointError(f"it looks like the IIAE reference's and has no {missing}") from None
        weights = {
            f"{part}.{key}": value for part, tensors in networks.items() for key, value in tensors.items()
        }
        return {"iters": state["iters"], "networks": {"iiae": weights}, "optimizers": optimizers}


def iiae_losses(output: IIAEOutput, x: Tensor, y: Tensor, tempering: float = 1.0) -> dict[str, Tensor]:
    """The unweighted terms: L1 as the mean over pixels and images, KLs as nats per image, averaged over the
    batch. `tempering` as in `kl_between`."""
    return {
        "rec_x": (output.x_reconstruction - x).abs().mean(),
        "rec_y": (output.y_reconstruction - y).abs().mean(),
        "kl_zx": kl_to_standard(output.zx),
        "kl_zy": kl_to_standard(output.zy),
        "kl_zs": kl_to_standard(output.zs),
        "kl_inter_x": kl_between(output.zs, output.zs_from_x, tempering),
        "kl_inter_y": kl_between(output.zs, output.zs_from_y, tempering),
    }


def total_loss(losses: dict[str, Tensor], weights: IIAETraining, kl_scale: float, iteration: int) -> Tensor:
    """The weighted sum that training minimises (METHODS of IIAE; the KLs to the prior are annealed)."""
    anneal = kl_annealing(iteration, weights.anneal_iters)
    exclusive = weights.X_kld_weight * (losses["kl_zx"] + losses["kl_zy"])
    shared = weights.S_kld_weight * losses["kl_zs"]
    inter = inter_weight(weights, iteration) * (losses["kl_inter_x"] + losses["kl_inter_y"])
    reconstruction = weights.rec_weight * (losses["rec_x"] + losses["rec_y"])
    return reconstruction + kl_scale * (anneal * (exclusive + shared) + inter)


def inter_tempering(training: IIAETraining, iteration: int) -> float:
    """The power of r's variance that IIAE's inter KL divides the squared distance of the means by: 1 in the
    KL itself, 0 in the PyTorch reference's, and from 0 to 1 over inter_exact_iters."""
    if training.inter_kl == "exact":
        return 1.0
    if training.inter_exact_iters is None:
        return 0.0
    start, end = training.inter_exact_iters
    if not start < iteration < end:
        return float(iteration >= end)
    return (iteration - start) / (end - start)


def inter_weight(training: IIAETraining, iteration: int) -> float:
    """The weight of IIAE's inter KLs: inter_kld_weight, annealed with inter_anneal_iters as T where that is
    not 0, and on a geometric way to inter_kld_weight_end where that is given."""
    weight = training.inter_kld_weight
    if training.inter_kld_weight_end is not None:
        start = training.inter_exact_iters[1] if training.inter_exact_iters else 0
        if iteration > start:  # never in a run that ends before
            done = (iteration - start) / (training.max_iters - start)
            weight *= (training.inter_kld_weight_end / weight) ** done
    if training.inter_anneal_iters:
        weight *= kl_annealing(iteration, training.inter_anneal_iters)
    return weight
