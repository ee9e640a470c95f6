"""The README.md of an exported model: what it is, what it was trained on, its numbers, and how to load it."""

import json
import sys
from typing import Any

from solvers.commands.opened import WEIGHTS, Opened
from solvers.visualization.answers import prior_in_words

STYLES = "styles.safetensors"
DRAWS = 64  # styles of the prior of each domain

LOAD = """\
import json, numpy, onnxruntime, safetensors.numpy
from PIL import Image


def verb(name, **given):
    return onnxruntime.InferenceSession(name + ".onnx").run(None, given)[0]


height, width = json.load(open("export.json"))["image"]["shape"][2:]
picture = Image.open("picture.png").convert("RGB").resize((width, height))
image = numpy.asarray(picture, numpy.float32).transpose(2, 0, 1)[None] / 127.5 - 1
{steps}
made = (made[0].clip(-1, 1) + 1) * 127.5
Image.fromarray(made.round().astype(numpy.uint8).transpose(1, 2, 0)).save("made.png")
"""


def model_card(opened: Opened, about: dict[str, Any]) -> str:
    """Markdown, with what Hugging Face reads at its top."""
    model, config = opened.model, opened.config
    sentence = " ".join((sys.modules[type(model).__module__].__doc__ or "").split("\n\n")[0].split())
    ways = ", ".join(f"{plain(a)} to {plain(b)}" for a, b in about["directions"])
    height, width = config.size
    count = sum(p.numel() for p in model.parameters())
    lines = [
        "---",
        "pipeline_tag: image-to-image",
        "tags: [image-to-image, disentanglement]",
        "---",
        "",
        f"# {plain(config.id)}",
        "",
        f"{config.model}. {plain(sentence)}",
        "",
        f"- Translates {ways}; RGB images, {height} high and {width} wide, from -1 to 1",
        f"- Trained on {plain(config.dataset)} for {opened.iteration:,} iterations, batches of "
        f"{config.training.batch_size}, seed {config.seed}; checkpoint: {plain(opened.choice['chosen'])}",
        f"- {count:,} parameters in `{WEIGHTS}`, named as in `config.json`'s model",
    ]
    if model.attributes:
        lines.append(
            f"- Attributes, in the order of a style's entries: {', '.join(map(plain, model.attributes))}"
        )
    lines += ["", *files_table(about), *numbers_table(about.get("metrics") or {})]
    return "\n".join(lines) + "\n"


def files_table(about: dict[str, Any]) -> list[str]:
    verbs = about.get("verbs")
    if not verbs:
        return []
    most = max(verb["difference"] for verb in verbs)
    rows = [
        f"| `{verb['file']}` | {'; '.join(f'{n} {shape(s)}' for n, s in verb['takes'].items())} "
        f"| {shape(verb['gives'])} |"
        for verb in verbs
    ]
    steps = load_steps(about)
    draws = f"`{STYLES}` holds {DRAWS} draws from each domain's prior of styles, the model's own."
    draws = draws if about["prior"] else ""
    return [
        "## Files",
        "",
        "| file | takes | gives |",
        "| --- | --- | --- |",
        *rows,
        "",
        f"Compared with PyTorch on {about['checked_on']}: the largest difference is {most:.1g}. " + draws,
        "",
        "## Use",
        "",
        "```python",
        *LOAD.format(steps="\n".join(steps)).splitlines(),
        "```",
        "",
    ]


def load_steps(about: dict[str, Any]) -> list[str]:
    """The lines that are this model's own: from `image` to `made`."""
    source, target = about["directions"][0]
    by = {(verb["verb"], verb["domain"]): verb for verb in about["verbs"]}

    def name(verb: str, domain: str) -> str:
        return json.dumps(by[verb, domain]["file"].removesuffix(".onnx"))

    if ("edit", source) in by:
        count = by["edit", source]["takes"]["have"][1]
        return [
            f"have, want = numpy.zeros((2, 1, {count}), numpy.float32)",
            "want[0, 0] = 1",
            f"made = verb({name('edit', source)}, image=image, have=have, want=want)",
        ]
    steps = [f"content = verb({name('encode_content', source)}, image=image)"]
    style = ""
    if "style" in by["decode", target]["takes"]:
        if about["prior"]:
            drawn = f"load_file({json.dumps(STYLES)})[{json.dumps(target)}][:1]  # one of {DRAWS}"
            steps.append(f"style = safetensors.numpy.{drawn}")
        else:
            steps.append(f"style = verb({name('encode_style', target)}, image=image)  # or another picture's")
        style = ", style=style"
    return [*steps, f"made = verb({name('decode', target)}, content=content{style})"]


def numbers_table(metrics: dict[str, Any]) -> list[str]:
    numbers = {k: v for k, v in metrics.items() if isinstance(v, int | float) and k != "iteration"}
    if not numbers:
        return []
    protocol = metrics.get("protocol") or {}
    rows = [f"| {plain(name)} | {value:.4g} |" for name, value in numbers.items()]
    images = ", ".join(
        f"{count:,} of {plain(name)}" for name, count in (protocol.get("images") or {}).items()
    )
    how = f"{protocol.get('split')} split ({images}), seed {protocol.get('seed')}"
    if (prior := protocol.get("prior") or {}).get("which") == "fitted":
        how += f"; prior of random styles: {plain(prior_in_words(prior))}"
    elif prior.get("which") == "model":
        how += "; prior of random styles: the model's own"
    return [
        "## Numbers",
        "",
        f"{how}; the whole protocol is in `export.json`.",
        "",
        "| number | |",
        "| --- | --- |",
        *rows,
        "",
    ]


def shape(sides: list[Any]) -> str:
    return "[" + ", ".join(map(str, sides)) + "]"


def plain(text: str) -> str:
    """Without what Markdown or HTML would take for its own."""
    line = " ".join(str(text).split())
    for sign in "\\`*_{}[]<>#|":
        line = line.replace(sign, f"\\{sign}")
    return line.replace("\\<", "&lt;").replace("\\>", "&gt;")
