#!/usr/bin/env bash
# Makes data/MNIST-M: fetches MNIST and lays its digits over patches of photographs. See --help.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

MIRRORS=(https://storage.googleapis.com/cvdf-datasets/mnist https://ossci-datasets.s3.amazonaws.com/mnist)
NAMES=(train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte)
SUMS=( # of the published .gz, and of what is in it
  f68b3c2dcbeaaa9fbdd348bbdeb94873:6bbc9ace898e44ae57da46a324031adb
  d53e105ee54ea40749a09fcbcd1e9432:a25bea736e30d166cdddb491f175f624
  9fb629c4189551a2d022fa330f9573f3:2646ac647ad5339dbf082846283269ea
  ec29112dd5afa0611ce80d1b7f02629c:27ae3e4e09519cfbb04c329615203637
)
CONFIG=configs/drit_mnist_m.json

usage() {
  cat << 'END'
usage: bash download/mnist_m.sh [--photos DIR] [--from DIR_OR_URL] [--to DIR] [-- PREPROCESSING OPTION ...]

Makes MNIST-M: fetches MNIST (12 MB) from a public mirror, checks it, and blends its digits with patches of
photographs.

  --photos DIR         photographs in train/ and test/, as in BSDS500 (BSR_bsds500.tgz, unpacked); without it,
                       the two photographs that scikit-learn carries
  --from DIR_OR_URL    a folder with MNIST's four files, gzipped or not, or another mirror's address; a folder
                       is only read
  --to DIR             where the data set goes (data/MNIST-M); what is fetched goes to downloads/ beside it
  --                   what follows goes to dataloader/preprocess_mnist_m.py, such as --skip-bad

A second run does nothing; one that was interrupted goes on. What is in downloads/ is no longer needed then.

example:
  bash download/mnist_m.sh --photos ~/BSR/BSDS500/data/images
END
}

main() {
  local from="" to="$ROOT/data/MNIST-M" photos="" kind="MNIST IDX files and sklearn.datasets.load_sample_images"
  while [ $# -gt 0 ]; do
    case "$1" in
      -h | --help)
        usage
        exit 0
        ;;
      --photos | --from | --to)
        [ -n "${2:-}" ] || wrong_usage "$1 needs a value"
        case "$1" in
          --photos) photos="$(absolute "${2%/}")" ;;
          --from) from="$2" ;;
          --to) to="$(absolute "${2%/}")" ;;
        esac
        shift
        ;;
      --)
        shift
        break
        ;;
      *) wrong_usage "unknown argument $1" ;;
    esac
    shift
  done
  if [ -n "$photos" ]; then
    [ -d "$photos" ] || die "--photos: there is no folder at $photos"
    kind="MNIST IDX files and photographs"
  fi
  if [ -n "$from" ] && ! is_url "$from"; then
    [ -d "$from" ] || die "--from: there is no folder at $from"
    from="$(absolute "${from%/}")"
  fi
  if [ $# -eq 0 ] && [ ! -d "$from" ] && [ -z "$photos" ] && made_from "$to" "$kind"; then
    finish "$to" "is there already"
    return
  fi
  need_modules numpy PIL sklearn torch tqdm
  [ -z "$photos" ] || set -- --photos "$photos" "$@"
  from_mnist "$(dirname "$to")/downloads/mnist" "$from" "$to" "$@"
  finish "$to" "is ready"
}

# made_from FOLDER KIND: whether FOLDER is such a set; a set of another kind stops the script.
made_from() {
  [ -f "$1/train/meta.json" ] && [ -f "$1/test/meta.json" ] || return 1
  grep -q "\"source\": \"$2\"" "$1/train/meta.json" || die "$1 is made from something else; remove it or name another folder with --to"
}

# from_mnist STORE FROM TO OPTION...
from_mnist() {
  local store="$1" from="$2" to="$3" i bases=("${MIRRORS[@]}")
  shift 3
  need_space "$(dirname "$to")" 500
  if [ -d "$from" ]; then
    for i in "${!NAMES[@]}"; do check_local "$from" "${NAMES[i]}" "${SUMS[i]}"; done
    preprocess "$from" "$to" "$@"
    return
  fi
  if [ -n "$from" ]; then bases=("$from"); fi
  need_space "$store" 50
  only_one "$store"
  for i in "${!NAMES[@]}"; do fetch_from "$store" "${NAMES[i]}.gz" "${SUMS[i]}" "${bases[@]}"; done
  preprocess "$store" "$to" "$@"
}

# check_local FOLDER NAME SUM: the file that preprocessing would read must be MNIST's.
check_local() {
  local file
  for file in "$1/$2" "$1/$2.gz" "$1/${2/-idx/.idx}" "$1/${2/-idx/.idx}.gz"; do
    [ -f "$file" ] || continue
    sum_is "$file" "$3" && return
    die "$file is not MNIST's (wrong checksum); digits of your own: python dataloader/preprocess_mnist_m.py $1"
  done
  die "$1 has no $2.gz"
}

# preprocess SOURCE TARGET OPTION...
preprocess() {
  "$PYTHON" "$ROOT/dataloader/preprocess_mnist_m.py" "$@" || exit $?
}

# finish FOLDER WHAT
finish() {
  echo "MNIST-M $2: $1"
  say_train "$CONFIG" " dataset=MNIST-M path_to_data=$1"
}

main "$@"
