"""What every model's config has in common: the kinds of values, training, test mode, network and the
experiment itself. Each model's module beside this one adds its own.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)


def _whole(value: Any) -> Any:
    """Let a whole number be written 1e6; leave everything else to the strict check that follows."""
    if isinstance(value, int | float) and abs(value) >= 1e15 and value == value:
        raise ValueError("a whole number of at most 15 digits")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _flag(value: Any) -> Any:
    """Let 0 and 1 stand for false and true, as the sample configs write them."""
    return bool(value) if isinstance(value, int) and value in (0, 1) else value


def _resolution(value: Any) -> Any:
    """Images have sides of 32 to 1024 pixels."""
    sides = [_whole(side) for side in (value if isinstance(value, list) else [value])]
    right = all(type(side) is int and 32 <= side <= 1024 for side in sides)
    if not right or len(sides) != (2 if isinstance(value, list) else 1):
        raise ValueError("a whole number from 32 to 1024, or [height, width] of such")
    return sides if isinstance(value, list) else sides[0]


def _path(value: str) -> str:
    """What the shell does not do within a word: ~ is the home folder."""
    sizes = [len(part.encode(errors="surrogatepass")) for part in Path(value).parts]
    if max(sizes, default=0) > 255 or sum(sizes) > 4000 or "\0" in value:
        raise ValueError("a path of names that have at most 255 bytes each")
    try:
        return str(Path(value).expanduser()) if value.startswith("~") else value
    except RuntimeError:  # no such user, or no home
        return value


def _multiples(step: int) -> Callable[[int | list[int]], int | list[int]]:
    """Of images whose sides a network halves evenly."""

    def check(value: int | list[int]) -> int | list[int]:
        if any(side % step for side in size_of(value)):
            raise ValueError(f"a multiple of {step} from 32 up, or [height, width] of such")
        return value

    return check


Whole = Annotated[int, BeforeValidator(_whole, json_schema_input_type=int)]
Count = Annotated[Whole, Field(ge=1)]
Flag = Annotated[bool, BeforeValidator(_flag, json_schema_input_type=bool | Literal[0, 1])]
Iterations = Annotated[Whole, Field(ge=0)]
Iteration = Iterations | Literal["latest"]
Weight = Annotated[float, Field(ge=0)]
Side = Annotated[int, Field(ge=32, le=1024)]
Sides = Annotated[list[Side], Field(min_length=2, max_length=2)]
Resolution = Annotated[int | list[int], BeforeValidator(_resolution, json_schema_input_type=Side | Sides)]
MultiplesOf4 = Annotated[Resolution, AfterValidator(_multiples(4))]
MultiplesOf8 = Annotated[Resolution, AfterValidator(_multiples(8))]
MultiplesOf16 = Annotated[Resolution, AfterValidator(_multiples(16))]
Place = Annotated[str, AfterValidator(_path)]
Folder = Annotated[str, Field(min_length=1), AfterValidator(_path)]
Size = tuple[int, int]  # height, width


class Section(BaseModel):
    """Strict: no unknown keys, no guessed types, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Training(Section):
    """What every model's training takes."""

    max_iters: Count = 50_000
    """Train until this iteration."""
    resume_iters: Iteration = 0
    """0 starts anew; N or "latest" goes on from that checkpoint, bit for bit as if it had never stopped."""
    restored_model_path: Place = ""
    """Where resume_iters looks: a run folder, its models/ folder, a .pt file, or a public .pth file or
    folder of such. Empty: run_dir, or the newest run of this id."""
    batch_size: Count = 16
    """Images (pairs, for paired data) per iteration, over all processes together."""
    accumulate: Count = 1
    """Equal parts that an iteration's batch is taken in, one after the other, with gradients averaged: memory
    for a part alone, for more time. The step is that of the whole batch to rounding, but for what is no mean
    over images: BatchNorm's statistics and mode seeking are of each part, images swap attributes and places
    within one, and its noise is another draw of the same distribution."""
    sync_batchnorm: Flag = True
    """Of several processes: BatchNorm takes the statistics of the whole batch, as one process does, rather
    than those of each one's share."""
    activation_checkpointing: Flag = False
    """1: residual blocks and the like keep their inputs alone for the backward pass, which computes the rest
    again, bit for bit: less memory for more time. Not with BatchNorm, nor with compile."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of an exponential moving average of the model's weights, such as 0.999; 0: off. Samples,
    validation, tests and exports then take the averaged weights, which checkpoints hold beside the others. At
    iteration n the decay is (1 + n) / (10 + n) where that is less."""
    lr: Annotated[float, Field(gt=0)] = 2e-4
    """Learning rate of Adam."""
    weight_decay: Weight = 0.0
    """Adam's: this times each weight is added to its gradient."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Adam's decay of the gradients' running mean."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Adam's decay of the squared gradients' running mean."""
    lr_schedule: Literal["milestones", "cosine", "linear"] = "milestones"
    """milestones: times scheduler_gamma at each; cosine: to zero at max_iters; linear: constant, then to
    zero over the second half."""
    milestones: Annotated[list[Iterations], Field(max_length=100)] = []
    """Iterations at which the learning rate is multiplied by scheduler_gamma."""
    scheduler_gamma: Annotated[float, Field(gt=0, le=10)] = 0.5
    """What each milestone multiplies the learning rate by."""
    print_freq: Count = 100
    """Iterations between two lines of losses (console, TensorBoard, metrics.jsonl)."""
    sample_freq: Count = 2000
    """Iterations between two sample grids."""
    model_save_freq: Count = 5000
    """Iterations between two checkpoints."""
    keep_checkpoints: Annotated[Whole, Field(ge=0)] = 0
    """Keep only this many newest checkpoints, and the best where validation chooses one; 0 keeps all."""
    validation_freq: Annotated[Whole, Field(ge=0)] = 0
    """Iterations between two measurements on data that training does not see: the set's split val, or a share
    of its training split. Each new best is saved. 0: never, and training sees all."""
    validation_share: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Of the training split, held out where there is no split val; at most 2,000 items. It is the same for
    every seed."""
    validate_: list[str] | None = Field(None, alias="validate")
    """Families of numbers that validation measures, as test.metrics names them. Null: retrieval and
    reconstruction, where model and data allow."""
    best_by: Annotated[str, Field(min_length=1)] | None = None
    """The number that says which checkpoint is best, or how several begin, such as retrieval/shared: their
    mean. Null: retrieval/shared, else reconstruction/l1."""

    @model_validator(mode="after")
    def _path_and_iteration_go_together(self) -> Self:
        if self.restored_model_path and self.resume_iters == 0:
            raise ValueError(
                "no restored_model_path while training.resume_iters is 0; set that to an iteration or latest"
            )
        return self


class Adaptation(Section):
    """Domain adaptation in test mode (DRIT): a classifier trained on translated, labelled source images and
    tested on real target images, beside one trained on source images and one on target images."""

    enabled: Flag | None = None
    """Null: where the data are unpaired and both domains know the label."""
    label: Annotated[str, Field(min_length=1)] = "digit"
    """What is classified. The target's training labels are seen by adaptation/target_only alone."""
    source: str = ""
    """The labelled domain, by the data set's name for it. Empty: the first."""
    target: str = ""
    """The domain it is adapted to. Empty: the first other one."""
    styles: Literal["prior", "reference"] = "prior"
    """Of the translations: drawn from the model's prior, or encoded from random target training images. A
    model without styles makes one translation of each image."""
    images: Annotated[Whole, Field(ge=0)] = 20_000
    """Training images that each classifier has (before translations are counted), drawn at random; 0: all."""
    iterations: Count = 2_000
    """Of each classifier."""
    batch_size: Annotated[Whole, Field(ge=2)] = 64
    """Of each classifier."""


