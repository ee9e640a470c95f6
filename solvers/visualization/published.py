"""Numbers that papers give for what a config does, by the names that they have here."""

from pathlib import Path
from typing import NamedTuple

from configs.keys.common import Config


class Published(NamedTuple):
    value: float
    source: str


IIAE, PIX2PIX = "IIAE's paper, 256 x 256", "pix2pix at 256 x 256; 119 to 125"
FACTS: dict[tuple[str, str], dict[str, Published]] = {  # by model and data set, or the name of its folder
    ("IIAE", "MNIST-CDCB"): {
        "retrieval/shared/x_to_y": Published(0.997, IIAE),
        "retrieval/shared/y_to_x": Published(0.997, IIAE),
        "retrieval/exclusive/x_to_y": Published(0.0001, IIAE),
        "retrieval/exclusive/y_to_x": Published(0.0001, IIAE),
    },
    ("IIAE", "facades"): {  # x: photographs
        "retrieval/shared/x_to_y": Published(0.962, f"{IIAE}, table 9"),
        "retrieval/shared/y_to_x": Published(0.991, f"{IIAE}, table 9"),
    },
    ("pix2pix", "facades"): {"fid/inception/y_to_x": Published(119.1, PIX2PIX)},
    ("DRIT", "MNIST-M"): {
        f"adaptation/{name}": Published(value, "DRIT's paper")
        for name, value in {
            "source_only": 0.566,
            "x1": 0.869,
            "x3": 0.902,
            "x5": 0.915,
            "target_only": 0.965,
        }.items()
    },
    ("DRIT", "summer2winter_yosemite"): {
        "diversity/lpips/B_to_A": Published(0.424, "DRIT's paper, 216 x 216"),
    },
    ("CycleGAN", "horse2zebra"): {"fid/inception/A_to_B": Published(77.2, "CycleGAN at 256 x 256")},
}


def published(config: Config) -> dict[str, Published]:
    """By the names of numbers; pairs that are read the other way round change names."""
    names = {config.dataset, Path(config.data_folder).name}
    found = {key: it for name in sorted(names) for key, it in FACTS.get((config.model, name), {}).items()}
    if getattr(config.data, "direction", "AtoB") == "BtoA":
        swap = {"x_to_y": "y_to_x", "y_to_x": "x_to_y"}
        return {"/".join(swap.get(part, part) for part in key.split("/")): it for key, it in found.items()}
    return found
