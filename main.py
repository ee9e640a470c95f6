"""python main.py CONFIG.json [key=value ...]: train or test the experiment that the JSON names."""

import sys

from configs.keys import DATASETS, MODELS
from configs.load import ConfigError, load_config

USAGE = f"""usage: python main.py CONFIG.json [key=value ...]

Trains ("train": 1) or tests ("train": 0) one image-to-image translation experiment.

  CONFIG.json   an experiment, such as configs/iiae_digits.json; configs/schema.json lists every key
  key=value     overrides a key: train=0  training.batch_size=32  run_dir=runs/mine

  models        {", ".join(MODELS)}
  data sets     {", ".join(DATASETS)}

A run that was stopped goes on with: training.resume_iters=latest
Everything a run makes is in its folder under runs/; open index.html there.
"""


def main(arguments: list[str]) -> int:
    """Exit status: 0 done, 1 the run failed, 2 the input is wrong."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0 if arguments else 2
    try:
        config = load_config(arguments[0], arguments[1:])
    except ConfigError as error:
        return fail(error, 2)

    from solvers import RUN_ERRORS, USER_ERRORS, make_solver  # PyTorch is loaded only now
    from solvers.run import distributed

    try:
        solver = make_solver(config)
        if config.train:
            solver.train()
        else:
            solver.test()
    except USER_ERRORS as error:
        return fail(error, 2)
    except RUN_ERRORS as error:
        return fail(error, 1)
    except KeyboardInterrupt:
        return fail("interrupted", 130)
    finally:
        distributed.stop()
    return 0


def fail(reason: object, status: int) -> int:
    print(f"error: {' '.join(str(reason).split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
