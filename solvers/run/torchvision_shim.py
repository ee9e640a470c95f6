"""torchvision, also where its compiled operators do not load.

The registry's torchvision is compiled for CUDA. Beside a PyTorch that is built for CPUs its library does not
load, and `import torchvision` then fails on "operator torchvision::nms does not exist", though decoding,
transforms and networks need none of its operators. Declaring the two that it names lets the import through;
calling them stays an error.
"""

import sys
import warnings
from importlib import import_module
from types import ModuleType

import torch

DECLARED = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
kept: list[torch.library.Library] = []  # what a Library declares lives as long as the Library


def import_torchvision(name: str = "torchvision") -> ModuleType:
    """torchvision, or the module `name` of it. Declares nothing where the operators load. Raises
    ImportError where it is not installed."""
    try:
        return import_module(name)
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for module in [module for module in sys.modules if module.partition(".")[0] == "torchvision"]:
        del sys.modules[module]  # the half of it that was imported
    library = torch.library.Library("torchvision", "DEF")
    for schema in DECLARED:
        library.define(schema)
    kept.append(library)
    return import_module(name)


def import_torchmetrics(name: str) -> ModuleType:
    """The module `name` of torchmetrics, which imports torchvision. Raises ImportError where either is not
    installed."""
    import_torchvision()
    with warnings.catch_warnings():  # of old habits in what it imports
        warnings.simplefilter("ignore")
        return import_module(f"torchmetrics.{name}")
