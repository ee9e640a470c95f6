"""How far pictures are from each other, pair by pair: [B, 3, H, W] twice, in [-1, 1] -> [B].

L1, PSNR and SSIM need nothing but the pictures. LPIPS needs pretrained weights: it is computed where a config
asks for it and they are there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from solvers.run.folder import RunError
from solvers.run.torchvision_shim import import_torchmetrics

ALEXNET = "alexnet-owt-7be5be79.pth"  # the backbone's weights, as torchvision names them
INSTALL = "pip install torchmetrics torchvision"
MOST = 100.0  # dB: the PSNR of pictures that are equal would be infinite

Distance = Callable[[Tensor, Tensor], Tensor]


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of each image: [B, 3, H, W] twice -> [B], for images in [-1, 1] between 0
    and 2."""
    return (a - b).abs().flatten(1).mean(dim=1)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, at most MOST."""
    ratio = import_torchmetrics("functional.image").peak_signal_noise_ratio
    a, b = a.float(), b.float()
    return ratio(a, b, data_range=2.0, reduction="none", dim=(1, 2, 3)).clamp(max=MOST)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity by Wang et al. (2004): Gaussian windows of 11 x 11 pixels, sigma 1.5, over
    pictures that are mirrored at their borders; -1 to 1."""
    similarity = import_torchmetrics("functional.image").structural_similarity_index_measure
    return similarity(a.float(), b.float(), data_range=2.0, reduction="none")


def check_lpips() -> Any:
    """torchmetrics' LPIPS class, where it can be used without a download. Raises RunError where it cannot."""
    try:
        found = import_torchmetrics("image.lpip").LearnedPerceptualImagePatchSimilarity
    except ImportError as error:
        raise RunError(f"test.lpips: {error}; install it ({INSTALL}) or leave test.lpips at 0") from None
    weights = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    if not weights.is_file():
        raise RunError(
            f"test.lpips: no pretrained weights at {weights}; "
            f"put https://download.pytorch.org/models/{ALEXNET} there or leave test.lpips at 0"
        )
    return found


def lpips_distance(device: torch.device) -> Distance:
    """LPIPS of AlexNet's features, one number for each pair, as DRIT uses it. Raises RunError."""
    network = check_lpips()(net_type="alex").to(device)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        pairs = zip(a.float().clamp(-1, 1), b.float().clamp(-1, 1))
        return torch.stack([network(one[None], other[None]) for one, other in pairs])

    return distance
