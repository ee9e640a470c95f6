"""Several systems on the same data: python benchmarks/tables.py TABLE [--seeds 3] [--budget MINUTES]

Runs the table's configs one after the other, each seed an ordinary run folder, <output>/TABLE/<row>_s<seed>,
then writes TABLE.md and TABLE.png. Run again after a kill it goes on: what is finished is not run again, what
was begun goes on from its last checkpoint. A run that lies there with another config, or a table with another
budget, is refused. Tables and their rows stand in benchmarks/tables_declared.py.
"""

import argparse
import math
import sys
from pathlib import Path

if not __package__:  # run as a script: its own folder is no place to import from, the one above is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.tables_declared import SEEDS, TABLES
from benchmarks.tables_page import page, picture
from benchmarks.tables_results import Results
from benchmarks.tables_runs import Plan, as_typed, is_finished, jobs_of, run_job
from configs.load import ConfigError
from dataloader.packed import DataError
from dataloader.preprocessing import Parser, whole
from dataloader.preprocessing import run as run_main
from solvers.run.folder import RunError, write_whole
from solvers.run.lock import RunLock
from solvers.visualization.grids import save_png

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = """\
tables:
{tables}

examples:
  python benchmarks/tables.py separation_digits --seeds 1 --budget 1     # needs no download
  python benchmarks/tables.py separation --budget 30 --data MNIST --set threads=2
  python benchmarks/tables.py facades --gather                           # runs nothing

Status 1 where a run failed; the page then has the others, and says so.
"""


def main(arguments: list[str]) -> None:
    """Raises DataError, and SystemExit where a run failed or was stopped."""
    options = words().parse_args(arguments)
    table, place = TABLES[options.table], options.output / options.table
    try:
        with RunLock(place):  # nobody else fills this table
            plan = Plan(place, options.budget, options.gather)
            jobs = jobs_of(table, options.seeds, plan, options.data, options.set, place)
            failed: dict[str, str] = {}
            for job in jobs if not options.gather else ():
                if is_finished(job):
                    print(f"{job.name}: finished before", flush=True)
                elif why := run_job(job, plan):
                    failed[job.name] = why
            done = [job for job in jobs if is_finished(job)]
            if not done:
                raise DataError(f"no run of {options.table} in {options.output} is finished")
            results = Results(table, done)
    except (RunError, ConfigError) as error:
        raise DataError(str(error)) from None
    options.pages.mkdir(parents=True, exist_ok=True)
    where = options.pages / f"{options.table}.md"
    text = page(options.table, results, jobs, plan, failed, options.data, command(options, plan))
    write_whole(where, text)
    save_png(picture(results), where.with_suffix(".png"))
    print(where)
    if failed:
        print(f"error: {len(failed)} of {len(jobs)} runs failed: {', '.join(failed)}", file=sys.stderr)
        raise SystemExit(1)


def command(options: argparse.Namespace, plan: Plan) -> str:
    """What makes this table, wherever its runs and its page go."""
    typed = [options.table, "--seeds", str(options.seeds)]
    typed += [] if plan.budget is None else ["--budget", f"{plan.budget:g}"]
    typed += [] if options.data is None else ["--data", str(options.data.resolve())]
    typed += [word for one in options.set for word in ("--set", one)]
    return as_typed(typed, options.data, "benchmarks/tables.py")


def words() -> Parser:
    shown = "\n".join(f"  {name:<18} {table.question}" for name, table in TABLES.items())
    made = Parser("benchmarks/tables.py", __doc__, EXAMPLES.format(tables=shown))
    made.add_argument("table", metavar="TABLE", choices=TABLES, help="which; they stand below")
    made.add_argument("--seeds", metavar="N", type=whole, default=SEEDS, help=f"runs of each row ({SEEDS})")
    text = "train every row for so long, by what an iteration takes here (default: the configs' iterations)"
    made.add_argument("--budget", metavar="MINUTES", type=minutes, help=text)
    made.add_argument("--data", metavar="FOLDER", type=Path, help="the data set, in place of the configs'")
    text = "of every run's config, such as threads=1; may be given again"
    made.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help=text)
    place = ROOT / "runs/tables"
    made.add_argument("--output", metavar="DIR", type=Path, default=place, help="the runs (runs/tables)")
    place = ROOT / "benchmarks/tables"
    text = "where the page and the figure go (benchmarks/tables)"
    made.add_argument("--pages", metavar="DIR", type=Path, default=place, help=text)
    made.add_argument(
        "--gather", action="store_true", help="run nothing; only write the page of what is finished"
    )
    return made


def minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes above 0")
    return value


if __name__ == "__main__":
    sys.exit(run_main(main))
