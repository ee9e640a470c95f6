"""The pages of a run: index.html with loss curves, samples by iteration and results; opens in a browser
with no server."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from configs.keys.common import Config
from solvers.run.folder import RunFolder, write_whole

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
NOT_LOSSES = ("iteration", "lr", "iterations_per_second")
WIDTH, HEIGHT = 260, 110
MOST_POINTS = 400


def write_pages(run: RunFolder, config: Config) -> None:
    """Write index.html in the run's folder, and results/index.html where there are results."""
    metrics_file = run.results / "metrics.json"
    metrics = json.loads(metrics_file.read_text()) if metrics_file.exists() else {}
    protocol = metrics.pop("protocol", {})
    samples = [
        (int(folder.name), sorted(folder.glob("*.png")))
        for folder in sorted(run.samples.iterdir(), reverse=True)
        if folder.name.isdigit()
    ]
    grids = sorted(path for path in run.results.glob("*") if path.suffix in (".png", ".gif"))
    page = TEMPLATES.get_template("page.html.jinja")
    rows = run.read_metrics()
    common = {"config": config, "config_text": run.config.read_text(), "metrics": metrics}
    common |= {"meanings": protocol.get("numbers", {}), "left_out": protocol.get("left_out", {})}
    write_whole(
        run.root / "index.html",
        page.render(
            curves=curves(rows), samples=relative(samples, run.root), grids=names(grids, run.root), **common
        ),
    )
    if metrics:
        write_whole(
            run.results / "index.html",
            page.render(curves=[], samples=[], grids=names(grids, run.results), **common),
        )


def curves(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One small chart per loss: SVG points, last value and range; thinned to at most MOST_POINTS points."""
    if len(rows) < 2:
        return []
    thin = rows[:: -(-len(rows) // MOST_POINTS)]
    thin += [rows[-1]] if thin[-1] is not rows[-1] else []
    charts = []
    for name in (key for key in rows[-1] if key not in NOT_LOSSES):
        points = [(row["iteration"], row[name]) for row in thin if name in row]
        values = sorted(value for _, value in points)
        low, high = (
            values[0],
            values[min(len(values) - 1, int(len(values) * 0.98))],
        )  # a wild start hides nothing
        span, first, last = (high - low) or 1.0, points[0][0], points[-1][0]
        path = " ".join(
            f"{(x - first) / max(1, last - first) * WIDTH:.1f},{(high - min(y, high)) / span * HEIGHT:.1f}"
            for x, y in points
        )
        charts.append(
            {
                "name": name,
                "path": path,
                "low": low,
                "high": high,
                "now": points[-1][1],
                "first": first,
                "last": last,
            }
        )
    return charts


def relative(samples: list[tuple[int, list[Path]]], root: Path) -> list[tuple[int, list[tuple[str, str]]]]:
    return [(iteration, names(pictures, root)) for iteration, pictures in samples]


def names(pictures: list[Path], root: Path) -> list[tuple[str, str]]:
    """(link from `root`, words) of each picture."""
    words = [
        path.stem.replace("_", " ") + (" (moving)" if path.suffix == ".gif" else "") for path in pictures
    ]
    return list(zip((path.relative_to(root).as_posix() for path in pictures), words))
