#!/usr/bin/env bash
# Makes data/MNIST-M: fetches MNIST and lays its digits over patches of photographs. See --help.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

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

own_option() {
  [ "$1" = --photos ] || return 1
  value_of "$@"
  PHOTOS="$(folder_of --photos "$VALUE")" || exit $?
}

main() {
  PHOTOS=""
  read_arguments "$@"
  local to="${TO:-$ROOT/data/MNIST-M}" kind="MNIST IDX files and sklearn.datasets.load_sample_images"
  local words=(dataset=MNIST-M "path_to_data=$to")
  if [ ${#REST[@]} -eq 0 ] && [ ! -d "$FROM" ] && [ -z "$PHOTOS" ] && made "$to" "\"source\": \"$kind\""; then
    finish MNIST-M "$to" "is there already" "$CONFIG" "${words[@]}"
    return
  fi
  need_modules numpy PIL sklearn torch tqdm
  from_mnist preprocess_mnist_m "$to" 500 ${PHOTOS:+--photos "$PHOTOS"}
  finish MNIST-M "$to" "is ready" "$CONFIG" "${words[@]}"
}

main "$@"
