# shellcheck shell=bash
# What every download script shares: options, fetching with resume and several mirrors, checksums, disk space, safe
# unpacking, errors as one line. Source it first; it sets ROOT (the repository) and PYTHON.
#
# Errors go to stderr and end the script: status 2 for wrong usage, 1 for the rest. An unfinished file is
# called FILE.part, an unfinished folder .FOLDER.*.part; both are taken up or removed by the next run.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
TRIES="${DOWNLOAD_TRIES:-4}"  # in a row without a byte gained, before the next mirror's turn
PAUSE="${DOWNLOAD_PAUSE:-2}"  # seconds before a second try, doubled for each further one

# MNIST's files, which two data sets are made of.
MNIST_MIRRORS=(https://storage.googleapis.com/cvdf-datasets/mnist https://ossci-datasets.s3.amazonaws.com/mnist)
MNIST_NAMES=(train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte)
MNIST_SUMS=( # of the published .gz, and of what is in it
  f68b3c2dcbeaaa9fbdd348bbdeb94873:6bbc9ace898e44ae57da46a324031adb
  d53e105ee54ea40749a09fcbcd1e9432:a25bea736e30d166cdddb491f175f624
  9fb629c4189551a2d022fa330f9573f3:2646ac647ad5339dbf082846283269ea
  ec29112dd5afa0611ce80d1b7f02629c:27ae3e4e09519cfbb04c329615203637
)

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

wrong_usage() {
  printf 'error: %s (see --help)\n' "$*" >&2
  exit 2
}

# find_python: the environment of run_train.sh, else whatever python3 there is; PYTHON overrides.
find_python() {
  if [ -z "${PYTHON:-}" ]; then
    PYTHON="$ROOT/.venv/bin/python"
    [ -x "$PYTHON" ] || PYTHON=python3
  fi
  command -v "$PYTHON" > /dev/null || die "no Python found; install Python 3.11 or newer"
}

# need_modules NAME...: stop unless Python has these, before anything is fetched.
need_modules() {
  local missing
  find_python
  missing="$("$PYTHON" -c '
import importlib.util, sys
missing = [name for name in sys.argv[1:] if not importlib.util.find_spec(name)]
print(", ".join(["version 3.11"] * (sys.version_info < (3, 11)) + missing))' "$@")"
  [ -z "$missing" ] || die "$PYTHON lacks $missing; run ./run_train.sh --setup once, then this again"
}

# read_arguments ARGUMENT...: sets FROM (a folder's absolute path or an address, or empty; an archive's path where the
# script has set ARCHIVE_TOO by then), TO (absolute, or empty) and REST (what follows --). Any other word goes with those after it to the script's `own_option`, which sets TAKEN where
# it takes more than the one, and is false where it does not know it. --help calls `usage`.
# shellcheck disable=SC2034 # TO is for the scripts
read_arguments() {
  FROM="" TO="" REST=()
  while [ $# -gt 0 ]; do
    TAKEN=1
    case "$1" in
      -h | --help)
        usage
        exit 0
        ;;
      --from)
        value_of "$@"
        FROM="$VALUE"
        ;;
      --to)
        value_of "$@"
        TO="$(absolute "$VALUE")"
        ;;
      --)
        shift
        REST=("$@")
        break
        ;;
      *) own_option "$@" || wrong_usage "unknown argument $1" ;;
    esac
    shift "$TAKEN"
  done
  if [ -z "$FROM" ] || is_url "$FROM"; then return; fi
  if [ -n "${ARCHIVE_TOO:-}" ] && [ -f "$FROM" ]; then
    FROM="$(absolute "$FROM")"
  else
    FROM="$(folder_of --from "$FROM")" || exit $?
  fi
}

# value_of OPTION VALUE...: sets VALUE, and TAKEN to both.
value_of() {
  [ -n "${2:-}" ] || wrong_usage "$1 needs a value"
  VALUE="$2" TAKEN=2
}

# folder_of OPTION PATH: the absolute path of a folder that must be there.
folder_of() {
  [ -d "$2" ] || die "$1: there is no folder at $2"
  absolute "$2"
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

# is_url TEXT
is_url() {
  case "$1" in
    http://* | https://* | ftp://*) true ;;
    *) false ;;
  esac
}

