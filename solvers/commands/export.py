"""A finished run as files that work without this program: weights as safetensors, the verbs as ONNX, and a
model card."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from configs.keys.common import Config
from dataloader import DataError, open_dataset
from dataloader.domains import count_of, one_domain, spread
from models.translator import Translator
from solvers.commands.card import DRAWS, STYLES, model_card
from solvers.commands.onnx_verbs import Images, OnnxError, export_verb, verbs_of
from solvers.commands.opened import ABOUT, WEIGHTS, Opened, open_run
from solvers.commands.outputs import check_output, output_folder
from solvers.run.folder import write_whole

FORMAT = 1
SEEN = 4  # real images of each domain that a verb is compared on


def run(options: Namespace) -> int:
    """Exit status: 1 where onnxruntime makes something else than PyTorch; then nothing is written. Raises
    what opening a run raises."""
    check_output(options.output, options.force, ABOUT)
    opened = open_run(options.where, options.iteration, "cpu")
    try:
        write_export(options, opened)
    except OnnxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in options.output.iterdir())
    print(f"{options.output}: {size / 1e6:,.1f} MB; see README.md there")
    return 0


def write_export(options: Namespace, opened: Opened) -> None:
    """The whole folder or nothing. Raises OnnxError."""
    about = facts_of(opened)
    with output_folder(options.output, options.force, ABOUT) as work, torch.no_grad():
        save_weights(opened, work)
        if "onnx" in options.format:
            images, of_what = real_images(opened)
            about |= {"checked_on": of_what, "verbs": save_verbs(opened.model, images, work)}
        write_whole(work / "config.json", json.dumps(portable(opened.config), indent=2) + "\n")
        write_whole(work / ABOUT, json.dumps(about, indent=2) + "\n")
        write_whole(work / "README.md", model_card(opened, about))
        for path in work.iterdir():
            path.chmod(0o644)


def facts_of(opened: Opened) -> dict[str, Any]:
    """What a program must know to use the files."""
    model, (height, width) = opened.model, opened.config.size
    names = model.domains
    return {
        "format": FORMAT,
        "id": opened.config.id,
        "model": opened.config.model,
        "dataset": opened.config.dataset,
        "iteration": opened.iteration,
        "chosen": opened.choice["chosen"],
        "image": {"shape": ["batch", 3, height, width], "channels": "RGB", "range": [-1, 1]},
        "directions": [[names[source], names[target]] for source, target in model.directions],
        "prior": model.has_style_prior,
        "facts": opened.facts,
        "metrics": metrics_of(opened),
    }


def metrics_of(opened: Opened) -> dict[str, Any]:
    """The run's results where they are of this iteration."""
    root = opened.where if opened.where.is_dir() else opened.where.parent.parent
    try:
        found = json.loads((root / "results/metrics.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("iteration") == opened.iteration else {}


def portable(config: Config) -> dict[str, Any]:
    """The config without what belongs to the machine that trained it."""
    values = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    for key in ("run_dir", "versions"):
        values.pop(key, None)
    values["train"], values["device"] = 0, "auto"
    for key in ("resume_iters", "restored_model_path"):
        values["training"].pop(key, None)
    values["test"].pop("test_path", None)
    return values


def save_weights(opened: Opened, work: Path) -> None:
    """All tensors of the model by their names, and draws from its prior by domain."""
    from safetensors.torch import save_file

    model = opened.model
    weights = {name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, work / WEIGHTS, {"format": "pt"})
    if model.has_style_prior:
        targets = sorted({target for _, target in model.directions})
        draws = {}
        for target in targets:
            generator = torch.Generator().manual_seed(opened.config.seed)
            draws[model.domains[target]] = model.sample_style(DRAWS, target, generator).contiguous()
        save_file(draws, work / STYLES)


def save_verbs(model: Translator, images: Images, work: Path) -> list[dict[str, Any]]:
    """An ONNX file for each verb of each domain, compared with PyTorch; what they take and give. Raises
    OnnxError."""
    return [export_verb(model, verb, images, work) for verb in tqdm(verbs_of(model), "ONNX", disable=None)]


def real_images(opened: Opened) -> tuple[Images, str]:
    """Some images of every domain: of the test split, or where the data are not here, photographs."""
    config = opened.config
    try:
        data = open_dataset(
            config.data.opener, config.data_folder, "test", config.size, **config.data.options
        )
        found = []
        for domain in range(len(opened.domains)):
            index = spread(count_of(data, domain), SEEN)
            images = one_domain(data, domain, index, torch.device("cpu"))[0]
            found.append(images[torch.arange(SEEN) % len(images)])
        return found, "images of the test split"
    except DataError:
        return [
            photographs(config.size) for _ in opened.domains
        ], "photographs, since the data were not there"


def photographs(size: tuple[int, int]) -> torch.Tensor:
    """Parts of scikit-learn's photographs, resized: [SEEN, 3, H, W] in [-1, 1]."""
    from sklearn.datasets import load_sample_images

    corners = ((0, 0), (100, 200))
    parts = [photo[y : y + 320, x : x + 320] for photo in load_sample_images().images for y, x in corners]
    pictures = torch.from_numpy(np.stack(parts)).movedim(3, 1).float() / 127.5 - 1
    return torch.nn.functional.interpolate(pictures, size, mode="bilinear", antialias=True)
