#!/usr/bin/env bash
# Makes data/NAME: a data set of pix2pix's, as folders train, test, val of files with A and B side by side. See --help.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

MIRRORS=(http://efrosgans.eecs.berkeley.edu/pix2pix/datasets)
SETS=( # name, MB of the archive and of its pictures, the direction that its authors translate in
  cityscapes:220:BtoA
  edges2handbags:17200:AtoB
  edges2shoes:4500:AtoB
  facades:70:BtoA
  maps:520:AtoB
  night2day:4200:AtoB
)

usage() {
  cat << END
usage: bash download/pix2pix.sh NAME [--from DIR_OR_URL] [--to DIR] [-- PACKING OPTION ...]

Makes data/NAME from NAME.tar.gz: fetches it, unpacks it, and packs its pairs for training. NAME is one of
  ${SETS[*]%%:*}

  --from DIR_OR_URL    a folder with NAME.tar.gz, or with train, test, val (then NAME may be any), or another
                       mirror's address; a folder is only read
  --to DIR             where the data set goes (data/NAME); what is fetched goes to downloads/ beside it
  --                   what follows goes to dataloader/pairs.py, such as --resolution 128 or --skip-bad

At 256 a thousand pairs take half a gigabyte once packed, so edges2shoes takes 25 GB and edges2handbags 68 GB;
-- --resolution 64 takes a sixteenth.
No checksums are published: the first archive that could be used is recorded, and later ones are held against it.
A second run does nothing; one that was interrupted goes on. What is in downloads/ is no longer needed then.

example:
  bash download/pix2pix.sh facades --to /big/disk/facades
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
  local known=("${SETS[@]%%:*}") to store space=70 direction=AtoB what="is there already" set
  [ -n "$NAME" ] || wrong_usage "NAME is missing: ${known[*]}"
  case "$NAME" in */* | .*) wrong_usage "$NAME is no name of a data set" ;; esac
  [ -n "$FROM" ] || one_of "$NAME" "${known[@]}" || wrong_usage "$NAME is none of ${known[*]}"
  for set in "${SETS[@]}"; do
    if [ "${set%%:*}" = "$NAME" ]; then IFS=: read -r _ space direction <<< "$set"; fi
  done
  to="${TO:-$ROOT/data/$NAME}"
  need_modules numpy PIL torch tqdm
  store="$(dirname "$to")/downloads"
  if [ ! -d "$to/train" ]; then
    need_space "$store" "$space"
    only_one "$store"
  fi
  if [ ! -d "$to/train" ]; then # nor has another run made it in the meantime
    [ ! -e "$to" ] || rmdir "$to" 2> /dev/null || die "$to holds something else; remove it or name another folder with --to"
    if [ -d "$FROM/train" ]; then
      copy "$to" "$FROM"/{train,test,val}
    else
      take_folder "$store" "$to" train "$NAME.tar.gz" "$space" "${MIRRORS[@]}"
    fi
    what="is ready"
  fi
  preprocess pairs "$to"
  finish "$NAME" "$to" "$what" "configs/pix2pix_$NAME.json" dataset=Pairs "path_to_data=$to" "data.direction=$direction"
}

main "$@"
