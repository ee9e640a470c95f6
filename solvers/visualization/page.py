"""The pages of a run: index.html with loss curves, samples by iteration and results; opens in a browser
with no server."""

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from configs.keys.common import Config
from solvers.run.best import best_file, read_best
from solvers.run.folder import RunFolder, number, parsed, write_whole

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
NOT_LOSSES = ("iteration", "lr", "iterations_per_second")
VALIDATION = "validation/"  # begins the names of what is measured while a run trains
WIDTH, HEIGHT = 260, 110
MOST_POINTS = 400


def write_pages(run: RunFolder, config: Config) -> None:
    """Write index.html in the run's folder, and results/index.html where there are results."""
    metrics, protocol = read_results(run.results / "metrics.json")
    samples = [
        (int(folder.name), sorted(folder.glob("*.png")))
        for folder in sorted(run.samples.glob("*"), reverse=True)
        if folder.name.isdigit()
    ]
    grids = sorted(path for path in run.results.glob("*") if path.suffix in (".png", ".gif"))
    page = TEMPLATES.get_template("page.html.jinja")
    rows, best = run.read_metrics(), read_best(run.root) if best_file(run.root).exists() else None
    common = {"config": config, "config_text": run.config.read_text(errors="replace"), "metrics": metrics}
    common |= {"meanings": protocol.get("numbers", {}), "left_out": protocol.get("left_out", {})}
    common |= {"facts": facts(protocol)}
    write_whole(
        run.root / "index.html",
        page.render(
            curves=curves(rows),
            best=best,
            samples=relative(samples, run.root),
            grids=names(grids, run.root),
            **common,
        ),
    )
    if metrics:
        write_whole(
            run.results / "index.html",
            page.render(curves=[], samples=[], grids=names(grids, run.results), **common),
        )


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
    """The line through these points, thinned; with `cut`, a wild start hides nothing."""
    thin = points[:: -(-len(points) // MOST_POINTS)]
    thin += [points[-1]] if thin[-1] is not points[-1] else []
    values = sorted(value for _, value in thin)
    low, high = values[0], values[min(len(values) - 1, int(len(values) * 0.98)) if cut else -1]
    span, first, last = (high - low) or 1.0, thin[0][0], thin[-1][0]
    path = " ".join(
        f"{(x - first) / max(1, last - first) * WIDTH:.1f},{(high - min(y, high)) / span * HEIGHT:.1f}"
        for x, y in thin
    )
    return {"path": path, "low": low, "high": high, "now": thin[-1][1], "first": first, "last": last}


def relative(samples: list[tuple[int, list[Path]]], root: Path) -> list[tuple[int, list[tuple[str, str]]]]:
    return [(iteration, names(pictures, root)) for iteration, pictures in samples]


def names(pictures: list[Path], root: Path) -> list[tuple[str, str]]:
    """(link from `root`, words) of each picture."""
    words = [
        path.stem.replace("_", " ") + (" (moving)" if path.suffix == ".gif" else "") for path in pictures
    ]
    return list(zip((path.relative_to(root).as_posix() for path in pictures), words))
