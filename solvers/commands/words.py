"""The commands' words: what each takes, with examples. No PyTorch here."""

import argparse
from pathlib import Path
from typing import Any

from configs.load import is_plain
from dataloader.preprocessing import Parser, whole

FITS = ("data", "crop", "pad", "squash", "tile")
RUN = "a run's folder, a .pt file in it, or a folder that `export` made"


def parse(name: str, words: list[str]) -> argparse.Namespace:
    """The options of the command `name`. Raises DataError; SystemExit after --help."""
    parser = globals()[f"{name}_words"]()
    return parser.parse_intermixed_args(words)


def check_words() -> Parser:
    made = Parser(
        "main.py check", "Look before hours of training: at the data, and at two iterations.", CHECK
    )
    made.add_argument("config", metavar="CONFIG.json", help="the experiment")
    made.add_argument("overrides", metavar="key=value", nargs="*", help="as for training")
    made.add_argument(
        "--picture", metavar="FILE", type=path, help="save a batch, as training sees it, as PNG"
    )
    add_force(made, "overwrite that file")
    return made


def translate_words() -> Parser:
    made = Parser("main.py translate", "Translate pictures of your own with a finished run.", TRANSLATE)
    made.add_argument("where", metavar="RUN", type=path, help=RUN)
    words = "pictures, GIFs, videos, or folders of such"
    made.add_argument("inputs", metavar="INPUT", nargs="+", type=path, help=words)
    made.add_argument("--from", dest="source", metavar="DOMAIN", help="the domain of the pictures")
    made.add_argument("--to", dest="target", metavar="DOMAIN", help="the domain to show them in")
    styles = made.add_mutually_exclusive_group()
    styles.add_argument(
        "--style", metavar="IMAGE", nargs="+", type=path, help="in the style of each of these pictures"
    )
    styles.add_argument(
        "--random", metavar="N", type=whole, help="in N styles from the prior, the same for every picture"
    )
    words = "of random styles: the model's own (model), or what test.prior=fitted left in the run's folder"
    made.add_argument("--prior", choices=("model", "fitted"), help=words)
    styles.add_argument(
        "--interpolate",
        metavar=("A", "B"),
        nargs=2,
        type=path,
        help="GIFs from one picture's style to another's",
    )
    words = "of the picture, before and after: NAME=1 sets, NAME=0 takes away"
    styles.add_argument("--attribute", metavar="NAME=1", nargs="+", type=attribute, help=words)
    words = "what the pictures are now, where a model must be told (default: none of the attributes)"
    made.add_argument("--has", metavar="NAME=1", nargs="+", type=attribute, help=words)
    made.add_argument("--fit", choices=FITS, default="data", help=FIT)
    made.add_argument("--seed", metavar="S", type=number, help="of random styles (the config's)")
    add_iteration(made)
    made.add_argument(
        "--batch", metavar="N", type=whole, help="pictures at once (the config's test.batch_size)"
    )
    add_device(made)
    add_output(made, Path("translated"))
    return made


def compare_words() -> Parser:
    made = Parser("main.py compare", "Several runs beside one another, on one page.", COMPARE)
    made.add_argument("runs", metavar="RUN", nargs="+", type=path, help="a run's folder")
    add_output(made, Path("compared"))
    return made


def export_words() -> Parser:
    made = Parser("main.py export", "Weights and ONNX files that work without this program.", EXPORT)
    made.add_argument("where", metavar="RUN", type=path, help="a run's folder, or a .pt file in it")
    formats = "safetensors, onnx or both (both)"
    made.add_argument("--format", metavar="FORMATS", type=formats_of, default=FORMATS, help=formats)
    add_iteration(made)
    add_output(made, None)
    return made


# What several share


def add_iteration(parser: Parser) -> None:
    words = "which checkpoint: N, latest or best (as the config's test section says)"
    parser.add_argument("--iteration", metavar="N", type=iteration, help=words)


def add_device(parser: Parser) -> None:
    parser.add_argument("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N (the config's)")


def add_output(parser: Parser, default: Path | None) -> None:
    words = "the folder to make" + (f" ({default})" if default else "")
    required = default is None
    parser.add_argument(
        "--output", metavar="FOLDER", type=path, default=default, required=required, help=words
    )
    add_force(parser, "replace an earlier output of this command")


def add_force(parser: Parser, words: str) -> None:
    parser.add_argument("--force", action="store_true", help=words)


def path(text: str) -> Path:
    if "\0" in text or not text:
        raise argparse.ArgumentTypeError("no path")
    return Path(text).expanduser() if text.startswith("~") else Path(text)


def number(text: str) -> int:
    """A seed."""
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to 2147483647")
    return int(text)


def iteration(text: str) -> int | str:
    return text if text in ("latest", "best") else number(text)


def attribute(text: str) -> tuple[str, int]:
    """One NAME=1 or NAME=0."""
    name, equals, value = text.rpartition("=")
    if not equals or not name or value not in ("0", "1") or not is_plain(name):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=1 or NAME=0")
    return name, int(value)


FORMATS = ("safetensors", "onnx")


def formats_of(text: str) -> tuple[str, ...]:
    found = tuple(text.split(","))
    if not set(found) <= set(FORMATS):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(FORMATS)}, or several with commas")
    return found


FIT = """how a picture of other proportions is shown: as the config's data section says (data), its middle
(crop), all of it between borders (pad), all of it out of proportion (squash), or part by part at its own size
(tile, where the model allows)"""
CHECK = """\
examples:
  python main.py check configs/iiae_digits.json
  python main.py check configs/drit_yosemite.json path_to_data=data/mine --picture batch.png

Status 1 where something was found that training or its numbers would suffer from. What data sets make on
their first use stays, as training needs it; nothing else does.
"""
TRANSLATE = """\
examples:
  python main.py translate runs/mine photo.jpg holiday/ --output made
  python main.py translate runs/mine cats/ --from A --to B --random 5 --seed 3
  python main.py translate runs/mine cats/ --from A --to B --style ginger.png grey.png
  python main.py translate runs/mine cat.png --to B --interpolate ginger.png grey.png
  python main.py translate runs/faces me.jpg --attribute Blond_Hair=1 Black_Hair=0

FOLDER holds a PNG for each translation, grid.png, and translate.json that says what was done. What cannot be
read is named and passed over; the status is then 1.
"""
COMPARE = """\
example:
  python main.py compare runs/one runs/two runs/two_again --output compared

FOLDER holds index.html, which opens from the disk, compare.md and compare.csv. Runs that differ in their seed
alone are one column, of means and standard deviations; what was measured differently is marked.
"""
EXPORT = """\
example:
  python main.py export runs/mine --output exported

FOLDER holds model.safetensors, config.json, a model card, and the model's verbs as ONNX, each compared with
PyTorch. `translate` takes it in place of a run.
"""


def said(options: argparse.Namespace) -> dict[str, Any]:
    """The options as plain values, for a file that says what was done."""
    values = vars(options).items()
    return {name: plain(value) for name, value in values if value is not None}


def plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
