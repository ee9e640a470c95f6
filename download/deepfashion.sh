#!/usr/bin/env bash
# Makes data/DeepFashion from a copy of DeepFashion's pictures that a person has fetched. See --help.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

PAGE=http://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html
CONFIG=configs/vae_gan_deepfashion.json

usage() {
  cat << END
usage: bash download/deepfashion.sh --from DIR [--to DIR] [-- PACKING OPTION ...]

Makes DeepFashion: takes its pictures of people in clothes from DIR and packs them for training at 128 x 128. Sex,
garment and view are read from their names. Its authors let it be used for research alone and ask each person to sign
for it:
  $PAGE (In-shop: img.zip)
  https://github.com/yumingj/DeepFashion-MultiModal (images.zip)

  --from DIR    a folder, which is only read, with img.zip or images.zip; or with the pictures, named
                MEN-Denim-id_00000080-01_7_additional.jpg or img/MEN/Denim/id_00000080/01_7_additional.jpg
  --to DIR      where the data set goes (data/DeepFashion); an archive is unpacked in downloads/ beside it
  --            what follows goes to dataloader/attributes.py, such as --resolution 256 or --skip-bad

A second run only packs what has changed.

example:
  bash download/deepfashion.sh --from ~/Downloads/DeepFashion -- --resolution 256 --resize fit
END
}

own_option() {
  return 1
}

main() {
  read_arguments "$@"
  local to="${TO:-$ROOT/data/DeepFashion}" what="is there already"
  if [ ! -d "$to/img" ]; then
    need_copy DeepFashion "img.zip or images.zip" "$PAGE"
    need_modules numpy PIL torch tqdm
    take_copy "$to" 2000
    what="is ready"
  fi
  need_modules numpy PIL torch tqdm
  preprocess attributes "$to"
  finish DeepFashion "$to" "$what" "$CONFIG" dataset=Attributes "path_to_data=$to"
}

# fill WORK: with the pictures of FROM.
fill() {
  local root archive
  if root="$(pictures_in "$FROM")"; then
    mkdir "$1/img"
    find -L "$root" -mindepth 1 -maxdepth 1 \( -name 'MEN*' -o -name 'WOMEN*' \) \
      -exec sh -c 'cp -RLp "$@" "$0"' "$1/img" {} +
    return
  fi
  archive="$(first_of "$FROM"/{,Img/}{img,images}.zip)" || die "$FROM has no pictures of DeepFashion's, nor img.zip"
  unpack "$archive" "$PICTURES"
  root="$(pictures_in "$PICTURES")" || die "$archive holds no pictures of DeepFashion's"
  mv "$root" "$1/img"
}

# pictures_in FOLDER: where in it MEN and WOMEN are, or pictures whose names begin so. False where none are.
pictures_in() {
  local found
  found="$(find -L "$1" -mindepth 1 -maxdepth 3 \( -type d \( -name MEN -o -name WOMEN \) \
    -o -type f \( -name 'MEN-*' -o -name 'WOMEN-*' \) \) -print -quit)"
  [ -n "$found" ] && dirname "$found"
}

main "$@"
