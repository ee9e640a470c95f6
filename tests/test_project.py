"""The project's own promises: lint, sizes, and what its files may not hold."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from configs.keys import MODELS
from solvers import solver_class


def tracked() -> list:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def ruff(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "ruff", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_ruff_has_nothing_to_say():
    for done in (ruff("check", "."), ruff("format", "--check", ".")):
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_python_file_is_over_400_lines_and_main_is_under_80():
    lengths = {path: len(path.read_text().splitlines()) for path in tracked() if path.suffix == ".py"}
    assert not {path.name: n for path, n in lengths.items() if n > 400}
    assert lengths.get(ROOT / "main.py", 0) < 80


def test_no_tracked_file_is_over_a_megabyte():
    assert not [path for path in tracked() if path.stat().st_size > 1_000_000]


ROOMS = ("main", "solvers", "models", "dataloader", "configs")
OF_MODELS = {kind.solver.partition(":")[0]: kind for kind in MODELS.values()}  # solvers/NAME.py
LEAVES = ("solvers.losses", "solvers.schedules")
STOREYS = ("commands", "models' solvers", "solver", "evaluation", "visualization", "run")  # of solvers/


def module_of(path: Path) -> str:
    """What the file at a path below the root is called in an import."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imported(text: str, module: str, package: bool = False) -> set[str]:
    """The project's modules that a module's text imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + package] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            found |= {f"{base}.{alias.name}" if is_module(base, alias.name) else base for alias in node.names}
    return {name for name in found if name.split(".")[0] in ROOMS}


def is_module(base: str, name: str) -> bool:
    place = ROOT.joinpath(*base.split("."), name)
    return place.is_dir() or place.with_suffix(".py").is_file()


def storey(module: str) -> int:
    """Where in solvers/ a module stands; imports go to greater numbers."""
    if module in OF_MODELS or module == "solvers.mixture":
        return STOREYS.index("models' solvers")
    name = [*module.split("."), ""][1]
    return STOREYS.index(name) if name in STOREYS else STOREYS.index("commands")


def may_import(here: str, there: str) -> bool:
    """Whether the arrow from one of the project's modules to another runs down."""
    room, other = here.split(".")[0], there.split(".")[0]
    if room != "solvers" or other != "solvers":
        down = {"main": ROOMS[1:], "solvers": ROOMS[2:]}
        return other in down.get(room, (room,)) and not (here in LEAVES and other == "dataloader")
    if here in LEAVES or there in LEAVES:
        return here not in LEAVES
    if there in OF_MODELS and here in OF_MODELS:
        return issubclass(solver_class(OF_MODELS[here]), solver_class(OF_MODELS[there]))
    if there in OF_MODELS and here == "solvers.mixture":
        return False
    return storey(here) <= storey(there)


def test_arrows_of_import_run_down():
    wrong = []
    for path in tracked():
        path = path.relative_to(ROOT)
        if path.suffix == ".py" and path.with_suffix("").parts[0] in ROOMS:
            here, text = module_of(path), (ROOT / path).read_text()
            there = imported(text, here, package=path.stem == "__init__")
            wrong += [f"{here} imports {name}" for name in sorted(there) if not may_import(here, name)]
    assert not wrong


@pytest.mark.parametrize(
    ("here", "text"),
    [
        ("models.iiae", "from dataloader.dataset import Batch"),
        ("models.iiae", "import solvers.losses"),
        ("dataloader.cdcb", "def f():\n    from models import blocks"),
        ("configs.load", "from solvers import Solver"),
        ("configs.load", "import main"),
        ("solvers.solver", "from main import main"),
        ("solvers.iiae", "from solvers.drit import Made"),
        ("solvers.drit", "from .mdmm import MDMMSolver"),
        ("solvers.mixture", "from solvers.gmvae_drit import GMVAEDRITSolver"),
        ("solvers.solver", "if True:\n    from solvers import iiae"),
        ("solvers.evaluation.paired", "from solvers.solver import Solver"),
        ("solvers.visualization.grids", "from ..evaluation import paired"),
        ("solvers.run.folder", "from solvers.visualization import page"),
        ("solvers.run.folder", "from solvers import Solver"),
        ("solvers.losses", "from solvers.schedules import learning_rate"),
        ("solvers.schedules", "from dataloader import open_dataset"),
    ],
)
def test_an_arrow_up_or_sideways_is_seen(here, text):
    (there,) = imported(text, here)
    assert not may_import(here, there)


@pytest.mark.parametrize(
    ("here", "text"),
    [
        ("main", "def f():\n    from solvers.run import distributed"),
        ("solvers", "from solvers.solver import Solver"),
        ("solvers.gmvae_drit", "from solvers.drit import Made"),
        ("solvers.gmvae_drit", "from solvers.mixture import place_components"),
        ("solvers.iiae", "from solvers.losses import kl_between"),
        ("solvers.evaluation.diversity", "from solvers.visualization.grids import draw_grid"),
        ("solvers.run.reporter", "from .folder import RunFolder"),
        ("models.mdmm", "from models import drit"),
        ("solvers.losses", "from models.blocks import Gaussian"),
    ],
)
def test_an_arrow_down_is_let_pass(here, text):
    (there,) = imported(text, here)
    assert may_import(here, there)


def test_each_model_is_three_files_of_one_name():
    names = {kind.__module__.rpartition(".")[2] for kind in MODELS.values()}
    assert {module.removeprefix("solvers.") for module in OF_MODELS} == names
    assert all((ROOT / room / f"{name}.py").is_file() for room in ("models", "solvers") for name in names)


def test_solvers_has_at_most_ten_entries_beside_one_file_per_model():
    entries = {path.relative_to(ROOT).parts[1] for path in tracked() if path.is_relative_to(ROOT / "solvers")}
    of_models = {f"{module.removeprefix('solvers.')}.py" for module in OF_MODELS}
    assert of_models <= entries and len(entries - of_models) <= 10
