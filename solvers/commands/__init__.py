"""What a finished run is used for, and a look before a run: each command is a module here with `run`, and its
words stand in words.py. PyTorch is loaded when a command runs, not by its --help."""

import sys
from importlib import import_module

from configs.load import ConfigError
from dataloader.packed import DataError
from solvers.commands.ending import fail, finish

COMMANDS = {
    "check": "CONFIG.json: look at data, memory, time and disk before hours of training",
    "translate": "RUN PICTURE ...: translate pictures of your own",
    "compare": "RUN [RUN ...]: numbers, settings, curves and grids of runs on one page",
    "export": "RUN: weights and ONNX files that work without this program",
}


def run_command(name: str, words: list[str]) -> int:
    """Exit status: 0 done, 1 done but for what was named or the machine gave out, 2 the input is wrong;
    what is wrong is said in one line."""
    from solvers.commands.words import parse

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files may hold anything
    try:
        options = parse(name, words)
    except SystemExit as end:  # after --help
        return int(end.code or 0)
    except DataError as error:
        return fail(error, 2)
    return finish(lambda: _run(name, options))


def _run(name: str, options: object) -> int:
    from solvers.run.shortage import told

    try:
        with told(lambda: "nothing is left half-made"):
            return import_module(f"{__name__}.{name}").run(options)
    except ConfigError as error:
        return fail(error, 2)
    except OSError as error:
        return fail(f"{error.filename or 'the disk'}: {error.strerror or error}", 2)
