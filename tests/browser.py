"""A headless browser, for what pages do: its tests are skipped where none is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

FOUND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

in_a_browser = pytest.mark.skipif(FOUND is None, reason="no Chromium is installed")


def opened(page: Path, profile: Path, width: int = 1280) -> str:
    """What the page's scripts have made of it when all has loaded, as HTML."""
    assert FOUND is not None
    command = [FOUND, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]
    command += [f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
