"""A table's page in Markdown and its figure."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.tables_declared import Column
from benchmarks.tables_results import Entry, Results, family_of
from benchmarks.tables_runs import Job, Plan, as_typed
from solvers.commands.card import plain
from solvers.commands.compare import COLOURS, measured
from solvers.visualization.plots import DPI, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 3  # panels of the figure
STRANGE = " †"


# --- The page


def page(
    name: str,
    results: Results,
    jobs: list[Job],
    plan: Plan,
    failed: dict[str, str],
    data: Path | None,
    made: str,
) -> str:
    """Markdown of the whole page, which the command `made` makes."""
    table = results.table
    parts = [f"# {table.question}", "", *(f"{text}\n" for text in table.remarks)]
    parts += [f"{text}\n" for text in protocol_words(results, jobs, plan)]
    for title, columns in table.parts.items():
        parts += [f"## {title}", "", *part_lines(results, columns, len({job.seed for job in jobs})), ""]
    parts += [f"![The same numbers]({name}.png)", "", f"*{figure_words(jobs)}*", ""]
    missing = [f"- {row.label}: {row.why_not}." for row in table.rows if row.why_not]
    missing += left_out(results)
    missing += [f"- {name} failed: {plain(why)}" for name, why in failed.items()]
    done = {job.name for line in results.lines for job in line.jobs}
    missing += [f"- {job.name} was not run yet." for job in jobs if job.name not in {*done, *failed}]
    if missing:
        parts += ["## What has no numbers", "", *missing, ""]
    if table.published:
        parts += ["## Published, and what is not comparable", ""]
        parts += [f"- {one.label}: {one.source}. Not comparable: {one.apart}." for one in table.published]
        parts += [""]
    parts += ["## How it was measured", "", *measured_lines(results), "", "## Commands", ""]
    if data is not None:
        parts += ["DATA is the folder of the data.", ""]
    parts += [
        "```bash",
        f"{made}  # all of it, or each by itself:",
        "",
        *commands(results, jobs, data),
        "```",
        "",
    ]
    return "\n".join(parts)


def protocol_words(results: Results, jobs: list[Job], plan: Plan) -> Iterator[str]:
    seeds = sorted({job.seed for job in jobs})
    many = f"Seeds {', '.join(map(str, seeds))}: means ± standard deviations (n - 1) over them"
    yield f"{many if len(seeds) > 1 else f'One seed, {seeds[0]}: no spread is known'}. Bold: the best mean."
    if plan.budget is None:
        yield "No equal budget: each config trains for its own number of iterations."
    else:
        yield (
            f"Equal budget: each run trains for {plan.budget:g} minutes. How long an iteration takes was "
            "measured before, in a short trial on the same machine; iterations follow from that, and "
            "schedules are shortened or stretched with them. Grids, checkpoints, validation and test mode "
            "come on top. Trials on one thread leave out what other jobs took from it, runs do not: "
            "their minutes by the clock are among the costs."
        )
    notes = [one for job in jobs for one in plan.said["begun"].get(job.name, [])]
    dates = sorted({one["date"] for one in notes})
    machines = "; ".join(dict.fromkeys(one["machine"] for one in notes))
    threads = sorted({one.config.threads for one in results.runs})
    said = " or ".join("all" if count == 0 else str(count) for count in threads)
    loads = sorted(one["load"] for one in notes if one.get("load") is not None)
    if dates:
        when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        busy = f"; load average when runs began: {loads[0]:.1f} to {loads[-1]:.1f}" if loads else ""
        yield f"{when}, {plain(machines)}; threads: {said}{busy}."


def part_lines(results: Results, columns: tuple[Column, ...], seeds: int) -> list[str]:
    """One table of Markdown, with the published rows that have something in it."""
    cells = [["" for _ in columns] for _ in results.lines]
    strange = False
    for c, column in enumerate(columns):
        entries = [results.entries(numbers) for numbers in column.numbers]
        for n in range(len(results.lines)):
            mine = [one[n] for one in entries]
            strange = strange or any(one.strange for one in mine if one)
            if any(mine):
                cells[n][c] = ", ".join(text_of(one, column.digits) if one else "-" for one in mine)
    chances = [
        ", ".join(dict.fromkeys(filter(None, map(results.chance, column.numbers)))) for column in columns
    ]
    lines = [row_of(["", *(column.heading for column in columns)]), row_of(["---"] * (1 + len(columns)))]
    for line, texts in zip(results.lines, cells):
        few = len(line.jobs) < seeds
        label = line.row.label + (f" ({len(line.jobs)} of {seeds} seeds)" if few else "")
        lines.append(row_of([label, *texts]))
    if any(chances):
        lines.append(row_of(["*chance*", *chances]))
    for one in results.table.published:
        if any(column.heading in one.cells for column in columns):
            texts = [one.cells.get(column.heading, "") for column in columns]
            lines.append(row_of([f"*published:* {one.label}", *texts]))
    if strange:
        lines += ["", "† measured otherwise than in the first row; see below. It counts for no best."]
    return lines


def text_of(entry: Entry, digits: int) -> str:
    mean = f"{entry.mean:,.{digits}f}"
    spread = "" if entry.spread is None else f" ± {entry.spread:,.{digits}f}"
    return f"**{mean}**{spread}" if entry.best else f"{mean}{spread}{STRANGE if entry.strange else ''}"


def row_of(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def left_out(results: Results) -> Iterator[str]:
    """Why rows lack numbers of the table's columns, as test mode said."""
    names = [
        name for columns in results.table.parts.values() for column in columns for name in column.numbers
    ]
    wanted = {family_of(name.partition("|")[0].strip()) for name in names}
    for line in results.lines:
        reasons: dict[str, list[str]] = {}
        for family, reason in (line.group.runs[0].protocol.get("left_out") or {}).items():
            if family in wanted:
                reasons.setdefault(reason, []).append(family)
        for reason, families in reasons.items():
            yield f"- {line.row.label} ({', '.join(families)}): {plain(reason)}."


