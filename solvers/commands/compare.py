"""Several runs beside one another: one page, one Markdown table and one CSV."""

import csv
import json
import math
import shutil
import statistics
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.keys.common import Config
from configs.load import load_config
from dataloader.packed import DataError
from solvers.commands.card import plain
from solvers.commands.opened import bare_solver, first_state
from solvers.commands.outputs import check_output, output_folder
from solvers.run.checkpoint import CheckpointError
from solvers.run.folder import RunError, RunFolder, write_whole
from solvers.visualization.answers import meaning_of, prior_in_words
from solvers.visualization.page import HEIGHT, TEMPLATES, WIDTH, is_loss
from solvers.visualization.published import published

MARK = "compare.csv"
BESIDE = ("chance", "published")  # the columns before the runs
COLOURS = ("#2a6fb0", "#b0562a", "#3a8f3a", "#8a4fb0", "#b03a6f", "#6f6f2a", "#2a9fa0", "#808080")
NO_SETTINGS = (  # what makes no other experiment
    *("id", "seed", "run_dir", "output_dir", "path_to_data", "device", "threads", "workers", "train"),
    *("training.resume_iters", "training.restored_model_path", "test.test_path", "test.batch_size"),
    *("training.print_freq", "training.sample_freq", "training.model_save_freq"),
)
MOST_POINTS = 300


@dataclass
class Run:
    """What a run's folder tells."""

    folder: RunFolder
    config: Config
    metrics: dict[str, float]
    protocol: dict[str, Any]
    rows: list[dict[str, Any]]
    facts: dict[str, float | None]
    settings: dict[str, str]


@dataclass
class Group:
    """Runs that differ in their seed alone."""

    runs: list[Run] = field(default_factory=list)
    name: str = ""

    def values(self, number: str) -> list[float]:
        found = (run.metrics.get(number, run.facts.get(number)) for run in self.runs)
        return [value for value in found if value is not None]


def run(options: Namespace) -> int:
    """Exit status 0. Raises RunError for what is no run, and DataError."""
    check_output(options.output, options.force, MARK)
    given = {path.resolve(): path for path in options.runs}
    groups = grouped([read_run(path) for path in given.values()])
    rows, notes = table(groups)
    with output_folder(options.output, options.force, MARK, options.runs) as work:
        page = TEMPLATES.get_template("compare.html.jinja")
        columns = [{"name": group.name, "colour": colour(n)} for n, group in enumerate(groups)]
        shown = {"curves": curves(groups), "grids": copy_grids(groups, work)}
        write_whole(work / "index.html", page.render(columns=columns, rows=rows, notes=notes, **shown))
        write_whole(work / "compare.md", markdown(groups, rows, notes))
        with (work / MARK).open("w", newline="", encoding="utf-8") as file:
            written = csv.writer(file)
            written.writerow(["", *BESIDE, *(group.name for group in groups)])
            written.writerows(
                [row["name"], *(row[beside] for beside in BESIDE), *(c["text"] for c in row["cells"])]
                for row in rows
            )
    print((options.output / "index.html").resolve())
    return 0


def read_run(where: Path) -> Run:
    """Raises RunError, ConfigError."""
    folder = RunFolder(where)
    if not folder.config.is_file():
        raise RunError(f"{where} is no run's folder: it has no config.json")
    config = load_config(folder.config)
    metrics: dict[str, Any] = {}
    try:
        metrics = json.loads((folder.results / "metrics.json").read_text())
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise RunError(f"{folder.results / 'metrics.json'} cannot be read: {error}") from None
    numbers = {name: float(v) for name, v in metrics.items() if isinstance(v, int | float)}
    tested = numbers.pop("iteration", None)
    rows = folder.read_metrics()
    speeds = [row["iterations_per_second"] for row in rows if row.get("iterations_per_second")]
    seconds = 1 / statistics.median(speeds) if speeds else None
    last = max((row["iteration"] for row in rows), default=None)
    facts = {
        "tested at iteration": tested,
        "parameters": parameters(folder, config),
        "seconds an iteration": seconds,
        "training, minutes": seconds * last / 60 if seconds and last else None,
    }
    protocol = metrics.get("protocol", {})
    return Run(folder, config, numbers, protocol, rows, facts, settings(config) | tested_prior(protocol))


def parameters(folder: RunFolder, config: Config) -> float | None:
    """Of all networks; None where there is no checkpoint to tell how they are built."""
    try:
        state = first_state(folder.root, "latest")
        solver = bare_solver(config, state.get("facts"), "cpu")
    except (CheckpointError, DataError):
        return None
    return float(sum(p.numel() for net in solver.networks.values() for p in net.parameters()))


def settings(config: Config) -> dict[str, str]:
    """What makes the experiment, by dotted key, as JSON."""
    found: dict[str, str] = {}

    def walk(values: dict[str, Any], above: str) -> None:
        for key, value in values.items():
            if isinstance(value, dict):
                walk(value, f"{above}{key}.")
            elif f"{above}{key}" not in NO_SETTINGS:
                found[f"{above}{key}"] = json.dumps(value)

    walk(config.model_dump(mode="json", by_alias=True, exclude={"versions"}), "")
    return found


