#!/usr/bin/env bash
# Makes data/MNIST-CDCB: fetches MNIST, or the original archive, and preprocesses it. See --help.
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
ORIGINAL_MIRRORS=(http://www.cvc.uab.es/lamp/wp-content/shared_files/cross-domain-disen)
ORIGINAL=MNIST-CDCB-256Ims.tar.gz
CONFIG=configs/iiae_mnist_32.json

usage() {
  cat << 'END'
usage: bash download/mnist_cdcb.sh [--original] [--from DIR_OR_URL] [--to DIR] [-- PREPROCESSING OPTION ...]

Makes MNIST-CDCB: fetches MNIST (12 MB) from a public mirror, checks it, and colours its digits.

  --original           the authors' own archive of pictures instead; large, see --resolution below
  --from DIR_OR_URL    a folder with MNIST's four files, gzipped or not (with --original: with the archive, or
                       with train/ and test/), or another mirror's address; a folder is only read
  --to DIR             where the data set goes (data/MNIST-CDCB); what is fetched goes to downloads/ beside it
  --                   what follows goes to dataloader/preprocess_mnist.py, such as --resolution 128 or --skip-bad
                       for --original

A second run does nothing; one that was interrupted goes on. What is in downloads/ is no longer needed then.

example:
  bash download/mnist_cdcb.sh --from ~/mnist --to /big/disk/MNIST-CDCB
END
}

main() {
  local from="" original="" to="$ROOT/data/MNIST-CDCB" kind="MNIST IDX files"
  while [ $# -gt 0 ]; do
    case "$1" in
      -h | --help)
        usage
        exit 0
        ;;
      --original)
        original=yes
        kind="MNIST-CDCB pictures"
        ;;
      --from | --to)
        [ -n "${2:-}" ] || wrong_usage "$1 needs a value"
        if [ "$1" = --from ]; then from="$2"; else to="$(absolute "${2%/}")"; fi
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
  if [ -n "$from" ] && ! is_url "$from"; then
    [ -d "$from" ] || die "--from: there is no folder at $from"
    from="$(absolute "${from%/}")"
  fi
  if [ $# -eq 0 ] && [ ! -d "$from" ] && made_from "$to" "$kind"; then
    finish "$to" "is there already"
    return
  fi
  need_modules numpy PIL torch tqdm
  local store
  store="$(dirname "$to")/downloads"
  if [ -n "$original" ]; then
    from_original "$store" "$from" "$to" "$@"
  else
    from_mnist "$store" "$from" "$to" "$@"
  fi
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
  need_space "$(dirname "$to")" 150
  if [ -d "$from" ]; then
    for i in "${!NAMES[@]}"; do check_local "$from" "${NAMES[i]}" "${SUMS[i]}"; done
    preprocess "$from" "$to" "$@"
    return
  fi
  if [ -n "$from" ]; then bases=("$from"); fi
  store="$store/mnist"
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
    die "$file is not MNIST's (wrong checksum); digits of your own: python dataloader/preprocess_mnist.py $1"
  done
  die "$1 has no $2.gz"
}

# from_original STORE FROM TO OPTION...
from_original() {
  local store="$1" from="$2" to="$3" archive pictures bases=("${ORIGINAL_MIRRORS[@]}")
  shift 3
  if [ -d "$from/train" ] && [ -d "$from/test" ]; then
    preprocess "$from" "$to" "$@"
    return
  fi
  need_space "$store" 3000
  only_one "$store"
  archive="$store/$ORIGINAL"
  if [ -d "$from" ]; then
    archive="$from/$ORIGINAL"
    [ -f "$archive" ] || die "$from has neither train/ and test/ nor $ORIGINAL"
  else
    if [ -n "$from" ]; then bases=("$from"); fi
    fetch_from "$store" "$ORIGINAL" - "${bases[@]}"
  fi
  pictures="$store/MNIST-CDCB-$(md5_of "$archive")"
  unpack "$archive" "$pictures" "$store"
  preprocess "$pictures" "$to" "$@"
  [ -d "$from" ] || record "$archive"
  rm -rf "$pictures"
}

# preprocess SOURCE TARGET OPTION...
preprocess() {
  "$PYTHON" "$ROOT/dataloader/preprocess_mnist.py" "$@" || exit $?
}

# finish FOLDER WHAT
finish() {
  local where=""
  if [ "$1" != "$ROOT/data/MNIST-CDCB" ]; then where=" path_to_data=$1"; fi
  echo "MNIST-CDCB $2: $1"
  echo "Train on it: ./run_train.sh $CONFIG$where"
}

main "$@"
