"""The solver that a config's class names, and the errors that are a person's to mend. PyTorch is loaded when
one of these is first asked for, so that --help does without."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from configs.keys import Config
    from solvers.run.shortage import Shortage
    from solvers.run.watch import NonFiniteLoss
    from solvers.solver import Solver

    USER_ERRORS: tuple[type[Exception], ...]
    RUN_ERRORS: tuple[type[Exception], ...]


def __getattr__(name: str) -> Any:
    if name == "Solver":
        from solvers.solver import Solver as found
    elif name == "NonFiniteLoss":
        from solvers.run.watch import NonFiniteLoss as found
    elif name == "Shortage":
        from solvers.run.shortage import Shortage as found
    elif name == "RUN_ERRORS":  # of a run whose input was right
        from solvers.run.shortage import Shortage
        from solvers.run.watch import NonFiniteLoss

        found = (NonFiniteLoss, Shortage)
    elif name == "USER_ERRORS":
        from dataloader import DataError
        from solvers.run.checkpoint import CheckpointError
        from solvers.run.folder import RunError

        found = (DataError, CheckpointError, RunError)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def solver_class(config: "type[Config]") -> "type[Solver]":
    """The class that a model's config class names as "module:class"."""
    module, _, name = config.solver.partition(":")
    return getattr(import_module(module), name)


def make_solver(config: "Config") -> "Solver":
    """The solver of the config's model, with data opened and networks built. Raises one of USER_ERRORS, or
    Shortage."""
    from solvers.run.shortage import told

    with told(lambda: "at the start"):
        return solver_class(type(config))(config)


__all__ = ["RUN_ERRORS", "USER_ERRORS", "NonFiniteLoss", "Shortage", "Solver", "make_solver", "solver_class"]
