"""The section `data`: what belongs to a data set, a class for each. A set's name, the function that opens it
and its keys stand here; its images are made in dataloader/.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator

from configs.keys.common import Data, Flag, Size, Whole

LoadSide = Annotated[Whole, Field(ge=32, le=2048)]
Attribute = Annotated[str, Field(min_length=1)]
LoadSize = LoadSide | Annotated[list[LoadSide], Field(min_length=2, max_length=2)]


def check_load_size(given: int | list[int] | None, size: Size) -> None:
    """That it is no smaller than the images. Raises ValueError."""
    low = (given, given) if isinstance(given, int) else given or size
    if low[0] < min(size) if isinstance(given, int) else low[0] < size[0] or low[1] < size[1]:
        raise ValueError(f"data.load_size of at least the resolution, {list(size)}, not {given}")


def _once(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("each name once")
    return names


def sides(given: int | list[int] | None) -> int | tuple[int, ...] | None:
    """As the openers take it."""
    return tuple(given) if isinstance(given, list) else given


class Paired(Data):
    """What all pairs of pictures take that are augmented."""

    direction: Literal["AtoB", "BtoA"] = "AtoB"
    """AtoB: x is A and y is B; BtoA: the other way round (facades: labels to photographs)."""
    augment: Literal["none", "jitter", "report"] = "jitter"
    """In training, alike for both images of a pair. jitter: resize to load_size, crop at random, mirror, as
    pix2pix; report: then an affine map, brightness, contrast, saturation, sharpness, blur and unsharp mask
    too, as the paired VAE-GAN hybrid's report."""
    load_size: LoadSize | None = None
    """Augmentations resize to this, a number or [height, width], before they crop to the resolution. A number
    is the shorter side of a picture shaped like the resolution. Null: 286/256 of it. Tests show pictures
    whole."""
    flip: Flag = True
    """Whether augmentations mirror, each pair with probability 1/2."""

    def check(self, size: Size) -> None:
        check_load_size(self.load_size, size)

    @property
    def options(self) -> dict[str, Any]:
        return {**self.model_dump(), "load_size": sides(self.load_size)}


class DigitsCDCBData(Data):
    """x: a white digit on a coloured background, y: the same digit coloured on black; scikit-learn's 8 x 8
    digits, made on first use."""

    name: ClassVar[str] = "Digits-CDCB"
    made_by: ClassVar[str] = "itself, on first use"
    opener: ClassVar[str] = "dataloader.cdcb:open_digits"


class MNISTCDCBData(Data):
    """The same pairs from MNIST, packed, or straight from a folder of its four IDX files, of the authors'
    pictures (train/, test/) or of IIAE-Pytorch's (trainX/, trainY/, testX/, testY/)."""

    name: ClassVar[str] = "MNIST-CDCB"
    made_by: ClassVar[str] = "bash download/mnist_cdcb.sh"
    opener: ClassVar[str] = "dataloader.cdcb:open_mnist"

    rendering: Literal["centred", "authors"] = "centred"
    """How digits are drawn. centred: within a margin of 1/16, alike in x and y; authors: as in the pictures
    of the authors' archive, without a margin (digits of 185 of 256 pixels) and in y with strokes 1.2 times as
    thick. Stored pictures are shown as they are."""

    @property
    def options(self) -> dict[str, Any]:
        return self.model_dump()


class CarsData(Data):
    """x: a car from the front, y: the same car from one of 23 other sides."""

    name: ClassVar[str] = "Cars"
    made_by: ClassVar[str] = "bash download/cars.sh (--toy: rendered here, no download)"
    opener: ClassVar[str] = "dataloader.cars:open_cars"


class PairsData(Paired):
    """Pairs of pictures of any size: A and B as halves of one file, trainA and trainB with equal names, or a
    folder for each pair."""

    name: ClassVar[str] = "Pairs"
    made_by: ClassVar[str] = "bash download/pix2pix.sh NAME, or your own folders"
    opener: ClassVar[str] = "dataloader.pairs:open_pairs"

    layout: Literal["auto", "halves", "folders", "pair_folders"] = "auto"
    """halves: files in train/ whose left half is A and right half B; folders: trainA/ and trainB/;
    pair_folders: a folder for each pair in train/, by name B before A; auto: whichever is there."""
    resize: Literal["crop", "squash", "fit"] = "crop"
    """Of pictures of other proportions: crop takes the middle, as large as it can be; squash all of it, out
    of proportion (as pix2pix); fit all of it in proportion, between borders of its edges' colours."""
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    """Of resizing, antialiased (pix2pix: bicubic)."""

    @property
    def shape(self) -> tuple[None, str, str]:
        return None, self.resize, self.filter


class EdgesData(Paired):
    """A: edges, black on white, B: the photograph that they are of; patches of scikit-learn's two
    photographs, made on first use."""

    name: ClassVar[str] = "Edges"
    made_by: ClassVar[str] = "itself, on first use"
    opener: ClassVar[str] = "dataloader.edges:open_edges"


