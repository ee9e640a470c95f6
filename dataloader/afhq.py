"""AFHQ (Choi, Uh, Yoo, Ha: StarGAN v2, CVPR 2020): faces of cats, dogs and wild animals, unpaired; any two as
x and y.
"""

from pathlib import Path

from dataloader.packed import DataError, read_set
from dataloader.sizes import Size, both_sides
from dataloader.unpaired import Unpaired, random_resized_crop_and_flip

HOW = "bash download/afhq.sh"


def open_afhq(
    folder: Path, split: str, size: int | Size, domains: tuple[str, str] = ("cat", "dog")
) -> Unpaired:
    """One split of a preprocessed folder, with these domains; in training cropped, resized and mirrored
    as the IIAE reference does. The stored pictures are squares; of another shape only the middle is seen.
    Raises DataError."""
    meta, arrays = read_set(folder, split, "AFHQ", HOW)
    missing = [domain for domain in domains if domain not in arrays]
    if missing:
        raise DataError(f"{folder} has no {missing[0]}; it has {', '.join(arrays)}")
    resolution = max(both_sides(size))
    if resolution > meta["resolution"]:
        remedy = f"make it again: python dataloader/preprocess_afhq.py --resolution {resolution}"
        raise DataError(f"{folder} is stored at {meta['resolution']}, below {resolution}; {remedy}")
    chosen = {domain: arrays[domain] for domain in domains}
    return Unpaired(chosen, size, augment=random_resized_crop_and_flip)
