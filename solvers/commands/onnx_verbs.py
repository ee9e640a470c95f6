"""A model's verbs as ONNX files, each compared with PyTorch."""

import contextlib
import io
import logging
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models.translator import Translator

Images = list[Tensor]  # of each domain some, [B, 3, H, W] in [-1, 1]
CLOSE = 1e-4  # of the largest magnitude of what PyTorch makes, or of 1


class OnnxError(RuntimeError):
    """A file that does not do what the model does."""


class Verb(NamedTuple):
    """A verb with its domain settled: the name of its file, and of what it takes."""

    name: str
    domain: int
    takes: tuple[str, ...]
    file: str


class Called(nn.Module):
    """A verb as a network of its own: tensors -> a tensor."""

    def __init__(self, model: Translator, verb: Verb):
        super().__init__()
        self.model, self.verb = model, verb

    def forward(self, *given: Tensor) -> Tensor:
        if self.verb.name == "decode":
            content, style = (*given, None)[:2]
            return self.model.decode(content, style, self.verb.domain)
        if self.verb.name == "edit":
            image, have, want = given
            return self.model.edit(image, self.verb.domain, have, want)
        (image,) = given
        made = getattr(self.model, self.verb.name)(image, self.verb.domain)
        return made.clone() if made is image else made  # a file must not give back what it was given


def verbs_of(model: Translator) -> list[Verb]:
    """Those that its translations take."""
    sources, targets = (sorted(set(ends)) for ends in zip(*model.directions))
    found = [("encode_content", source, ("image",)) for source in sources]
    if model.has_style:
        found += [("encode_style", target, ("image",)) for target in targets]
    takes = ("content", "style") if model.takes_style else ("content",)
    found += [("decode", target, takes) for target in targets]
    if model.attributes:
        found += [("edit", source, ("image", "have", "want")) for source in sources]
    words = [re.sub(r"[^\w-]+", "_", domain, flags=re.ASCII) for domain in model.domains]
    if len({word.casefold() for word in words}) < len(words):
        words = list(map(str, range(len(words))))
    return [Verb(name, domain, names, f"{name}_{words[domain]}.onnx") for name, domain, names in found]


def export_verb(model: Translator, verb: Verb, images: Images, folder: Path) -> dict[str, Any]:
    """Write folder/FILE.onnx for batches of any size, and compare it on these images, all at once and one
    alone; what it takes and gives. Raises OnnxError."""
    given, called = examples(model, verb, images), Called(model, verb).eval()
    expected = called(*given)
    batch = torch.export.Dim("batch", min=1)
    with quiet():
        program = torch.onnx.export(
            called,
            given,
            dynamo=True,
            dynamic_shapes=(tuple({0: batch} for _ in given),),
            input_names=verb.takes,
            output_names=["made"],
            verbose=False,
        )
        program.save(folder / verb.file)
    difference = compared(folder / verb.file, verb, given, expected)
    shapes = {name: ["batch", *tensor.shape[1:]] for name, tensor in zip(verb.takes, given)}
    return {
        "file": verb.file,
        "verb": verb.name,
        "domain": model.domains[verb.domain],
        "takes": shapes,
        "gives": ["batch", *expected.shape[1:]],
        "difference": difference,
    }


def examples(model: Translator, verb: Verb, images: Images) -> tuple[Tensor, ...]:
    """What the verb takes, of real images."""
    image = images[verb.domain]
    if verb.name == "edit":
        have = torch.zeros(len(image), len(model.attributes))
        want = have.clone()
        want[:, 0] = 1
        return image, have, want
    if verb.name != "decode":
        return (image,)
    source = next(a for a, b in model.directions if b == verb.domain)
    content = model.encode_content(images[source], source)
    if not model.takes_style:
        return (content,)
    if model.has_style:
        return content, model.encode_style(image, verb.domain)
    return content, model.sample_style(len(content), verb.domain, torch.Generator().manual_seed(0))


def compared(path: Path, verb: Verb, given: tuple[Tensor, ...], expected: Tensor) -> float:
    """The largest difference between what onnxruntime makes of the file and what PyTorch made, as a share of
    the largest magnitude where that is above 1. Raises OnnxError where it is above CLOSE."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for count in (len(expected), 1):
        feed = {name: tensor[:count].numpy() for name, tensor in zip(verb.takes, given)}
        (made,) = session.run(None, feed)
        wanted = expected[:count].numpy()
        scale = max(1.0, float(np.abs(wanted).max()))
        largest = max(largest, float(np.abs(made - wanted).max()) / scale)
    if not largest <= CLOSE:
        raise OnnxError(f"{verb.file}: onnxruntime differs from PyTorch by {largest:.2g}, above {CLOSE:g}")
    return largest


@contextlib.contextmanager
def quiet():
    """Without the exporter's own talk."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
