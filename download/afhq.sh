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

own_option() {
  case "$1" in
    v1 | v2)
      [ -z "$VERSION" ] || wrong_usage "one of v1 and v2"
      VERSION="$1"
      ;;
    *) wrong_usage "unknown argument $1; allowed: v1, v2, --from, --to" ;;
  esac
}

main() {
  VERSION=""
  read_arguments "$@"
  local name=AFHQ archive=afhq.zip url="$V1" space=7000
  if [ "$VERSION" = v2 ]; then name=AFHQ-v2 archive=afhq_v2.zip url="$V2" space=18000; fi
  local to="${TO:-$ROOT/data/$name}"
  if [ ${#REST[@]} -eq 0 ] && [ ! -d "$FROM" ] && made "$to" '"dataset": "AFHQ"'; then
    finish AFHQ "$to" "is there already" "$CONFIG"
    return
  fi
  need_modules numpy PIL torch tqdm
  if [ -d "$FROM" ] && [ ! -f "$FROM/$archive" ]; then
    preprocess preprocess_afhq "$FROM" "$to"
  else
    open_archive "$(dirname "$to")/downloads" "$archive" - "$space" "$url"
    preprocess preprocess_afhq "$PICTURES" "$to"
    close_archive
  fi
  finish AFHQ "$to" "is ready" "$CONFIG"
}

main "$@"
