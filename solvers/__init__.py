"""Solvers by the name of the model that a config picks, and the errors that are a person's to mend."""

from configs.schema import Config
from dataloader import DataError
from solvers.checkpoint import CheckpointError
from solvers.drit import DRITSolver
from solvers.gmvae_drit import GMVAEDRITSolver
from solvers.iiae import IIAESolver
from solvers.mdmm import MDMMSolver
from solvers.run_folder import RunError
from solvers.solver import NonFiniteLoss, Solver

SOLVERS: dict[str, type[Solver]] = {
    "IIAE": IIAESolver,
    "DRIT": DRITSolver,
    "MDMM": MDMMSolver,
    "GMVAE-DRIT": GMVAEDRITSolver,
}

USER_ERRORS = (DataError, CheckpointError, RunError)


def make_solver(config: Config) -> Solver:
    """The solver of the config's model, with data opened and networks built. Raises one of USER_ERRORS."""
    return SOLVERS[config.model](config)


__all__ = ["SOLVERS", "USER_ERRORS", "NonFiniteLoss", "Solver", "make_solver"]
