#!/usr/bin/env bash
# Makes data/NAME: a data set of CycleGAN's or of DRIT's, as folders trainA, trainB, testA, testB. See --help.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

CYCLEGAN=(https://efrosgans.eecs.berkeley.edu/cyclegan/datasets
  https://people.eecs.berkeley.edu/~taesung_park/CycleGAN/datasets)
CYCLEGAN_NAMES=(apple2orange horse2zebra summer2winter_yosemite monet2photo cezanne2photo ukiyoe2photo
  vangogh2photo maps facades iphone2dslr_flower grumpifycat)
DRIT=(http://vllab.ucmerced.edu/hylee/DRIT/datasets)
DRIT_NAMES=(portrait cat2dog)

usage() {
  cat << END
usage: bash download/cyclegan.sh NAME [--from DIR_OR_URL] [--to DIR] [-- PACKING OPTION ...]

Makes data/NAME from NAME.zip: fetches it, unpacks it, and packs its pictures for training. NAME is one of
  CycleGAN's:  ${CYCLEGAN_NAMES[*]:0:5}
               ${CYCLEGAN_NAMES[*]:5}
  DRIT's:      ${DRIT_NAMES[*]}

  --from DIR_OR_URL    a folder with NAME.zip, or with trainA, trainB, testA, testB (then NAME may be any), or
                       another mirror's address; a folder is only read
  --to DIR             where the data set goes (data/NAME); what is fetched goes to downloads/ beside it
  --                   what follows goes to dataloader/folders.py, such as --load-size 286 or --skip-bad

No checksums are published: the first archive that could be used is recorded, and later ones are held against it.
A second run does nothing; one that was interrupted goes on. What is in downloads/ is no longer needed then.

example:
  bash download/cyclegan.sh summer2winter_yosemite --to /big/disk/yosemite
END
}

main() {
  local name="" from="" to=""
  while [ $# -gt 0 ]; do
    case "$1" in
      -h | --help)
        usage
        exit 0
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
      -*) wrong_usage "unknown argument $1" ;;
      *)
        [ -z "$name" ] || wrong_usage "one NAME at a time, not $name and $1"
        name="$1"
        ;;
    esac
    shift
  done
  [ -n "$name" ] || wrong_usage "NAME is missing: ${CYCLEGAN_NAMES[*]} ${DRIT_NAMES[*]}"
  case "$name" in */* | .*) wrong_usage "$name is no name of a data set" ;; esac
  [ -n "$from" ] || one_of "$name" "${CYCLEGAN_NAMES[@]}" "${DRIT_NAMES[@]}" ||
    wrong_usage "$name is none of ${CYCLEGAN_NAMES[*]} ${DRIT_NAMES[*]}"
  to="${to:-$ROOT/data/$name}"
  if [ -n "$from" ] && ! is_url "$from"; then
    [ -d "$from" ] || die "--from: there is no folder at $from"
    from="$(absolute "${from%/}")"
  fi
  need_modules numpy PIL torch tqdm
  if [ -d "$to/trainA" ]; then
    pack "$to" "$@"
    finish "$name" "$to" "is there already"
    return
  fi
  [ ! -e "$to" ] || rmdir "$to" 2> /dev/null || die "$to holds something else; remove it or name another folder with --to"
  local store
  store="$(dirname "$to")/downloads"
  need_space "$store" 2000
  only_one "$store"
  if [ -n "$from" ] && [ -d "$from/trainA" ]; then
    copy "$from" "$to"
    pack "$to" "$@"
  else
    from_archive "$store" "$name" "$from" "$to" "$@"
  fi
  finish "$name" "$to" "is ready"
}

# one_of WORD WORD...: whether the first is among the others.
one_of() {
  local word="$1" other
  shift
  for other in "$@"; do
    if [ "$word" = "$other" ]; then return; fi
  done
  return 1
}

# copy FROM TO: the folders of the domains, all or nothing.
copy() {
  local work folder
  work="$(dirname "$2")/.$(basename "$2").copy.part"
  rm -rf "$work"
  mkdir "$work"
  for folder in "$1"/{train,test,val}[A-Z]; do
    if [ -d "$folder" ]; then cp -Rp "$folder" "$work/"; fi
  done
  mv "$work" "$2"
}

# from_archive STORE NAME FROM TO OPTION...
from_archive() {
  local store="$1" name="$2" from="$3" to="$4" archive pictures root bases
  shift 4
  archive="$store/$name.zip"
  if [ -d "$from" ]; then
    archive="$from/$name.zip"
    [ -f "$archive" ] || die "$from has neither trainA nor $name.zip"
  else
    if [ -n "$from" ]; then
      bases=("$from")
    elif one_of "$name" "${CYCLEGAN_NAMES[@]}"; then
      bases=("${CYCLEGAN[@]}")
    else
      bases=("${DRIT[@]}")
    fi
    fetch_from "$store" "$name.zip" - "${bases[@]}"
  fi
  pictures="$store/$name-$(md5_of "$archive")"
  unpack "$archive" "$pictures" "$store"
  root="$(find "$pictures" -maxdepth 3 -type d -name trainA | sort | head -n 1)"
  if [ -z "$root" ]; then
    rm -rf "$pictures"
    [ -d "$from" ] || rm -f "$archive"
    die "$name.zip holds no trainA"
  fi
  mv "$(dirname "$root")" "$to"
  [ -d "$from" ] || record "$archive"
  rm -rf "$pictures"
  pack "$to" "$@"
}

# pack FOLDER OPTION...: into the cache that training reads.
pack() {
  "$PYTHON" "$ROOT/dataloader/folders.py" "$@" || exit $?
}

# finish NAME FOLDER WHAT
finish() {
  local config=configs/drit_yosemite.json
  case "$1" in
    apple2orange) config=configs/gmvae_drit_apple2orange.json ;;
    cat2dog | portrait) config=configs/drit_cat2dog.json ;; # both change shapes
  esac
  echo "$1 $3: $2"
  say_train "$config" " dataset=Folders path_to_data=$2"
}

main "$@"
