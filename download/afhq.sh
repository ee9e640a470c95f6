#!/usr/bin/env bash
# Makes data/AFHQ: fetches the animal faces of StarGAN v2 and packs them. See --help.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

V1="https://www.dropbox.com/s/t9l9o3vsx2jai3z/afhq.zip?dl=1"
V2="https://www.dropbox.com/s/vkzjokiwof5h8w6/afhq_v2.zip?dl=1"
CONFIG=configs/iiae_afhq.json

usage() {
  cat << 'END'
usage: bash download/afhq.sh [v1|v2] [--from DIR_OR_URL] [--to DIR] [-- PREPROCESSING OPTION ...]

Makes AFHQ: fetches afhq.zip (v1, the default) or afhq_v2.zip (v2, 6.5 GB), unpacks it and packs its pictures.

  --from DIR_OR_URL    a folder with that archive, or with train/ and val/ or test/, or another mirror's address;
                       a folder is only read
  --to DIR             where the data set goes (data/AFHQ; data/AFHQ-v2 for v2); what is fetched goes to
                       downloads/ beside it
  --                   what follows goes to dataloader/preprocess_afhq.py, such as --resolution 128 or --skip-bad

No checksums are published: the first archive that could be used is recorded, and later ones are held against it.
A second run does nothing; one that was interrupted goes on. What is in downloads/ is no longer needed then.

example:
  bash download/afhq.sh v2 --from ~/archives -- --resolution 512
END
}

main() {
  local version="" from="" to=""
  while [ $# -gt 0 ]; do
    case "$1" in
      -h | --help)
        usage
        exit 0
        ;;
      v1 | v2)
        [ -z "$version" ] || wrong_usage "one of v1 and v2"
        version="$1"
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
      *) wrong_usage "unknown argument $1; allowed: v1, v2, --from, --to" ;;
    esac
    shift
  done
  local suffix="" archive=afhq.zip url="$V1" space=7000
  if [ "$version" = v2 ]; then suffix=-v2 archive=afhq_v2.zip url="$V2" space=18000; fi
  to="${to:-$ROOT/data/AFHQ$suffix}"
  if [ -n "$from" ] && ! is_url "$from"; then
    [ -d "$from" ] || die "--from: there is no folder at $from"
    from="$(absolute "${from%/}")"
  fi
  if [ $# -eq 0 ] && [ ! -d "$from" ] && made "$to"; then
    finish "$to" "is there already"
    return
  fi
  need_modules numpy PIL torch tqdm
  if [ -d "$from" ] && [ ! -f "$from/$archive" ]; then
    preprocess "$from" "$to" "$@"
  else
    from_archive "$(dirname "$to")/downloads" "$from" "$archive" "$url" "$space" "$to" "$@"
  fi
  finish "$to" "is ready"
}

# made FOLDER: whether AFHQ is there; another data set stops the script.
made() {
  [ -f "$1/train/meta.json" ] && [ -f "$1/test/meta.json" ] || return 1
  grep -q '"dataset": "AFHQ"' "$1/train/meta.json" || die "$1 holds another data set; remove it or name another folder with --to"
}

# from_archive STORE FROM NAME URL MEGABYTES TO OPTION...
from_archive() {
  local store="$1" from="$2" name="$3" url="$4" to="$6" archive="$1/$3" pictures
  need_space "$store" "$5"
  shift 6
  only_one "$store"
  if [ -d "$from" ]; then
    archive="$from/$name"
  else
    if [ -n "$from" ]; then url="${from%/}/$name"; fi
    fetch "$archive" - "$url"
  fi
  pictures="$store/${name%.zip}-$(md5_of "$archive")"
  unpack "$archive" "$pictures" "$store"
  preprocess "$pictures" "$to" "$@"
  [ -d "$from" ] || record "$archive"
  rm -rf "$pictures"
}

# preprocess SOURCE TARGET OPTION...
preprocess() {
  "$PYTHON" "$ROOT/dataloader/preprocess_afhq.py" "$@" || exit $?
}

# finish FOLDER WHAT
finish() {
  local where=""
  if [ "$1" != "$ROOT/data/AFHQ" ]; then where=" path_to_data=$1"; fi
  echo "AFHQ $2: $1"
  echo "Train on it: ./run_train.sh $CONFIG$where"
}

main "$@"
