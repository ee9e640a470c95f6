#!/usr/bin/env bash
# Makes data/Cars from the archive of Reed et al. (Deep Visual Analogy-Making, NIPS 2015), or data/Cars-toy from
# cars of our own. See --help.
# shellcheck source=download/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

MIRRORS=(http://www.scottreed.info/files http://www-personal.umich.edu/~reedscot/files)
NAME=nips2015-analogy-data.tar.gz
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

main() {
  local from="" to="" toy="" split=paper
  while [ $# -gt 0 ]; do
    case "$1" in
      -h | --help)
        usage
        exit 0
        ;;
      --toy) toy=yes ;;
      --from | --to | --split)
        [ -n "${2:-}" ] || wrong_usage "$1 needs a value"
        case "$1" in
          --from) from="$2" ;;
          --to) to="$(absolute "${2%/}")" ;;
          --split) split="$2" ;;
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
  case "$split" in
    paper | reference) ;;
    *) wrong_usage "--split $split: allowed: paper, reference" ;;
  esac
  [ -z "$toy" ] || [ -z "$from" ] || wrong_usage "--toy takes nothing --from elsewhere"
  to="${to:-$ROOT/data/Cars${toy:+-toy}}"
  if [ -n "$from" ] && ! is_url "$from"; then
    [ -d "$from" ] || die "--from: there is no folder at $from"
    from="$(absolute "${from%/}")"
  fi
  if [ $# -eq 0 ] && [ ! -d "$from" ] && made_as "$to" "$split"; then
    finish "$to" "$toy" "are there already"
    return
  fi
  need_modules numpy scipy PIL torch tqdm
  local store
  store="$(dirname "$to")/downloads"
  if [ -n "$toy" ]; then
    from_toy "$store" "$to" --split "$split" "$@"
  elif [ -d "$from" ] && [ ! -f "$from/$NAME" ]; then
    preprocess "$from" "$to" --split "$split" "$@"
  else
    from_archive "$store" "$from" "$to" --split "$split" "$@"
  fi
  finish "$to" "$toy" "are ready"
}

# made_as FOLDER SPLIT: whether FOLDER holds cars so split; other data there stop the script.
made_as() {
  [ -f "$1/train/meta.json" ] && [ -f "$1/test/meta.json" ] || return 1
  if grep -q '"dataset": "Cars"' "$1/train/meta.json" && grep -q "\"name\": \"$2\"" "$1/train/meta.json"; then return; fi
  die "$1 holds another data set or split; remove it or name another folder with --to"
}

# from_toy STORE TO OPTION...
from_toy() {
  local store="$1" to="$2"
  shift 2
  need_space "$store" 500
  only_one "$store"
  "$PYTHON" "$ROOT/dataloader/toy_cars.py" "$store/toy-cars" || exit $?
  preprocess "$store/toy-cars" "$to" "$@"
}

# from_archive STORE FROM TO OPTION...
from_archive() {
  local store="$1" from="$2" to="$3" archive cars bases=("${MIRRORS[@]}")
  shift 3
  need_space "$store" 6000
  only_one "$store"
  archive="$store/$NAME"
  if [ -d "$from" ]; then
    archive="$from/$NAME"
    [ "$SUM" = - ] || sum_is "$archive" "$SUM" ||
      die "$archive is not the published one (wrong checksum); CARS_MD5=- takes it as it is"
  else
    if [ -n "$from" ]; then bases=("$from"); fi
    fetch_from "$store" "$NAME" "$SUM" "${bases[@]}"
  fi
  cars="$store/cars-$(md5_of "$archive")"
  unpack "$archive" "$cars" "$store"
  preprocess "$cars" "$to" "$@"
  [ -d "$from" ] || record "$archive"
  rm -rf "$cars"
}

# preprocess SOURCE TARGET OPTION...
preprocess() {
  "$PYTHON" "$ROOT/dataloader/preprocess_cars.py" "$@" || exit $?
}

# finish FOLDER TOY WHAT
finish() {
  local where="" name="Cars${2:+-toy}" config="configs/iiae_cars${2:+_toy}.json"
  if [ "$1" != "$ROOT/data/$name" ]; then where=" path_to_data=$1"; fi
  echo "$name $3: $1"
  echo "Train on them: ./run_train.sh $config$where"
}

main "$@"
