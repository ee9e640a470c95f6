"""The pages of a run: index.html with results in words, pictures, samples by iteration, curves and what was
configured; opens in a browser with no server."""

import json
import math
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader

from configs.keys.common import Config, Section
from solvers.run.best import best_file, read_best
from solvers.run.folder import RunFolder, number, parsed, write_whole
from solvers.visualization.answers import answers, prior_in_words
from solvers.visualization.published import published

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
NOT_LOSSES = ("iteration", "lr", "iterations_per_second")
NO_SETTINGS = ("versions", "differs_from_paper")
VALIDATION = "validation/"  # begins the names of what is measured while a run trains
WIDTH, HEIGHT = 260, 110
MOST_POINTS = 400


def write_pages(run: RunFolder, config: Config) -> None:
    """Write index.html in the run's folder, and results/index.html where there are results."""
    metrics, protocol = read_results(run.results / "metrics.json")
    found = [path for path in run.results.glob("*") if path.suffix in (".png", ".gif")]
    grids = sorted(found, key=lambda path: (path.suffix == ".gif", path.name))
    page = TEMPLATES.get_template("page.html.jinja")
    best = read_best(run.root) if best_file(run.root).exists() else None
    common = {"config": config, "config_text": run.config.read_text(errors="replace"), "metrics": metrics}
    common |= {"changed": changed(config), "differences": config.differences()}
    common |= {"answers": answers(metrics, protocol, published(config)), "facts": facts(protocol)}
    common |= {"left_out": protocol.get("left_out", {}), "images": protocol.get("images", {})}
    sampled = samples(run.samples)
    newest = {words: link for _, links in sampled for words, link in links.items()}
    shown = {"curves": curves(run.read_metrics()), "samples": sampled, "newest": newest, "best": best}
    shown |= {"grids": names(grids, run.root)}
    write_whole(run.root / "index.html", page.render(**common, **shown))
    if metrics:
        alone = {"curves": [], "samples": [], "grids": names(grids, run.results), "changed": []}
        write_whole(run.results / "index.html", page.render(**common | alone))


def read_results(path: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """The numbers of test mode and their protocol; nothing where the file is missing or damaged."""
    metrics = parsed(path.read_bytes()) if path.exists() else {}
    protocol = metrics.pop("protocol", {})
    sound = all(map(number, metrics.values())) and isinstance(protocol, dict)
    return (metrics, protocol) if sound else ({}, {})


def facts(protocol: dict[str, Any]) -> list[tuple[str, str]]:
    """How the numbers were taken, as (what, words)."""
    if not protocol:
        return []
    checkpoint, images = protocol.get("checkpoint", {}), protocol.get("images", {})
    value = f": {checkpoint['value']:.4g}" if "value" in checkpoint else ""
    found = [
        ("checkpoint", f"iteration {checkpoint.get('iteration')}, {checkpoint.get('chosen')}{value}"),
        ("split", f"{protocol.get('split')}, {', '.join(f'{n:,} of {d}' for d, n in images.items())}"),
        ("seed", str(protocol.get("seed"))),
        ("prior of styles", prior_in_words(protocol.get("prior") or {})),
    ]
    for family, about in protocol.get("families", {}).items():
        if about:
            found.append((family, "; ".join(f"{name.replace('_', ' ')}: {it}" for name, it in about.items())))
    return found


def is_loss(name: str) -> bool:
    """Whether a name in metrics.jsonl is a loss's."""
    return name not in NOT_LOSSES and not name.startswith(VALIDATION)


def curves(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One small chart per loss, then per number of validation: SVG points, last value and range; thinned to
    about MOST_POINTS points."""
    names = dict.fromkeys(name for row in rows for name in row if name not in NOT_LOSSES)
    charts = []
    for name in sorted(names, key=is_loss, reverse=True):
        points = [(r["iteration"], r[name]) for r in rows if name in r and math.isfinite(r[name])]
        if len(points) > 1:
            about = {"name": name.removeprefix(VALIDATION), "is_loss": is_loss(name)}
            charts.append(about | chart(points, cut=is_loss(name)))
    return charts


def chart(points: list[tuple[int, float]], cut: bool) -> dict[str, Any]:
    """The line through these points, thinned, with ticks as (place, value); with `cut`, a wild start hides
    nothing."""
    thin = points[:: -(-len(points) // MOST_POINTS)]
    thin += [points[-1]] if thin[-1] is not points[-1] else []
    values = sorted(value for _, value in thin)
    low, high = values[0], values[min(len(values) - 1, int(len(values) * 0.98)) if cut else -1]
    span, first, last = (high - low) or 1.0, thin[0][0], thin[-1][0]

    def across(x: float) -> float:
        return round((x - first) / max(1, last - first) * WIDTH, 1)

    def down(y: float) -> float:
        return round((high - min(y, high)) / span * HEIGHT, 1)

    return {
        "path": " ".join(f"{across(x)},{down(y)}" for x, y in thin),
        "values": " ".join(f"{x}:{y:.4g}" for x, y in thin),
        "ticks_x": [(across(x), x) for x in ticks(first, last)],
        "ticks_y": [(down(y), y) for y in ticks(low, high)],
        "low": low,
        "high": high,
        "lowest": values[0],
        "highest": values[-1],
        "start": thin[0][1],
        "now": thin[-1][1],
        "first": first,
        "last": last,
    }


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round numbers from low to high: multiples of 1, 2 or 5 times a power of ten, `most` steps at most."""
    if not low < high:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * times for times in (1, 2, 5, 10) if (high - low) / (power * times) <= most)
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def samples(folder: Path) -> list[tuple[int, dict[str, str]]]:
    """The grids of each iteration, in order: its number, and links by words."""
    if not folder.is_dir():
        return []
    found = sorted((int(name), name) for name in os.listdir(folder) if name.isdigit())
    rows = []
    for iteration, name in found:
        pictures = sorted(file for file in os.listdir(folder / name) if file.endswith(".png"))
        rows.append((iteration, {words(file): quote(f"{folder.name}/{name}/{file}") for file in pictures}))
    return [row for row in rows if row[1]]


def names(pictures: list[Path], root: Path) -> list[tuple[str, str]]:
    """(link from `root`, words) of each picture."""
    return [(quote(path.relative_to(root).as_posix()), words(path.name)) for path in pictures]


def words(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    return stem.replace("_", " ") + (" (moving)" if kind == "gif" else "")


def changed(config: Config) -> list[tuple[str, str, str, str]]:
    """Where a config is not as by default: key, value, default ("" where there is none) and what it is."""
    found: list[tuple[str, str, str, str]] = []

    def walk(section: Section, usual: Section | None, above: str) -> None:
        for name, about in type(section).model_fields.items():
            key, value = above + (about.alias or name), getattr(section, name)
            default = None if about.is_required() else about.get_default(call_default_factory=True)
            if usual is not None and type(usual) is type(section):
                default = getattr(usual, name)
            if isinstance(value, Section):
                walk(value, default, f"{key}.")
            elif key not in NO_SETTINGS and (value != default or about.is_required()):
                shown = "" if about.is_required() else json.dumps(default)
                found.append((key, json.dumps(value), shown, about.description or ""))

    walk(config, None, "")
    return found
