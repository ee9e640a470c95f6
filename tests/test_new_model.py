"""A model is three files: the toy in tests/toy_model, put into a copy of the project, is trained, resumed and
tested there, and nothing else was touched."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, same_tensors, write_config
from test_project import tracked

from solvers.run.checkpoint import load_checkpoint

TOY = ROOT / "tests/toy_model"
PLACES = {"keys.py": "configs/keys/toy.py", "model.py": "models/toy.py", "solver.py": "solvers/toy.py"}
ROOMS = ("configs", "models", "solvers", "dataloader", "main.py")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project that has the three files."""
    folder = tmp_path_factory.mktemp("project")
    for path in (path.relative_to(ROOT) for path in tracked()):
        if path.parts[0] in ROOMS:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / path)
    for name, place in PLACES.items():
        assert not (folder / place).exists()
        shutil.copyfile(TOY / name, folder / place)
    return folder


def python(project: Path, *words: object) -> str:
    """What Python says when it is run in the copy, which knows nothing of this checkout."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=project,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_trains_resumes_bit_for_bit_and_tests(project, digits_folder):
    experiment = {
        "id": "toy",
        "model": "Toy",
        "dataset": "Digits-CDCB",
        "path_to_data": str(digits_folder),
        "resolution": 32,
        "device": "cpu",
        "threads": 1,
        "training": {"max_iters": 8, "print_freq": 4, "sample_freq": 8, "model_save_freq": 4},
        "test": {"after_training": False, "batch_size": 128, "extractors": [], "classifier_iterations": 2},
        "network": {"style_dim": 3},
    }
    write_config(experiment, project / "toy.json")
    python(project, "main.py", "toy.json", "run_dir=straight")
    resuming = ("training.resume_iters=4", "training.restored_model_path=straight")
    python(project, "main.py", "toy.json", "run_dir=again", *resuming)
    ends = [load_checkpoint(project / name / "models/000008-checkpoint.pt") for name in ("straight", "again")]
    start = load_checkpoint(project / "straight/models/000004-checkpoint.pt")
    for part in ("iters", "networks", "optimizers", "scaler"):
        assert same_tensors(ends[0][part], ends[1][part]), part
    assert not same_tensors(start["networks"], ends[0]["networks"])

    python(project, "main.py", "toy.json", "train=0", "test.test_path=again")
    metrics = json.loads((project / "again/results/metrics.json").read_text())
    assert metrics["iteration"] == 8
    retrieval = {name: value for name, value in metrics.items() if name.startswith("retrieval/shared")}
    assert retrieval and all(0 <= value <= 1 for value in retrieval.values())
    assert list((project / "again/results").glob("*_random_styles.png"))
    assert (project / "again/index.html").exists()


def test_help_lists_it_and_loads_no_torch(project):
    code = "import sys, main; main.main(['--help']); print('torch' in sys.modules)"
    *lines, loaded = python(project, "-c", code).splitlines()
    (models,) = (line for line in lines if line.split()[:1] == ["models"])
    assert "Toy" in models.replace(",", "").split() and loaded == "False"


def test_the_tables_of_keys_have_its_keys_once_they_are_made_anew(project):
    python(project, "-m", "configs.generate")
    rows = [line for line in (project / "configs/README.md").read_text().splitlines() if "| Toy |" in line]
    assert [row.split("`")[1] for row in rows] == ["style_weight", "width", "style_dim"]
