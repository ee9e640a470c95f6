"""Settings of the process."""

import subprocess
import sys

import pytest
from conftest import ROOT

# Pages made anew by the last ten of thirty tensors. For the first ones (up to eight of forty were seen) glibc
# may let its heap grow although it holds enough, depending on where small objects lie.
COUNT = """
import resource, sys, torch
from solvers.run.setup import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for round in range(30):
    if round == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(16_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_used_again_instead_of_being_made_anew():
    kept, given_back = (
        int(
            subprocess.run(
                [sys.executable, "-c", COUNT, word], cwd=ROOT, capture_output=True, text=True
            ).stdout
        )
        for word in ("keep", "give")
    )
    if given_back < 1000:
        pytest.skip("this C library keeps freed memory anyway")
    assert kept < given_back / 10
