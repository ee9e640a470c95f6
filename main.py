"""python main.py CONFIG.json [key=value ...]: train or test the experiment that the JSON names; or a command
that looks before a run or uses a finished one."""

import os
import signal
import sys


def stop_at_once(number: int, _frame: object) -> None:
    """Answer a signal while there is nothing to tidy up: imports, the config, the end."""
    if os.environ.get("RANK", "0") == "0":  # the first of several processes
        print(f"error: stopped by {signal.Signals(number).name}", file=sys.stderr, flush=True)
    os._exit(128 + number)


if __name__ == "__main__":
    for stopping in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stopping, stop_at_once)

from configs.keys import DATASETS, MODELS, Config  # noqa: E402
from configs.load import ConfigError, load_config  # noqa: E402
from solvers.commands import COMMANDS, run_command  # noqa: E402
from solvers.commands.ending import fail, finish  # noqa: E402

WORDS = "\n".join(f"  {name:<13} {about}" for name, about in COMMANDS.items())
USAGE = f"""usage: python main.py CONFIG.json [key=value ...]
       python main.py COMMAND ...

Trains ("train": 1) or tests ("train": 0) one image-to-image translation experiment.

  CONFIG.json   an experiment, such as configs/iiae_digits.json; configs/schema.json lists every key
  key=value     overrides a key: train=0  training.batch_size=32  run_dir=runs/mine

{WORDS}

  models        {", ".join(MODELS)}
  data sets     {", ".join(DATASETS)}

A run that was stopped goes on with: training.resume_iters=latest
Everything a run makes is in its folder under runs/; open index.html there.
"""


def main(arguments: list[str]) -> int:
    """Exit status: 0 done, 1 the run failed, 2 the input is wrong, 130 or 143 a signal stopped it."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0 if arguments else 2
    if arguments[0] in COMMANDS:
        return run_command(arguments[0], arguments[1:])
    try:
        config = load_config(arguments[0], arguments[1:])
    except ConfigError as error:
        return fail(error, 2)

    return finish(lambda: run(config))


def run(config: Config) -> int:
    from solvers import make_solver

    solver = make_solver(config)
    if config.train:
        solver.train()
    else:
        solver.test()
    return solver.stop.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
