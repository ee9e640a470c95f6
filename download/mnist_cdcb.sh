#!/usr/bin/env bash
# Makes data/MNIST-CDCB: fetches MNIST, or the original archive, and preprocesses it. See --help.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ARCHIVE_NAME=MNIST-CDCB-256Ims.tar.gz
ARCHIVE_URL=http://www.cvc.uab.es/lamp/wp-content/shared_files/cross-domain-disen/$ARCHIVE_NAME
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

own_option() {
  [ "$1" = --original ] || return 1
  ORIGINAL=yes
}

main() {
  ORIGINAL=""
  read_arguments "$@"
  local to="${TO:-$ROOT/data/MNIST-CDCB}" kind="MNIST IDX files"
  if [ -n "$ORIGINAL" ]; then kind="MNIST-CDCB pictures"; fi
  if [ ${#REST[@]} -eq 0 ] && [ ! -d "$FROM" ] && made "$to" "\"source\": \"$kind\""; then
    finish MNIST-CDCB "$to" "is there already" "$CONFIG"
    return
  fi
  need_modules numpy PIL torch tqdm
  if [ -z "$ORIGINAL" ]; then
    from_mnist preprocess_mnist "$to" 150
  elif [ -d "$FROM/train" ] && [ -d "$FROM/test" ]; then
    preprocess preprocess_mnist "$FROM" "$to"
  else
    [ ! -d "$FROM" ] || [ -f "$FROM/$ARCHIVE_NAME" ] || die "$FROM has neither train/ and test/ nor $ARCHIVE_NAME"
    open_archive "$(dirname "$to")/downloads" "$ARCHIVE_NAME" - 3000 "$ARCHIVE_URL"
    preprocess preprocess_mnist "$PICTURES" "$to"
    close_archive
  fi
  finish MNIST-CDCB "$to" "is ready" "$CONFIG"
}

main "$@"
