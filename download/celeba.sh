#!/usr/bin/env bash
# Makes data/CelebA from a copy of CelebA that a person has fetched. See --help.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

PAGE=http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html
CONFIG=configs/stargan_celeba.json

usage() {
  cat << END
usage: bash download/celeba.sh --from DIR [--to DIR] [-- PACKING OPTION ...]

Makes CelebA: takes its aligned pictures and their attributes from DIR and packs them for training, the middle 178 x 178
pixels at 128 x 128. Its authors let it be used for research alone and ask each person to fetch it:
  $PAGE (Align&Cropped Images)
It is on Kaggle too, as jessicali9530/celeba-dataset.

  --from DIR    a folder, which is only read, with
                img_align_celeba.zip, or the folder img_align_celeba;
                list_attr_celeba.txt (or .csv, as Kaggle has it);
                list_eval_partition.txt (or .csv): which pictures are for testing; where it is missing, those that
                StarGAN's authors test on;
                or with Img/, Anno/ and Eval/, as the authors have them
  --to DIR      where the data set goes (data/CelebA); an archive is unpacked in downloads/ beside it
  --            what follows goes to dataloader/attributes.py, such as --resolution 256 or --skip-bad

A second run only packs what has changed.

example:
  bash download/celeba.sh --from ~/Downloads/CelebA
END
}

own_option() {
  return 1
}

main() {
  read_arguments "$@"
  local to="${TO:-$ROOT/data/CelebA}" what="is there already"
  if [ ! -d "$to/img_align_celeba" ]; then
    need_copy CelebA "img_align_celeba.zip and list_attr_celeba.txt" "$PAGE"
    need_modules numpy PIL torch tqdm
    take_copy "$to" 3500
    what="is ready"
  fi
  need_modules numpy PIL torch tqdm
  preprocess attributes "$to" --crop 178
  finish CelebA "$to" "$what" "$CONFIG" dataset=Attributes "path_to_data=$to"
}

# fill WORK: with the lists and the pictures of FROM.
fill() {
  local path name
  path="$(first_of "$FROM"/{,Anno/}list_attr_celeba.{txt,csv})" || die "$FROM has no list_attr_celeba.txt"
  cp "$path" "$1/"
  if path="$(first_of "$FROM"/{,Eval/}list_eval_partition.{txt,csv})"; then
    cp "$path" "$1/"
  else
    echo "$FROM has no list_eval_partition.txt: for testing are the pictures that StarGAN's authors test on"
  fi
  for name in img_align_celeba Img/img_align_celeba; do
    if [ -d "$FROM/$name" ]; then
      cp -RLp "$FROM/$name" "$1/img_align_celeba"
      return
    fi
  done
  path="$(first_of "$FROM"/{,Img/}img_align_celeba.zip)" || die "$FROM has no img_align_celeba and no zip of it"
  unpack "$path" "$PICTURES"
  name="$(find "$PICTURES" -maxdepth 2 -type d -name img_align_celeba -print -quit)"
  [ -n "$name" ] || die "$path holds no img_align_celeba"
  mv "$name" "$1/img_align_celeba"
}

main "$@"
