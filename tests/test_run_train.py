"""run_train.sh: what it hands to main.py, with a stand-in for the environment's Python."""

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

from configs.load import load_config

STAND_IN = """#!/bin/bash
if [ "$1" = -c ]; then exit 0; fi
for word in "${@:2}"; do printf '%s\\n' "$word"; done
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of run_train.sh and of the configs, with a .venv that is up to date."""
    for name in ("run_train.sh", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(STAND_IN)
    python.chmod(0o755)
    with (tmp_path / "requirements.txt").open() as file:
        checksum = subprocess.run(["cksum"], stdin=file, capture_output=True, text=True, check=True).stdout
    (tmp_path / ".venv/requirements.sum").write_text(checksum)
    return tmp_path


def run(project: Path, *words: str) -> subprocess.CompletedProcess:
    script = project / "run_train.sh"
    return subprocess.run([script, *words], capture_output=True, text=True, timeout=60, cwd=project)


def handed_over(project: Path, *words: str) -> list[str]:
    done = run(project, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def config_of(project: Path, *words: str):
    path, *overrides = handed_over(project, *words)
    return load_config(path, overrides)


def test_a_config_and_its_overrides_go_on_as_they_are(project):
    words = ["configs/iiae_digits.json", "id=a b", "training.max_iters=5"]
    assert handed_over(project, *words) == words
    assert handed_over(project) == []


@pytest.mark.parametrize(
    ("words", "config", "iterations"),
    [
        (["apple2orange", "5000"], "apple2orange", 5000),
        (["apple2orange", "4500", "--use_adain"], "apple2orange_adain", 4500),
        (["apple2orange", "4000", "--double_layer"], "apple2orange_double_layer", 4000),
        (
            ["apple2orange", "5500", "--two_time_scale_update_rule", "half_discr"],
            "apple2orange_half_discr",
            5500,
        ),
        (
            ["--two_time_scale_rule=double_gen_enc", "apple2orange", "5500"],
            "apple2orange_double_gen_enc",
            5500,
        ),
    ],
)
def test_the_five_experiments_are_the_five_configs(project, words, config, iterations):
    ours = config_of(project, *words).model_dump(exclude={"id"})
    assert ours == load_config(ROOT / f"configs/gmvae_drit_{config}.json").model_dump(exclude={"id"})
    assert ours["training"]["max_iters"] == iterations


def test_its_images_are_the_authors_and_what_is_not_theirs_is_said(project):
    config = config_of(project, "apple2orange")
    assert (config.size, config.data.shape) == ((108, 108), (128, "squash", "bicubic"))
    assert [line.partition(":")[0] for line in config.differences()] == [
        'training.bound_scale "pixel"',
        "training.w_gauss, w_categ, w_rec",
    ]
    assert "divided by 34,992" in config.differences()[0]
    theirs = ["training.bound_scale=image", "training.w_categ=0", "training.w_rec=0"]
    assert config_of(project, "apple2orange", *theirs).differences() == []
    larger = config_of(project, "apple2orange", *theirs, "resolution=216", "data.load_size=256")
    assert [line.partition(":")[0] for line in larger.differences()] == ["resolution, data.load_size"]


@pytest.mark.parametrize(
    "words",
    [
        ["mini", "10000", "--use_adain", "--double_layer", "double_gen_enc", "--use_cpu", "seed=3"],
        [
            "--double_layer",
            "seed=3",
            "--two_time_scale_rule",
            "double_gen_enc",
            "10000",
            "--use_adain",
            "mini",
            "--use_cpu",
        ],
    ],
)
def test_any_order_of_words_means_the_same_on_a_data_set_without_a_config(project, words):
    config = config_of(project, *words)
    assert (config.id, config.data_folder, config.device, config.seed) == (
        "GMVAE_DRIT_mini",
        "data/mini",
        "cpu",
        3,
    )
    assert config.network.use_adain and config.network.double_layer_ReLUINSConvTranspose
    assert config.training.max_iters == 10_000
    assert config.training.two_time_scale_update_rule == "double_gen_enc"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["mini", "--adain"], "--adain is no option"),
        (["mini", "--two_time_scale_rule"], "needs a rule"),
        (["mini", "--two_time_scale_rule", "thirds"], "not thirds"),
        (["--use_adain"], "DATASET is missing"),
        (["configs/mini.jsn"], "configs/mini.jsn is no config and no name of a data set"),
        (["mini", "maxi"], "one data set at a time, not mini and maxi"),
    ],
)
def test_wrong_words_are_refused_in_one_line(project, words, reason):
    done = run(project, *words)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and reason in done.stderr and done.stderr.count("\n") == 1


def test_help_says_what_it_takes(project):
    assert "--two_time_scale_update_rule RULE" in run(project, "--help").stdout
