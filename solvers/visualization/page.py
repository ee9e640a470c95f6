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
MEANINGS = {  # of the numbers whose names begin so
    "retrieval/shared": "how often the nearest content code of the other domain is the partner's; 1 is best",
    "retrieval/exclusive": "the same by style code; chance, one over the number of pairs, is best",
    "reconstruction/l1": "mean absolute error over pixels in [-1, 1] of an image encoded and decoded again",
    "translation/reference_l1": "the same of a translation with the partner's own style",
    "probe/content/domain": "how well a linear probe tells the domain from the content code (balanced "
    "accuracy); one over the number of domains is best",
    "probe/content": "how well a linear probe reads a label from the content code (balanced accuracy)",
    "probe/style": "the same from the style code; one over the number of values: the style knows nothing",
    "diversity": "mean distance between translations of one image with random styles, and between real "
    "images of a domain (real)",
    "modes/covered": "how many of the target's modes have at least 1 % of the randomly styled translations",
    "modes/distance": "total variation between the frequencies of modes in translations and in real images; "
    "0 is best",
    "modes/none": "share of translations that are of no mode",
    "clustering/nmi": "normalised mutual information of the likeliest component with a label; 1 is best",
    "clustering/accuracy": "share of images whose component is their label's, matched one to one",
    "clustering/components": "how many components are the likeliest of some image",
    "adaptation": "accuracy on real target images of a classifier trained on source images, on 1, 3 or 5 "
    "translations of each, or on target images",
}


def write_pages(run: RunFolder, config: Config) -> None:
    """Write index.html in the run's folder, and results/index.html where there are results."""
    metrics_file = run.results / "metrics.json"
    metrics = json.loads(metrics_file.read_text()) if metrics_file.exists() else {}
    samples = [
        (int(folder.name), sorted(folder.glob("*.png")))
        for folder in sorted(run.samples.iterdir(), reverse=True)
        if folder.name.isdigit()
    ]
    grids = sorted(path for path in run.results.glob("*") if path.suffix in (".png", ".gif"))
    page = TEMPLATES.get_template("page.html.jinja")
    rows = run.read_metrics()
    common = {"config": config, "config_text": run.config.read_text(), "metrics": metrics}
    common["meanings"] = {
        start: words for start, words in MEANINGS.items() if any(name.startswith(start) for name in metrics)
    }
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
