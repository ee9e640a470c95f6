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

own_option() {
  case "$1" in
    -*) return 1 ;;
    *)
      [ -z "$NAME" ] || wrong_usage "one NAME at a time, not $NAME and $1"
      NAME="$1"
      ;;
  esac
}

main() {
  NAME=""
  read_arguments "$@"
  local known=("${CYCLEGAN_NAMES[@]}" "${DRIT_NAMES[@]}") to
  [ -n "$NAME" ] || wrong_usage "NAME is missing: ${known[*]}"
  case "$NAME" in */* | .*) wrong_usage "$NAME is no name of a data set" ;; esac
  [ -n "$FROM" ] || one_of "$NAME" "${known[@]}" || wrong_usage "$NAME is none of ${known[*]}"
  to="${TO:-$ROOT/data/$NAME}"
  need_modules numpy PIL torch tqdm
  local store what="is there already"
  store="$(dirname "$to")/downloads"
  if [ ! -d "$to/trainA" ]; then
    need_space "$store" 2000
    only_one "$store"
  fi
  if [ ! -d "$to/trainA" ]; then # nor has another run made it in the meantime
    [ ! -e "$to" ] || rmdir "$to" 2> /dev/null || die "$to holds something else; remove it or name another folder with --to"
    if [ -d "$FROM/trainA" ]; then copy "$to" "$FROM"/{train,test,val}[A-Z]; else from_archive "$store" "$to"; fi
    what="is ready"
  fi
  pack "$to" "$what"
}

# from_archive STORE TO
from_archive() {
  local bases=("${CYCLEGAN[@]}")
  if one_of "$NAME" "${DRIT_NAMES[@]}"; then bases=("${DRIT[@]}"); fi
  take_folder "$1" "$2" trainA "$NAME.zip" 2000 "${bases[@]}"
}

# pack FOLDER WHAT: into the cache that training reads, and say WHAT.
pack() {
  local config=configs/drit_yosemite.json
  preprocess folders "$1"
  case "$NAME" in
    apple2orange) config=configs/gmvae_drit_apple2orange.json ;;
    cat2dog | portrait) config=configs/drit_cat2dog.json ;; # both change shapes
  esac
  finish "$NAME" "$1" "$2" "$config" dataset=Folders "path_to_data=$1"
}

main "$@"
