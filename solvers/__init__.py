"""The solver that a config's class names, and the errors that are a person's to mend."""

from importlib import import_module

from configs.keys import Config
from dataloader import DataError
from solvers.run.checkpoint import CheckpointError
from solvers.run.folder import RunError
from solvers.run.shortage import Shortage, told
from solvers.run.watch import NonFiniteLoss
from solvers.solver import Solver

USER_ERRORS = (DataError, CheckpointError, RunError)
RUN_ERRORS = (NonFiniteLoss, Shortage)  # of a run whose input was right


def solver_class(config: type[Config]) -> type[Solver]:
    """The class that a model's config class names as "module:class"."""
    module, _, name = config.solver.partition(":")
    return getattr(import_module(module), name)


def make_solver(config: Config) -> Solver:
    """The solver of the config's model, with data opened and networks built. Raises one of USER_ERRORS, or
    Shortage."""
    with told(lambda: "at the start"):
        return solver_class(type(config))(config)


__all__ = ["RUN_ERRORS", "USER_ERRORS", "NonFiniteLoss", "Shortage", "Solver", "make_solver", "solver_class"]