def measured_lines(results: Results) -> list[str]:
    """How the first run was tested, and in what others differ from that."""
    first = results.first
    if first is None:
        return ["Nothing was."]
    about = measured(first, set(first.protocol.get("families") or {}))
    lines = [f"- {key}: {code(text)}" for key, text in about.items()]
    for line in results.lines:
        said = dict.fromkeys(text for texts in results.apart[line.row.folder].values() for text in texts)
        lines += [f"- † {line.row.label}: {code(text)}" for text in said]
    return lines


def code(text: str) -> str:
    """As code, so that nothing in it is Markdown; what is long, such as hashes of weights, is cut."""
    text = re.sub(r"\s+", " ", text.replace("`", "'"))
    return f"`{text}`" if len(text) <= 200 else f"`{text[:195]} ...`"


def commands(results: Results, jobs: list[Job], data: Path | None) -> list[str]:
    """Each row's command once, in a loop over the seeds."""
    seeds = sorted({job.seed for job in jobs})
    lines = [f"for seed in {' '.join(map(str, seeds))}; do"]
    for row in results.table.rows:
        mine = next((job for job in jobs if job.row is row), None)
        if mine is not None:
            *words, _ = mine.words
            trained = f" train=0 test.test_path=RUN_OF_{row.of}_s$seed" if row.of else ""
            lines.append(f"    {as_typed(words, data)} seed=$seed{trained}")
    return [*lines, "done"]


# --- The figure


def figure_words(jobs: list[Job]) -> str:
    dots = "a dot for each seed, a bar at their mean"
    chance = "the dashed line is chance"
    return f"{dots if len({job.seed for job in jobs}) > 1 else 'One seed'}; where it is known, {chance}."


def picture(results: Results) -> np.ndarray:
    """The drawn columns, a panel each: uint8 [H, W, 3]."""
    from matplotlib.figure import Figure

    drawn = [column for columns in results.table.parts.values() for column in columns if column.drawn]
    found = {column: [results.entries(numbers) for numbers in column.numbers] for column in drawn}
    drawn = [column for column in drawn if any(any(entries) for entries in found[column])]
    across = max(1, min(ACROSS, len(drawn)))
    down = max(1, -(-len(drawn) // across))
    size = (2 + 3.2 * across, down * (1 + 0.33 * max(2, len(results.lines))))
    figure = Figure(size, dpi=DPI, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharey=True)
    for axes in panels.flat[len(drawn) :]:
        axes.axis("off")
    for axes, column in zip(panels.flat, drawn):
        draw(axes, results, column, found[column])
    labels = [line.row.label for line in results.lines]
    panels[0, 0].set_yticks(range(len(labels)), labels)
    panels[0, 0].set_ylim(len(labels) - 0.5, -0.5)
    return rendered(figure)


def draw(axes: "Axes", results: Results, column: Column, found: list[list[Entry | None]]) -> None:
    """One column: its lines from top to bottom, its numbers in colours beside one another."""
    many = len(found)
    for number, entries in enumerate(found):
        shift = 0.3 * (number - (many - 1) / 2)
        for place, one in enumerate(entries):
            if one is not None:
                where = place + shift
                axes.plot(one.values, [where] * len(one.values), ".", color=COLOURS[number], alpha=0.7)
                axes.plot([one.mean] * 2, [where - 0.13, where + 0.13], "-", color=COLOURS[number])
        if chance := results.chance(column.numbers[number]):
            axes.axvline(float(chance), color="0.6", linestyle="--", linewidth=0.8)
    axes.set_title(column.heading, fontsize="small", wrap=True)
    axes.grid(axis="y", color="0.92")
    if many > 1:  # the colours mean the two ways or domains, in the heading's order
        names = [numbers.partition("|")[0].strip().rpartition("/")[2] for numbers in column.numbers]
        for number, text in enumerate(names):
            axes.plot([], [], ".", color=COLOURS[number], label=text.replace("_", " "))
        axes.legend(fontsize="x-small")