# absolute PATH: the same from the root on, without a slash at its end; it need not exist.
absolute() {
  case "$1" in
    /) printf '/\n' ;;
    /*) printf '%s\n' "${1%/}" ;;
    *) printf '%s/%s\n' "${PWD%/}" "${1%/}" ;;
  esac
}

# need_space FOLDER MEGABYTES: stop unless the disk of FOLDER has that much free. Makes FOLDER.
need_space() {
  local free
  { mkdir -p "$1" && [ -w "$1" ]; } 2> /dev/null || die "cannot write into $1"
  free="$(df -Pk "$1" | awk 'NR == 2 { print int($4 / 1024) }')"
  [ "$free" -ge "$2" ] || die "$2 MB are needed in $1, $free MB are free"
}

# only_one FOLDER: wait until no other download works in FOLDER, then keep it to this one and its children.
only_one() {
  command -v flock > /dev/null && [ "${LOCKED:-}" != "$1" ] || return 0
  LOCKED="$1"
  exec 9> "$1/.lock"
  flock -n 9 && return
  echo "Waiting for another download into $1 ..."
  flock -w 3600 9 || die "another download has been at work in $1 for an hour"
}

# md5_of [FILE]: of FILE or of standard input.
md5_of() {
  if command -v md5sum > /dev/null; then
    md5sum < "${1:-/dev/stdin}" | cut -d ' ' -f 1
  else
    md5 -q < "${1:-/dev/stdin}"
  fi
}

# sum_is FILE SUM [NAME]: whether FILE has this MD5. SUM may be MD5:UNPACKED, then a FILE that unpacks (gunzip) to
# what has the MD5 UNPACKED, or is that already, is right too: the same data compressed anew. SUM may be -, where
# none is published: then what `record` wrote in FILE.md5 (NAME.md5) holds; while there is no such file, all is right.
sum_is() {
  local found wanted="$2" known="${3:-$1}.md5"
  if [ "$wanted" = - ]; then
    [ -s "$known" ] || return 0
    read -r wanted _ < "$known"
  fi
  found="$(md5_of "$1")"
  [ "$found" != "${wanted%%:*}" ] || return 0
  case "$wanted" in
    *:*) [ "$found" = "${wanted#*:}" ] || [ "$(gunzip -c < "$1" 2> /dev/null | md5_of)" = "${wanted#*:}" ] ;;
    *) false ;;
  esac
}

# record FILE: write its MD5 down after its first use has succeeded; `sum_is` holds every later FILE against it.
record() {
  [ -s "$1.md5" ] && return
  printf '%s  %s\n' "$(md5_of "$1")" "$(basename "$1")" > "$1.md5.part"
  mv "$1.md5.part" "$1.md5"
}

# fetch FILE SUM URL...: FILE from the first URL that gives it whole and with the right SUM (see sum_is).
# Does nothing where FILE is there and right.
fetch() {
  local file="$1" sum="$2" url name reasons=""
  name="$(basename "$file")"
  shift 2
  command -v curl > /dev/null || die "curl is needed to fetch $name; install it, or give a copy with --from"
  mkdir -p "$(dirname "$file")"
  if [ -f "$file" ]; then
    if sum_is "$file" "$sum"; then return; fi
    echo "$name has changed since it was fetched; fetching it again"
    rm -f "$file"
  fi
  for url in "$@"; do
    echo "Fetching $url"
    if get "$file" "$sum" "$url"; then
      mv "$file.part" "$file"
      return
    fi
    echo "  no use: $WHY"
    reasons="$reasons${reasons:+, }$(printf '%s' "$url" | cut -d / -f 1-3): $WHY"
  done
  die "$name could not be fetched ($reasons); try later, or give a copy with --from"
}

# fetch_from FOLDER NAME SUM BASE...: fetch FOLDER/NAME from BASE/NAME, of the first BASE that has it right.
fetch_from() {
  local folder="$1" name="$2" sum="$3" base urls=()
  shift 3
  for base in "$@"; do urls+=("${base%/}/$name"); done
  fetch "$folder/$name" "$sum" "${urls[@]}"
}

# get FILE SUM URL: fill FILE.part from URL and check it. False, with the reason in WHY, leaves no wrong FILE.part.
get() {
  local part="$1.part" resumed=""
  if [ -s "$part" ]; then resumed=yes; fi
  download "$part" "$3" || return 1
  if sum_is "$part" "$2" "$1"; then return 0; fi
  rm -f "$part"
  if [ -n "$resumed" ]; then # what an earlier run or mirror had left may be what is wrong
    echo "  wrong checksum; starting again"
    download "$part" "$3" || return 1
    if sum_is "$part" "$2" "$1"; then return 0; fi
    rm -f "$part"
  fi
  WHY="wrong checksum"
  return 1
}

# download PART URL: one mirror, resumed after every break as long as there is progress. False, with WHY.
download() {
  local part="$1" url="$2" before after code status idle=0 restarts=0 pause="$PAUSE"
  local bar=--silent
  if [ -t 2 ]; then bar=--progress-bar; fi
  while :; do
    before="$(size_of "$part")"
    status=0
    code="$(curl "$bar" --globoff --fail --location --proto '=http,https,ftp' --connect-timeout 30 --speed-limit 100 \
      --speed-time 60 --continue-at - --write-out '%{http_code}' --output "$part" "$url")" || status=$?
    after="$(size_of "$part")"
    WHY="$(reason "$status" "$code")"
    case "$status:$code" in
      0:*)
        if [ "$after" -gt 0 ]; then return 0; fi
        WHY="an empty file"
        return 1
        ;;
      33:* | 36:* | 22:416) # resuming is impossible there, or the end is passed: from the start, but not for ever
        restarts=$((restarts + 1))
        rm -f "$part"
        if [ "$restarts" -ge "$TRIES" ]; then return 1; fi
        continue
        ;;
      22:408 | 22:429 | 22:5*) ;;
      22:* | 1:* | 3:* | 6:* | 23:* | 60:*) return 1 ;;
    esac
    idle=$((idle + 1))
    if [ "$after" -gt "$before" ]; then
      idle=0
      pause="$PAUSE"
    fi
    if [ "$idle" -ge "$TRIES" ]; then return 1; fi
    echo "  $WHY at $after bytes; going on"
    sleep "$pause"
    pause=$((pause * 2))
  done
}

size_of() {
  if [ -f "$1" ]; then wc -c < "$1" | tr -d ' '; else echo 0; fi
}

# reason CURL_STATUS HTTP_CODE: in words.
reason() {
  case "$1" in
    6) echo "host not found" ;;
    7) echo "no connection" ;;
    18 | 52 | 55 | 56) echo "connection dropped" ;;
    22) echo "HTTP $2" ;;
    23) echo "the disk cannot be written; is it full?" ;;
    28) echo "no answer in time" ;;
    33 | 36) echo "breaks off and cannot be resumed" ;;
    35 | 60) echo "no secure connection" ;;
    *) echo "curl error $1" ;;
  esac
}

# unpack ARCHIVE FOLDER [STORE]: FOLDER appears whole or not at all, and nothing is written outside it. An
# archive that is refused and lies in STORE is removed there, to be fetched anew by the next run.
unpack() {
  find_python
  echo "Unpacking $(basename "$1") ..."
  "$PYTHON" "$ROOT/download/unpack.py" "$1" "$2" && return
  if [ "$(dirname "$1")" = "${3:-}" ]; then rm -f "$1"; fi
  exit 1
}

# open_archive STORE NAME SUM MEGABYTES URL...: unpack NAME, from the folder FROM (or FROM itself, a file) or fetched into
# STORE, into the folder PICTURES. Sets ARCHIVE. At least MEGABYTES must be free.
open_archive() {
  local store="$1" name="$2" sum="$3" mine=""
  need_space "$store" "$4"
  only_one "$store"
  shift 4
  ARCHIVE="$store/$name"
  if [ -e "$FROM" ]; then
    ARCHIVE="$FROM"
    [ -f "$FROM" ] || ARCHIVE="$FROM/$name"
    [ "$sum" = - ] || sum_is "$ARCHIVE" "$sum" || die "$ARCHIVE is not the published one (wrong checksum); see --help"
  else
    mine="$store"
    if [ -n "$FROM" ]; then set -- "${FROM%/}/$name"; fi
    fetch "$ARCHIVE" "$sum" "$@"
  fi
  PICTURES="$store/${name%%.*}-$(md5_of "$ARCHIVE")"
  unpack "$ARCHIVE" "$PICTURES" "$mine"
}

# close_archive: after its first use has succeeded, record its checksum where it was fetched; what is left of the
# unpacked one goes.
close_archive() {
  [ -e "$FROM" ] || record "$ARCHIVE"
  rm -rf "$PICTURES"
}

# take_folder STORE TO INNER NAME MEGABYTES BASE...: the folder that holds INNER in the archive NAME, from the folder
# FROM or fetched from the first BASE that has it, becomes TO, all or nothing.
take_folder() {
  local store="$1" to="$2" inner="$3" name="$4" space="$5" root
  shift 5
  [ ! -d "$FROM" ] || [ -f "$FROM/$name" ] || die "$FROM has neither $inner nor $name"
  open_archive "$store" "$name" - "$space" "${@/%//$name}"
  root="$(find "$PICTURES" -maxdepth 3 -type d -name "$inner" | sort | head -n 1)"
  if [ -z "$root" ]; then
    rm -rf "$PICTURES"
    [ -d "$FROM" ] || rm -f "$ARCHIVE"
    die "$name holds no $inner"
  fi
  mv "$(dirname "$root")" "$to"
  close_archive
}

# copy TO FOLDER...: those of the folders that are there, into TO, all or nothing; links become what they lead to.
copy() {
  local work folder
  work="$(dirname "$1")/.$(basename "$1").copy.part"
  rm -rf "$work"
  mkdir "$work"
  for folder in "${@:2}"; do
    if [ -d "$folder" ]; then cp -RLp "$folder" "$work/"; fi
  done
  mv "$work" "$1"
}

# first_of PATH...: the first of these files that is there. False where none is.
first_of() {
  local path
  for path in "$@"; do
    if [ -f "$path" ]; then
      printf '%s\n' "$path"
      return
    fi
  done
  return 1
}

# need_copy NAME FILES PAGE: stop unless FROM is a folder, for a set that each person must ask for.
need_copy() {
  [ -n "$FROM" ] || wrong_usage "$1 is for persons to fetch: get $2 from $3 and name their folder with --from"
  [ -d "$FROM" ] || wrong_usage "--from takes a folder with $2, not an address"
}

# take_copy TO MEGABYTES: what the script's `fill WORK` puts into the folder WORK becomes TO, all or nothing. It may
# unpack an archive into the folder PICTURES, which is removed like WORK, however the script ends.
take_copy() {
  local to="$1" store
  store="$(dirname "$to")/downloads"
  need_space "$store" "$2"
  only_one "$store"
  [ ! -e "$to" ] || rmdir "$to" 2> /dev/null || die "$to holds something else; remove it or choose another with --to"
  WORK="$(dirname "$to")/.$(basename "$to").copy.part"
  PICTURES="$store/.$(basename "$to").pictures.part"
  rm -rf "$WORK" "$PICTURES"
  trap 'rm -rf "$WORK" "$PICTURES"' EXIT
  mkdir "$WORK"
  fill "$WORK"
  mv "$WORK" "$to"
}

# preprocess SCRIPT SOURCE TARGET OPTION...: one of dataloader/, with REST as further options; where it fails, so does
# this script.
preprocess() {
  "$PYTHON" "$ROOT/dataloader/$1.py" "${@:2}" ${REST[@]+"${REST[@]}"} || exit $?
}

# made FOLDER WORDS...: whether a packed set is in FOLDER. One whose train/meta.json lacks any of WORDS stops the script.
made() {
  local folder="$1" words
  [ -f "$folder/train/meta.json" ] && [ -f "$folder/test/meta.json" ] || return 1
  shift
  for words in "$@"; do
    grep -qF -- "$words" "$folder/train/meta.json" ||
      die "$folder is made from something else; remove it or name another folder with --to"
  done
}

# finish NAME FOLDER WHAT CONFIG [WORD...]: what is there, and how to train on it: by CONFIG where this checkout has it,
# with WORDs, or else with FOLDER where it is not data/NAME.
finish() {
  local name="$1" folder="$2" config="$4"
  echo "$name $3: $folder"
  shift 4
  if [ $# -eq 0 ] && [ "$folder" != "$ROOT/data/$name" ]; then set -- "path_to_data=$folder"; fi
  if [ -f "$ROOT/$config" ]; then
    echo "Train on it: ./run_train.sh $(quoted "$config" "$@")"
  else
    [ $# -gt 0 ] || set -- "path_to_data=$folder"
    echo "Train on it with a config of your own and: $(quoted "$@")"
  fi
}

# quoted WORD...: as a shell reads them.
quoted() {
  local words
  printf -v words ' %q' "$@"
  printf '%s\n' "${words# }"
}

# from_mnist SCRIPT TO MEGABYTES OPTION...: preprocess MNIST, from the folder FROM or fetched into downloads/ beside TO.
# At least MEGABYTES must be free.
from_mnist() {
  local script="$1" to="$2" store i bases=("${MNIST_MIRRORS[@]}")
  need_space "$(dirname "$to")" "$3"
  shift 3
  if [ -d "$FROM" ]; then
    for i in "${!MNIST_NAMES[@]}"; do check_local "$FROM" "${MNIST_NAMES[i]}" "${MNIST_SUMS[i]}" "$script"; done
    preprocess "$script" "$FROM" "$to" "$@"
    return
  fi
  if [ -n "$FROM" ]; then bases=("$FROM"); fi
  store="$(dirname "$to")/downloads/mnist"
  need_space "$store" 50
  only_one "$store"
  for i in "${!MNIST_NAMES[@]}"; do fetch_from "$store" "${MNIST_NAMES[i]}.gz" "${MNIST_SUMS[i]}" "${bases[@]}"; done
  preprocess "$script" "$store" "$to" "$@"
}

# check_local FOLDER NAME SUM SCRIPT: the file that preprocessing would read must be MNIST's.
check_local() {
  local file
  for file in "$1/$2" "$1/$2.gz" "$1/${2/-idx/.idx}" "$1/${2/-idx/.idx}.gz"; do
    [ -f "$file" ] || continue
    sum_is "$file" "$3" && return
    die "$file is not MNIST's (wrong checksum); digits of your own: python dataloader/$4.py $1"
  done
  die "$1 has no $2.gz"
}