class AFHQData(Data):
    """Faces of animals, two of three kinds; unpaired."""

    name: ClassVar[str] = "AFHQ"
    made_by: ClassVar[str] = "bash download/afhq.sh v2"
    opener: ClassVar[str] = "dataloader.afhq:open_afhq"

    domains: Annotated[list[Literal["cat", "dog", "wild"]], Field(min_length=2, max_length=2)] = Field(
        default=["cat", "dog"]
    )
    """Which are x and y."""

    @field_validator("domains")
    @classmethod
    def _differ(cls, value: list[str]) -> list[str]:
        if len(set(value)) < 2:
            raise ValueError("two different domains")
        return value

    @property
    def options(self) -> dict[str, Any]:
        return {"domains": tuple(self.domains)}


class FoldersData(Data):
    """Folders trainA, trainB ... and testA, testB ... of pictures of any size; unpaired."""

    name: ClassVar[str] = "Folders"
    made_by: ClassVar[str] = "bash download/cyclegan.sh NAME, or your own folders"
    opener: ClassVar[str] = "dataloader.folders:open_folders"

    load_size: LoadSize | None = None
    """Resize to this, a number or [height, width], then crop to the resolution: at random in training, the
    middle otherwise (DRIT: 256 to 216). A number is the shorter side of a picture shaped like the resolution.
    Null: no crop."""
    resize: Literal["crop", "squash", "fit"] = "crop"
    """Of pictures of other proportions: crop takes the middle, as large as it can be; squash all of it, out
    of proportion (as DRIT's authors); fit all of it in proportion, between borders of its edges' colours."""
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    """Of resizing, antialiased (DRIT's authors: bicubic)."""

    def check(self, size: Size) -> None:
        check_load_size(self.load_size, size)

    @property
    def options(self) -> dict[str, Any]:
        return {"load_size": sides(self.load_size), "resize": self.resize, "filter": self.filter}

    @property
    def shape(self) -> tuple[int | tuple[int, ...] | None, str, str]:
        return sides(self.load_size), self.resize, self.filter


class MnistMData(Data):
    """MNIST against digits blended into photographs; unpaired."""

    name: ClassVar[str] = "MNIST-M"
    made_by: ClassVar[str] = "bash download/mnist_m.sh (--photos DIR: from your own photographs)"
    opener: ClassVar[str] = "dataloader.mnist_m:open_mnist_m"


class ColourModesData(Data):
    """White digits against digits in five colours of unequal frequencies; unpaired."""

    name: ClassVar[str] = "Colour-Modes"
    made_by: ClassVar[str] = "itself, on first use, or from MNIST's IDX files"
    opener: ClassVar[str] = "dataloader.colour_modes:open_colour_modes"


class AttributesData(Data):
    """Pictures of which it is known what each has and has not: CelebA, DeepFashion, or a folder with a table;
    one domain."""

    name: ClassVar[str] = "Attributes"
    made_by: ClassVar[str] = "bash download/celeba.sh, bash download/deepfashion.sh, or your own folder"
    opener: ClassVar[str] = "dataloader.attributes:open_attributes"

    attributes: Annotated[list[Attribute], Field(min_length=1), AfterValidator(_once)] | None = None
    """Which attributes of the table count, in this order. Null: all; of CelebA StarGAN's five, Black_Hair,
    Blond_Hair, Brown_Hair, Male and Young."""
    exclusive: list[Annotated[list[Attribute], Field(min_length=2), AfterValidator(_once)]] | None = None
    """Groups of attributes of which a picture has one, such as colours of hair: to give it one is to take the
    others. Null: what is known of the set (CelebA: hair colours; DeepFashion: sexes, garments and views)."""
    crop: Annotated[Whole, Field(ge=1, le=16384)] | None = None
    """Cut the middle square of this many pixels out of a picture before it is resized (StarGAN's CelebA:
    178). Null: no cut."""
    resize: Literal["crop", "squash", "fit"] = "crop"
    """Of pictures of other proportions: crop takes the middle, as large as it can be; squash all of it, out
    of proportion; fit all of it in proportion, between borders of its edges' colours."""
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    """Of resizing, antialiased."""
    flip: Flag = True
    """Whether training mirrors each picture with probability 1/2."""

    def check(self, size: Size) -> None:
        named = [name for group in self.exclusive or () for name in group]
        for name in named:
            if named.count(name) > 1 or name not in (self.attributes or named):
                raise ValueError(f"data.exclusive of attributes that count, each in one group, not {name}")

    @property
    def options(self) -> dict[str, Any]:
        return self.model_dump()


class DigitsAttributesData(Data):
    """Digits whose ink, background, width of stroke, slant and size are drawn independently and known; one
    domain."""

    name: ClassVar[str] = "Digits-Attributes"
    made_by: ClassVar[str] = "itself, on first use, or from MNIST's IDX files"
    opener: ClassVar[str] = "dataloader.digits_attributes:open_digits_attributes"


DATASETS: dict[str, type[Data]] = {
    value.name: value
    for value in list(vars().values())
    if isinstance(value, type) and issubclass(value, Data) and hasattr(value, "name")
}
