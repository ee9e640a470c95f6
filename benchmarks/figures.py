"""The command line that benchmarks share, and the `--json FILE` that every one takes."""

import argparse
import json
from pathlib import Path

from dataloader.packed import DataError


def parser_of(doc: str) -> argparse.ArgumentParser:
    """With a module's own words under --help, and --json."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_json(parser)
    return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there, too")


def check_json(path: Path | None) -> None:
    """Before anything is measured: DataError where the file could not be written afterwards."""
    if path and not path.parent.is_dir():
        raise DataError(f"--json: no folder at {path.parent}")


def write_json(path: Path | None, figures: dict[str, float]) -> None:
    """The figures, to six digits, under their flat keys; whole or not at all, and nothing without a path."""
    if path:
        part = path.with_name(f".{path.name}.part")
        short = {key: float(f"{value:.6g}") for key, value in figures.items()}
        part.write_text(json.dumps(short, indent=2) + "\n")
        part.replace(path)
