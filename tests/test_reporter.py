"""What a person reads, and what happens where nobody does."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import command, write_config

from solvers.run.reporter import printable


def test_characters_that_a_terminal_lacks_are_written_as_numbers():
    assert printable("a\u00e9 \ud800", "ascii") == "a\\xe9 \\ud800"
    assert printable("a\u00e9", "utf-8") == printable("a\u00e9", None) == "a\u00e9"


@pytest.mark.parametrize("reader", ["gone", "full"])
def test_a_run_goes_on_where_its_lines_cannot_be_written(experiment, tmp_path, reader):
    run = tmp_path / "run"
    path = write_config({**experiment, "run_dir": str(run)}, tmp_path / "c.json")
    if reader == "full" and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    read, write = os.pipe()
    os.close(read)
    output = write if reader == "gone" else os.open("/dev/full", os.O_WRONLY)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command(path), stdout=output, stderr=subprocess.PIPE, env=environment, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (run / "models/000010-checkpoint.pt").exists() and (run / "index.html").exists()
