"""Files beside a checkpoint, and files of a data set, that are damaged: a run goes on, or says one line."""

import json
import shutil

import numpy as np
import pytest

import main
from dataloader.packed import DataError, read_split
from solvers.run.folder import RunFolder
from solvers.visualization.page import read_results

BAD = [
    b"\xff\xfe",
    b"[1]",
    b"null",
    b'{"iteration": "x"}',
    b'{"a": 1}',
    b'{"iteration": 2, "total": "x"}',
    b"[" * 99_999,
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_damaged_rows_are_passed_over(tmp_path, bad):
    run = RunFolder(tmp_path)
    run.logs.mkdir()
    rows = [{"iteration": n, "total": 0.5} for n in (1, 2, 3)]
    lines = [json.dumps(row).encode() for row in rows]
    run.metrics.write_bytes(b"\n".join((lines[0], bad, *lines[1:])) + b"\n")
    assert run.read_metrics() == rows
    run.forget_after(2)
    assert run.read_metrics() == rows[:2]


@pytest.mark.parametrize("bad", [*BAD, b'{"protocol": 3}', b""], ids=range(len(BAD) + 2))
def test_damaged_results_are_as_none(tmp_path, bad):
    path = tmp_path / "metrics.json"
    assert read_results(path) == ({}, {})
    path.write_bytes(bad)
    assert read_results(path) in (({}, {}), ({"a": 1}, {}))
    path.write_text('{"a": 1.5, "protocol": {"seed": 0}}')
    assert read_results(path) == ({"a": 1.5}, {"seed": 0})


def test_a_run_without_its_side_files_is_tested_and_goes_on(config_file, tmp_path, capsys, monkeypatch):
    run, words = (
        tmp_path / "run",
        [str(config_file), f"run_dir={tmp_path / 'run'}", 'test.metrics=["reconstruction"]'],
    )
    assert main.main([*words, "training.max_iters=5"]) == 0
    for name in ("samples", "logs"):
        shutil.rmtree(run / name)
    (run / "results/metrics.json").write_bytes(b"{")
    (run / "config.json").write_bytes(b"\xff")
    monkeypatch.delenv("HOME")
    assert main.main([*words, "training.resume_iters=latest", "training.max_iters=6"]) == 0
    shutil.rmtree(run / "results")
    (run / "results").write_text("a file where no file can be written to")
    capsys.readouterr()
    assert main.main([*words, "train=0"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "cannot write to" in line and "test.test_path" in line


@pytest.mark.parametrize("name", ["meta.json", "images.npy"])
@pytest.mark.parametrize("bad", [b"", b"\xff", b"[]", b"null", b'{"format": 1, "arrays": 3}'])
def test_damaged_files_of_a_data_set_are_one_line(tmp_path, name, bad):
    np.save(tmp_path / "images.npy", np.zeros((2, 3), np.uint8))
    (tmp_path / "meta.json").write_text('{"format": 1, "arrays": {"images": [2, 3]}}')
    read_split(tmp_path)
    (tmp_path / name).write_bytes(bad)
    with pytest.raises(DataError, match="is damaged") as error:
        read_split(tmp_path)
    assert "\n" not in str(error.value)
