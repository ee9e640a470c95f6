#!/usr/bin/env bash
# Makes .venv from requirements.txt where it is missing or out of date, then runs main.py:
#   ./run_train.sh configs/iiae_digits.json [key=value ...]
#   ./run_train.sh check | translate | compare | export ...          main.py's commands; see COMMAND --help
#   ./run_train.sh DATASET [MAX_IT] [options] [key=value ...]        GMVAE-DRIT on data/DATASET; see --help
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

usage() {
  cat << END
usage: ./run_train.sh CONFIG.json [key=value ...]
       ./run_train.sh DATASET [MAX_IT] [options] [key=value ...]

The second trains GMVAE-DRIT on the folders trainA, trainB, ... of data/DATASET, by the settings of
configs/gmvae_drit_DATASET.json, or of gmvae_drit_apple2orange.json where there is none: images of 128 x 128 cropped
to 108 x 108, as its authors'. What differs from their code is in the run's config.json. In any order:

  MAX_IT                                iterations
  --use_cpu                             on the CPU, whatever else there is
  --use_adain                           AdaIN in the generator
  --double_layer                        two convolutions in each upsampling of the generator
  --two_time_scale_update_rule RULE     none, double_gen_enc or half_discr (or --two_time_scale_rule; or RULE alone)

example: ./run_train.sh apple2orange 4500 --use_adain
END
}

wrong_usage() {
  echo "error: $1 (see ./run_train.sh --help)" >&2
  exit 2
}

# DATASET [MAX_IT] [options] in the words that main.py takes, in the array `words`.
gmvae_drit() {
  local dataset="" config rule
  local -a keys=()
  while [ $# -gt 0 ]; do
    rule=""
    case "$1" in
      --use_cpu) keys+=(use_cpu=1) ;;
      --use_adain) keys+=(network.use_adain=1) ;;
      --double_layer) keys+=(network.double_layer_ReLUINSConvTranspose=1) ;;
      --two_time_scale_update_rule | --two_time_scale_rule)
        [ $# -gt 1 ] || wrong_usage "$1 needs a rule: none, double_gen_enc or half_discr"
        shift
        rule="$1"
        ;;
      --two_time_scale_update_rule=* | --two_time_scale_rule=*) rule="${1#*=}" ;;
      none | double_gen_enc | half_discr) rule="$1" ;;
      -*) wrong_usage "$1 is no option" ;;
      *=*) keys+=("$1") ;;
      *[!0-9]*)
        [ -z "$dataset" ] || wrong_usage "one data set at a time, not $dataset and $1"
        case "$1" in */* | .*) wrong_usage "$1 is no config and no name of a data set" ;; esac
        dataset="$1"
        ;;
      *) keys+=("training.max_iters=$1") ;;
    esac
    case "$rule" in
      "") ;;
      none | double_gen_enc | half_discr) keys+=("training.two_time_scale_update_rule=$rule") ;;
      *) wrong_usage "the rule is none, double_gen_enc or half_discr, not $rule" ;;
    esac
    shift
  done
  [ -n "$dataset" ] || wrong_usage "DATASET is missing"
  config="$here/configs/gmvae_drit_$dataset.json"
  if [ -f "$config" ]; then
    words=("$config")
  else
    config="$here/configs/gmvae_drit_apple2orange.json"
    words=("$config" "id=GMVAE_DRIT_$dataset" "path_to_data=data/$dataset")
  fi
  words+=(${keys[@]+"${keys[@]}"}) # an older bash takes an empty array for an unset one
}

words=("$@")
case "${1:-}" in
  "" | --setup | *.json | check | translate | compare | export) ;;
  -h | --help)
    usage
    exit 0
    ;;
  *) if [ ! -f "$1" ]; then gmvae_drit "$@"; fi ;;
esac

if command -v flock >/dev/null; then
  exec 9> "$here/.venv.lock"
  flock 9
  set_up
  exec 9>&-
else
  set_up
fi
if [ "${1:-}" = "--setup" ]; then exit 0; fi
exec "$here/.venv/bin/python" "$here/main.py" ${words[@]+"${words[@]}"}