class Test(Section):
    """Test mode: which checkpoint, and how."""

    test_iters: Iteration = "latest"
    """Which checkpoint of test_path."""
    batch_size: Count = 64
    """Images that go through the networks at once."""
    select: Literal["last", "best"] = "last"
    """Which checkpoint is tested where test_iters is latest, and after training: the last, or the best on
    validation data."""
    test_path: Place = ""
    """A run folder, its models/ folder, a .pt file, or a public .pth file or folder of such. Empty: run_dir,
    or the newest run of this id."""
    after_training: Flag = True
    """When training ends, test the checkpoint that select says."""
    lpips: Flag = False
    """Diversity by LPIPS too: needs torchmetrics, torchvision and AlexNet's pretrained weights."""
    metrics: list[str] | None = None
    """Families of numbers, by name: retrieval, reconstruction, probes, clustering, translation, attributes,
    realism, sharpness, diversity, modes, adaptation. Null: all that model and data allow; [] none."""
    classifier_iterations: Count = 1_000
    """Of the classifier of real images that judges translations; trained once per data set and resolution."""
    extractors: list[Literal["inception", "lite0", "classifier"]] | None = None
    """Whose features FID, KID, precision and recall are measured by: Inception, EfficientNet-Lite0, the data
    set's own classifier. Null: all that are there; [] none."""
    inception: str = ""
    """The file of Inception's weights for FID (pt_inception-2015-12-05-6726825d.pth); nothing is fetched.
    It needs torch-fidelity."""
    realism_images: Annotated[Whole, Field(ge=10)] = 1_000
    """Real and translated images of each direction that FID, KID, precision and recall take, at most."""
    prior: Literal["model", "fitted"] = "model"
    """What random styles are drawn from: the model's own prior, or a mixture of Gaussians fitted after
    training to the styles of training images (arXiv 1903.12436). For models that encode styles."""
    prior_images: Annotated[Whole, Field(ge=2)] = 3_000
    """With prior fitted: training images of each domain that it is fitted to, at most, evenly spread."""
    prior_components: Count | None = None
    """With prior fitted: how many Gaussians. Null: by the Bayesian information criterion, from 1 to 20, also
    where the model's own prior is a mixture."""
    adaptation: Adaptation = Field(default_factory=Adaptation)