def tested_prior(protocol: dict[str, Any]) -> dict[str, str]:
    """The settings of random styles that a run was tested with, which need not be those it was trained with:
    runs whose numbers are of other priors are no repetitions of one another."""
    prior = protocol.get("prior") or {}
    if prior.get("which") not in ("model", "fitted"):
        return {}
    found = {"test.prior": json.dumps(prior["which"])}
    if prior["which"] == "fitted":
        by_key = str(prior.get("chosen_by")).startswith("test.")
        count = next(iter(prior.get("components", {}).values()), None) if by_key else None
        found["test.prior_images"] = json.dumps(prior.get("training_images_at_most"))
        found["test.prior_components"] = json.dumps(count)
    return found


def grouped(runs: list[Run]) -> list[Group]:
    """Runs of the same settings together, in the order given."""
    groups: dict[str, Group] = {}
    for one in runs:
        groups.setdefault(json.dumps(one.settings, sort_keys=True), Group()).runs.append(one)
    for group in groups.values():
        seeds = ", ".join(str(one.config.seed) for one in group.runs)
        where = group.runs[0].folder.root.resolve().name
        many = f" (seeds {seeds})" if len(group.runs) > 1 else ""
        group.name = f"{group.runs[0].config.id}: {where}{many}"
    return list(groups.values())


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


# --- The table


def table(groups: list[Group]) -> tuple[list[dict[str, Any]], list[str]]:
    """Facts, numbers, and settings that differ: rows of cells; and notes on protocols that differ."""
    runs = [one for group in groups for one in group.runs]
    names = dict.fromkeys(name for one in runs for name in (*one.facts, *one.metrics))
    first = next((one for one in runs if one.protocol), None)
    odd = {id(one): differences(first, one) for one in runs if first and one.protocol}
    drawn = {id(one): otherwise_drawn(first, one) for one in runs if first and one.protocol}
    rows = [number_row(name, groups, odd, drawn) for name in names]
    for key in dict.fromkeys(key for one in runs for key in one.settings):
        values = [group.runs[0].settings.get(key, "") for group in groups]
        if len(set(values)) > 1:
            cells = [{"text": value, "value": "", "best": False} for value in values]
            beside = dict.fromkeys(BESIDE, "")
            rows.append({"name": key, "better": "", "numbers": False, "cells": cells, **beside})
    notes = [
        f"{group.name}: {'; '.join(found)}"
        for group in groups
        for one in group.runs
        if (found := [*odd.get(id(one), ()), *other_prior(first, one, drawn)])
    ]
    return rows, list(dict.fromkeys(notes))


def number_row(
    name: str, groups: list[Group], odd: dict[int, list[str]], drawn: dict[int, list[str]]
) -> dict[str, Any]:
    meanings = [one.protocol.get("numbers", {}) for group in groups for one in group.runs]
    about = next((found for known in meanings if (found := meaning_of(name, known))), {})
    better, chance = about.get("better", ""), about.get("chance")
    cells = []
    for group in groups:
        values = group.values(name)
        mean = statistics.fmean(values) if values else math.nan
        spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
        strange = any(name in one.metrics and odd.get(id(one)) for one in group.runs)
        strange = strange or any(name in drawn.get(id(one), ()) for one in group.runs)
        shown = f"{mean:,.0f}" if mean.is_integer() and mean > 1 else f"{mean:.5g}{spread}"
        text = f"{shown}{' †' if strange else ''}" if values else ""
        value = repr(mean) if math.isfinite(mean) else ""
        cells.append({"text": text, "value": value, "best": False, "strange": strange})
    fair = [float(cell["value"]) for cell in cells if cell["value"] and not cell["strange"]]
    if better and len(fair) > 1:
        best = max(fair) if better == "higher" else min(fair)
        for cell in cells:
            cell["best"] = cell["value"] == repr(best) and not cell["strange"]
    said = {
        one.value: None for group in groups for run in group.runs if (one := published(run.config).get(name))
    }
    beside = {
        "chance": "" if chance is None else f"{chance:.4g}",
        "published": ", ".join(f"{x:.4g}" for x in said),
    }
    return {"name": name, "better": better, "numbers": True, "cells": cells, **beside}


def differences(first: Run, other: Run) -> list[str]:
    """In what two tested runs were not measured alike, besides seed and iteration; what only one of them
    could measure is no difference."""
    shared = {*(first.protocol.get("families") or {})} & {*(other.protocol.get("families") or {})}
    mine, theirs = measured(first, shared), measured(other, shared)
    keys = dict.fromkeys([*mine, *theirs])
    return [
        f"{key}: {theirs.get(key, 'none')}, not {mine.get(key, 'none')}"
        for key in keys
        if mine.get(key) != theirs.get(key)
    ]


