#!/usr/bin/env bash
# Makes data/Cars from the archive of Reed et al. (Deep Visual Analogy-Making, NIPS 2015), or data/Cars-toy from
# cars of our own. See --help.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

NAME=nips2015-analogy-data.tar.gz
MIRRORS=("http://www.scottreed.info/files/$NAME" "http://www-personal.umich.edu/~reedscot/files/$NAME")
SUM="${CARS_MD5:-4e866a7919c1beedf53964e6f7a23686}" # as the libraries disent and latte have it

usage() {
  cat << 'END'
usage: bash download/cars.sh [--toy] [--from DIR_OR_URL] [--to DIR] [--split paper|reference]
                             [-- PREPROCESSING OPTION ...]

Makes Cars: fetches nips2015-analogy-data.tar.gz (1.5 GB), checks it, unpacks it and packs its cars.

  --toy                cars of our own instead: no download, a minute or two
  --from DIR_OR_URL    a folder with the archive or with car_001_mesh.mat and so on (also deeper), or another
                       mirror's address; a folder is only read
  --to DIR             where the data set goes (data/Cars; data/Cars-toy for --toy); what is fetched goes to
                       downloads/ beside it
  --split NAME         paper: cars 192 and up are for testing, all elevations, in colour (the default);
                       reference: the last 14 cars, elevation 3 alone, grey, 128 x 128
  --                   what follows goes to dataloader/preprocess_cars.py, such as --resolution 64

CARS_MD5 in the environment is the checksum of an archive that was packed anew; - takes any.
A second run does nothing; one that was interrupted goes on. What is in downloads/ is no longer needed then.

example:
  bash download/cars.sh --from ~/archives --split reference --to data/Cars-reference
END
}

own_option() {
  case "$1" in
    --toy) TOY=yes ;;
    --split)
      value_of "$@"
      SPLIT="$VALUE"
      ;;
    *) return 1 ;;
  esac
}

main() {
  TOY="" SPLIT=paper
  read_arguments "$@"
  case "$SPLIT" in
    paper | reference) ;;
    *) wrong_usage "--split $SPLIT: allowed: paper, reference" ;;
  esac
  [ -z "$TOY" ] || [ -z "$FROM" ] || wrong_usage "--toy takes nothing --from elsewhere"
  local name="Cars${TOY:+-toy}" config="configs/iiae_cars${TOY:+_toy}.json" to store
  to="${TO:-$ROOT/data/$name}"
  if [ ${#REST[@]} -eq 0 ] && [ ! -d "$FROM" ] && made "$to" '"dataset": "Cars"' "\"name\": \"$SPLIT\""; then
    finish "$name" "$to" "are there already" "$config"
    return
  fi
  need_modules numpy scipy PIL torch tqdm
  store="$(dirname "$to")/downloads"
  if [ -n "$TOY" ]; then
    from_toy "$store" "$to"
  elif [ -d "$FROM" ] && [ ! -f "$FROM/$NAME" ]; then
    preprocess preprocess_cars "$FROM" "$to" --split "$SPLIT"
  else
    open_archive "$store" "$NAME" "$SUM" 6000 "${MIRRORS[@]}"
    preprocess preprocess_cars "$PICTURES" "$to" --split "$SPLIT"
    close_archive
  fi
  finish "$name" "$to" "are ready" "$config"
}

# from_toy STORE TO
from_toy() {
  need_space "$1" 500
  only_one "$1"
  "$PYTHON" "$ROOT/dataloader/toy_cars.py" "$1/toy-cars" || exit $?
  preprocess preprocess_cars "$1/toy-cars" "$2" --split "$SPLIT"
}

main "$@"
