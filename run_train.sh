#!/usr/bin/env bash
# Makes .venv from requirements.txt where it is missing or out of date, then runs main.py:
#   ./run_train.sh configs/iiae_digits.json [key=value ...]
#   ./run_train.sh --setup        only makes .venv
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

find_python() {
  local candidate
  for candidate in python3.11 python3.12 python3.13 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "error: Python 3.11 or newer is needed and none was found; install it and run this again" >&2
  exit 2
}

# .venv/requirements.sum is written last, so an interrupted set-up is done again.
set_up() {
  local sum python
  sum="$(cksum < "$here/requirements.txt")"
  if [ "$(cat "$here/.venv/requirements.sum" 2>/dev/null)" = "$sum" ]; then return; fi
  python="$(find_python)"
  echo "Setting up .venv from requirements.txt (once) ..." >&2
  if ! "$here/.venv/bin/python" -c '' 2>/dev/null; then "$python" -m venv --clear "$here/.venv"; fi
  "$here/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2 || {
    echo "error: the packages of requirements.txt could not be installed; see the lines above" >&2
    exit 2
  }
  echo "$sum" > "$here/.venv/requirements.sum"
}

if command -v flock >/dev/null; then
  exec 9> "$here/.venv.lock"
  flock 9
  set_up
  exec 9>&-
else
  set_up
fi
if [ "${1:-}" = "--setup" ]; then exit 0; fi
exec "$here/.venv/bin/python" "$here/main.py" "$@"