def prior_of(one: Run) -> dict[str, Any]:
    """What random styles were drawn from; older protocols know the model's own alone."""
    return one.protocol.get("prior") or {}


def otherwise_drawn(first: Run, other: Run) -> list[str]:
    """The numbers of random styles, where the two tested runs drew them from different kinds of prior, or
    fitted it otherwise. How many Gaussians BIC found is a result and no difference."""
    own = {"test.prior": '"model"'}
    mine, its = (tested_prior(one.protocol) or own for one in (first, other))
    return [] if mine == its else [*prior_of(first).get("numbers", ()), *prior_of(other).get("numbers", ())]


def other_prior(first: Run | None, other: Run, drawn: dict[int, list[str]]) -> list[str]:
    """A note on it."""
    if first is None or not drawn.get(id(other)):
        return []
    mine, its = (prior_in_words(prior_of(one)) for one in (first, other))
    return [f"prior of random styles: {its}, not {mine}"]


def measured(one: Run, families: set[str]) -> dict[str, str]:
    found = {"data set": one.config.dataset, "resolution": " x ".join(map(str, one.config.size))}
    found["split"] = str(one.protocol.get("split"))
    found |= {f"images of {name}": str(count) for name, count in (one.protocol.get("images") or {}).items()}
    found["checkpoint"] = str((one.protocol.get("checkpoint") or {}).get("chosen"))
    for family in sorted(families):
        about = one.protocol["families"][family] or {}
        found |= {f"{family}, {key}": json.dumps(seedless(value)) for key, value in about.items()}
    return found


def seedless(value: Any) -> Any:
    """Without the seed that a family drew by, which is the run's."""
    return {key: each for key, each in value.items() if key != "seed"} if isinstance(value, dict) else value


def markdown(groups: list[Group], rows: list[dict[str, Any]], notes: list[str]) -> str:
    lines = [f"| | {' | '.join(BESIDE)} |" + "".join(f" {plain(group.name)} |" for group in groups)]
    lines.append("| --- " * (1 + len(BESIDE) + len(groups)) + "|")
    for row in rows:
        texts = (f"**{plain(c['text'])}**" if c["best"] else plain(c["text"]) for c in row["cells"])
        beside = "".join(f" {row[name]} |" for name in BESIDE)
        lines.append(f"| {plain(row['name'])} |{beside}" + "".join(f" {text} |" for text in texts))
    lines += ["", *(f"- † {plain(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


# --- Pictures


def curves(groups: list[Group]) -> list[dict[str, Any]]:
    """For each loss and each number of validation that two groups have (or the only one), a line for each
    run."""
    runs = [(n, group, one) for n, group in enumerate(groups) for one in group.runs]
    names = dict.fromkeys(key for *_, one in runs for row in one.rows for key in row)
    charts = []
    for name in names:
        if not is_loss(name) and not name.startswith("validation/"):
            continue
        lines = []
        for n, group, one in runs:
            points = [(r["iteration"], r[name]) for r in one.rows if name in r and math.isfinite(r[name])]
            if len(points) > 1:
                lines.append((n, group.name, points[:: -(-len(points) // MOST_POINTS)]))
        if len({n for n, *_ in lines}) >= min(2, len(groups)):
            charts.append({"name": name, **chart(lines)})
    return charts


def chart(lines: list[tuple[int, str, list[tuple[int, float]]]]) -> dict[str, Any]:
    """Lines in one frame; the highest 2 % are cut, so that a wild start hides nothing."""
    points = [point for *_, line in lines for point in line]
    values = sorted(value for _, value in points)
    low, high = values[0], values[min(len(values) - 1, int(len(values) * 0.98))]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    wide, tall = max(1, last - first), (high - low) or 1.0
    drawn = [
        {
            "name": name,
            "colour": colour(n),
            "path": " ".join(
                f"{(x - first) / wide * WIDTH:.1f},{(high - min(y, high)) / tall * HEIGHT:.1f}"
                for x, y in line
            ),
        }
        for n, name, line in lines
    ]
    return {"low": low, "high": high, "first": first, "last": last, "lines": drawn}


def copy_grids(groups: list[Group], work: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    """The newest sample grids of each group's first run, by name: (words, link)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for number, group in enumerate(groups):
        samples = group.runs[0].folder.samples
        iterations = [path for path in samples.glob("*") if path.name.isdigit()] if samples.is_dir() else []
        if not iterations:
            continue
        newest = max(iterations, key=lambda path: int(path.name))
        for path in sorted(newest.glob("*.png")):
            link = f"grids/{number}_{len(found.setdefault(path.stem, []))}_{list(found).index(path.stem)}.png"
            (work / "grids").mkdir(exist_ok=True)
            shutil.copyfile(path, work / link)
            found[path.stem].append((f"{group.name}, iteration {int(newest.name):,}", link))
    return list(found.items())
