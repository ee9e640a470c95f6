"""The project's own promises: lint, sizes, and what its files may not hold."""

import subprocess
import sys

from conftest import ROOT


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


def test_models_import_nothing_of_the_other_rooms():
    for path in (ROOT / "models").glob("*.py"):
        text = path.read_text()
        assert not any(
            f"{verb} {room}" in text
            for verb in ("import", "from")
            for room in ("solvers", "configs", "dataloader")
        )
