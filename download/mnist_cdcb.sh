#!/usr/bin/env bash
# Makes data/MNIST-CDCB: fetches MNIST, or the original archive, and preprocesses it. See --help.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ARCHIVE_NAME=MNIST-CDCB-256Ims.tar.gz
ARCHIVE_URL=http://www.cvc.uab.es/lamp/wp-content/shared_files/cross-domain-disen/$ARCHIVE_NAME
CONFIG=configs/iiae_mnist_32.json

usage() {
  cat << 'END'
usage: bash download/mnist_cdcb.sh [--original] [--from PATH_OR_URL] [--to DIR] [-- PREPROCESSING OPTION ...]

Makes MNIST-CDCB: fetches MNIST (12 MB) from a public mirror, checks it, and colours its digits.

  --original           the authors' own archive of pictures instead; large, see --resolution below
  --from PATH_OR_URL   a folder with MNIST's four files, gzipped or not, or another mirror's address; with
                       --original the archive, or a folder with it or with what is in it, train/ and test/, or
                       with what IIAE-Pytorch makes of that, trainX/, trainY/, testX/ and testY/. It is only read
  --to DIR             where the data set goes (data/MNIST-CDCB); what is fetched goes to downloads/ beside it
  --                   what follows goes to dataloader/preprocess_mnist.py, such as --resolution 128 or --skip-bad
                       for --original

A second run does nothing; one that was interrupted goes on. What is in downloads/ is no longer needed then.

examples:
  bash download/mnist_cdcb.sh --from ~/mnist --to /big/disk/MNIST-CDCB
  bash download/mnist_cdcb.sh --original --from ~/MNIST-CDCB-256Ims.tar.gz -- --resolution 128
END
}

own_option() {
  [ "$1" = --original ] || return 1
  ORIGINAL=yes ARCHIVE_TOO=yes
}

# pictures_in FOLDER: whether it has both splits, or a folder in it has, in either layout.
pictures_in() {
  local folder
  for folder in "$1" "$1"/*; do
    if [ -d "$folder/train" ] && [ -d "$folder/test" ]; then return; fi
    if [ -d "$folder/trainX" ] && [ -d "$folder/testX" ]; then return; fi
  done
  return 1
}

main() {
  ORIGINAL=""
  read_arguments "$@"
  local to="${TO:-$ROOT/data/MNIST-CDCB}" kind="MNIST IDX files"
  if [ -n "$ORIGINAL" ]; then kind="MNIST-CDCB pictures"; fi
  if [ ${#REST[@]} -eq 0 ] && [ ! -e "$FROM" ] && made "$to" "\"source\": \"$kind\""; then
    finish MNIST-CDCB "$to" "is there already" "$CONFIG"
    return
  fi
  need_modules numpy PIL torch tqdm
  if [ -z "$ORIGINAL" ]; then
    from_mnist preprocess_mnist "$to" 150
  elif [ -d "$FROM" ] && [ ! -f "$FROM/$ARCHIVE_NAME" ]; then
    pictures_in "$FROM" || die "$FROM has neither $ARCHIVE_NAME nor train/ and test/ nor trainX/ to testY/"
    preprocess preprocess_mnist "$FROM" "$to"
  else
    open_archive "$(dirname "$to")/downloads" "$ARCHIVE_NAME" - 3000 "$ARCHIVE_URL"
    preprocess preprocess_mnist "$PICTURES" "$to"
    close_archive
  fi
  finish MNIST-CDCB "$to" "is ready" "$CONFIG"
}

main "$@"