class Data(Section):
    """What belongs to the data set: every set has a class of its own in data.py; `dataset` picks it."""

    opener: ClassVar[str] = ""  # "module:function" (folder, split, size, **these keys) -> one split

    def check(self, size: Size) -> None:
        """Whether these keys go with images of this size. Raises ValueError that says what is allowed."""

    @property
    def options(self) -> dict[str, Any]:
        """What the opener takes beside folder, split and size."""
        return {}

    @property
    def shape(self) -> tuple[int | tuple[int, ...] | None, str, str]:
        """How a picture becomes an image in tests: load_size, of which the middle is taken, None for the
        images' own; resize and filter, as in FoldersData."""
        return None, "crop", "bilinear"


class Network(Section):
    """What every model's networks take; each model adds its own."""


class Config(Section):
    """One experiment. Every model has a class of its own; `model` picks it."""

    solver: ClassVar[str]  # "module:class" of what learns it

    schema_: str | None = Field(None, alias="$schema", exclude=True)
    """The JSON Schema, by which editors complete and check the config; ignored here."""
    id: Annotated[str, Field(min_length=1, max_length=100)]
    """The experiment's name; part of its run folder's name."""
    model: str
    """What is trained or tested; it decides which keys training and network have."""
    dataset: str
    """What it learns from; it decides which keys data has."""
    path_to_data: Place = ""
    """The data set's folder. Empty: data/<dataset>."""
    train: Annotated[
        Literal[0, 1], BeforeValidator(lambda v: int(v) if isinstance(v, bool) else _whole(v))
    ] = 1
    """1 trains (then tests), 0 tests."""
    resolution: Resolution = 256
    """Of the images, in pixels: a number for squares, or [height, width]."""
    data: Data = Field(default_factory=Data)
    run_dir: Folder | None = None
    """Exactly this run folder. Default: <output_dir>/<date>_<time>_<id>."""
    output_dir: Folder = "runs"
    """Where the dated run folders go."""
    seed: Annotated[Whole, Field(ge=0, lt=2**31)] = 0
    """Of all that is random: first weights, order of the data, draws in training and in test mode."""
    device: Annotated[
        str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$", examples=["auto", "cpu", "cuda", "cuda:1"])
    ] = "auto"
    """auto takes the GPU where there is one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the networks in training; losses and test mode are always float32. auto: bf16 on GPUs and processors
    that compute in it, else fp32; a resumed run keeps what its checkpoint was trained in."""
    compile: Flag = False
    """Compile the networks with torch.compile: slow to start, then faster."""
    workers: Annotated[Whole, Field(ge=0, le=64)] = 1
    """Threads that read ahead; 0 reads in the training loop."""
    threads: Annotated[Whole, Field(ge=0, le=1024)] = 0
    """CPU threads for the networks, at most as many as cores that this process may use (by its affinity and
    its control group); 0: all of these that other programs leave free when training begins, shared by
    torchrun's processes, or OMP_NUM_THREADS. A run that goes on, and its tests, keep the number."""
    versions: dict[str, str] | None = None
    """Written into a run's config.json; ignored when read."""
    differs_from_paper: list[str] | None = None
    """Written into a run's config.json, with what these keys make different from the paper; ignored when
    read."""

    training: Training = Field(default_factory=Training)
    network: Network = Field(default_factory=Network)
    test: Test = Field(default_factory=Test)

    def differences(self) -> list[str]:
        """What these keys make different from the model's paper, a line each, as far as that is known."""
        return []

    @field_validator("id")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        if any(c in value for c in '/\\:*?"<>|\0\n') or value.startswith("."):
            raise ValueError("letters, digits, '.', '_', '-' and spaces, since it names a folder")
        if len(value.encode(errors="surrogatepass")) > 200:
            raise ValueError("at most 200 bytes, since it names a folder")
        return value

    @model_validator(mode="after")
    def _data_fit_the_size(self) -> Self:
        self.data.check(self.size)
        return self

    @model_validator(mode="after")
    def _compiled_networks_choose_what_to_keep(self) -> Self:
        if self.compile and self.training.activation_checkpointing:
            raise ValueError("compile 0 with training.activation_checkpointing: it has a choice of its own")
        return self

    @property
    def size(self) -> Size:
        """Height and width of the images, in pixels."""
        return size_of(self.resolution)

    @property
    def data_folder(self) -> str:
        return self.path_to_data or f"data/{self.dataset}"


def size_of(resolution: int | list[int]) -> Size:
    """Height and width of a resolution as a config gives it."""
    return (resolution, resolution) if isinstance(resolution, int) else (resolution[0], resolution[1])
