#!/usr/bin/env bash
# Makes .venv as run_train.sh does, then runs the tests on all cores: ./run_tests.sh [pytest arguments]
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
"$here/run_train.sh" --setup
cd "$here"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # as many tests at a time as cores: more threads would wait for each other
exec .venv/bin/python -m pytest --numprocesses auto --dist worksteal "$@"
