"""The tables: which question each answers, which configs are its rows, which numbers its columns, and what
papers report. Nothing else needs to change for another table or row.
"""

from dataclasses import dataclass, field

SEEDS, MINUTES = 3, "training, minutes"  # runs of a row; a fact that `compare` knows of every run


@dataclass(frozen=True)
class Row:
    """One system: a config of configs/ with changed keys, or the reason why there is none."""

    label: str
    config: str = ""  # its file's name without .json
    keys: tuple[str, ...] = ()  # key=value
    name: str = ""  # of its run folders, before _s0; the config's name where empty
    why_not: str = ""
    of: str = ""  # the name of another row: its trained runs are tested, with this row's keys of `test`

    @property
    def folder(self) -> str:
        return self.name or self.config


@dataclass(frozen=True)
class Column:
    """Numbers that stand in one cell, by their names in results/metrics.json or among `compare`'s facts. A
    name may be several with | between: a run's first of these counts. Names are those of a config that reads
    pairs from A to B; of one that reads them the other way round they are turned."""

    heading: str
    numbers: tuple[str, ...]
    digits: int = 3  # after the point
    drawn: bool = False  # in the figure


@dataclass(frozen=True)
class Published:
    """What others report, as text by a column's heading, and in what it is not comparable."""

    label: str
    cells: dict[str, str]
    source: str
    apart: str


@dataclass(frozen=True)
class Table:
    question: str
    rows: tuple[Row, ...]
    parts: dict[str, tuple[Column, ...]]  # by title
    published: tuple[Published, ...] = ()
    remarks: tuple[str, ...] = field(default=())


def both(name: str, ways: tuple[str, str] = ("x_to_y", "y_to_x")) -> tuple[str, ...]:
    """A number of either direction, or of either domain; @ stands for it."""
    return tuple(name.replace("@", way) for way in ways)


def fitted(label: str, config: str) -> Row:
    """The runs of that config's row, tested with styles from a mixture fitted to those of training images."""
    return Row(
        f"{label}, its styles' fitted mixture", config, ("test.prior=fitted",), f"{config}_fitted", of=config
    )


PRIORS = ("test.adaptation.styles=prior",)
COST = (
    Column("minutes of training", (MINUTES,), 2),
    Column("iterations", ("tested at iteration",), 0),
    Column("parameters", ("parameters",), 0),
)

# --- Separation

CODES = (
    Column("retrieval by content, x to y, y to x", both("retrieval/shared/@"), 4, True),
    Column("by style", both("retrieval/exclusive/@"), 4),
    Column("domain read from content", ("probe/content/domain",)),
    Column("digit read from content", ("probe/content/digit",)),
    Column("digit read from style", ("probe/style/digit",), 3, True),
    Column("colour of x, of y read from style (R²)", both("probe/style/@_colour", ("x", "y"))),
    Column("probe/gap", ("probe/gap",), 3, True),
)
TRANSLATIONS = (
    Column(
        "digit kept, x to y, y to x",
        both("translation/digit/random/@ | translation/digit/@ | translation/digit/reference/@"),
        3,
        True,
    ),
    Column("digit read, of real y, x", both("translation/digit/real_@", ("y", "x"))),
    Column("error of the reference's colour", both("translation/colour_error/reference/@")),
    Column("diversity, L1", both("diversity/l1/@"), 3, True),
    Column("diversity of real y, x", both("diversity/l1/real_@", ("y", "x"))),
    Column("KID by lite0 (not Inception)", both("kid/lite0/@"), 2, True),
)
NO_ATTRIBUTES = "it learns one domain whose images' attributes are known; here are two domains and none is"


def separation(dataset: str, iiae: str) -> tuple[Row, ...]:
    """Every system on the pairs of one data set, 32 x 32."""
    here = (f"dataset={dataset}", f"path_to_data=data/{dataset}", "resolution=32", "data={}")
    return (
        Row("IIAE", iiae, name="iiae"),
        Row("DRIT", "drit_mnist_m", here, "drit"),
        Row("DRIT++ for many domains (MDMM)", "drit_modes", here, "mdmm"),
        Row("GMVAE-DRIT", "gmvae_drit_modes", here, "gmvae_drit"),
        Row("UNIT", "unit_mnist_m", here, "unit"),
        Row("CycleGAN", "cyclegan_mnist_m", here, "cyclegan"),
        Row("BicycleGAN", "bicyclegan_facades_64", here, "bicyclegan"),
        Row("PairedVAEGAN skip", "paired_vae_gan_facades_64", here, "paired_vae_gan"),
        Row("pix2pix", "pix2pix_facades_64", here, "pix2pix"),
        Row("VAE/GAN", name="vae_gan", why_not=NO_ATTRIBUTES),
    )


SEPARATING = (
    "IIAE, BicycleGAN, PairedVAEGAN and pix2pix are told which images are pairs; the losses of DRIT, MDMM, "
    "GMVAE-DRIT, UNIT and CycleGAN compare no image with its partner. The last three of the former translate "
    "one way. Of these and of CycleGAN the content is the image itself, so they have no numbers of codes.",
    "IIAE's settings were chosen for this very task. The others come from configs for other data of 32 or 64 "
    "pixels and were not tuned here. Digits are kept in random styles where a model draws styles, else in "
    "its only translation.",
)
IIAE_PAPER = Published(
    "IIAE",
    {"retrieval by content, x to y, y to x": "0.997, 0.997", "by style": "0.0001, 0.0001"},
    "[arXiv 2012.04251](https://arxiv.org/abs/2012.04251), MNIST-CDCB",
    "256 x 256, 50,000 iterations on a GPU, digits as the authors draw them",
)

# --- Photographs

A_B = ("A_to_B", "B_to_A")
REALISM = (
    Column("KID by lite0 (not Inception), A to B, B to A", both("kid/lite0/@", A_B), 2, True),
    Column("real against real", both("kid/lite0/real_@", ("B", "A")), 2),
    Column("precision", both("precision/lite0/@", A_B), 2, True),
    Column("recall", both("recall/lite0/@", A_B), 2, True),
    Column("diversity, L1", both("diversity/l1/@", A_B), 2, True),
    Column("of real B, A", both("diversity/l1/real_@", ("B", "A")), 2),
    Column("reconstruction, L1, A, B", both("reconstruction/l1/@", ("A", "B"))),
)
GMVAE_64 = "gmvae_drit_apple2orange_64"
TO_PHOTOGRAPHS = "translation/reference_{}/y_to_x | translation/{}/y_to_x"  # with the true style, if any

TABLES = {
    "separation": Table(
        "Which systems separate what MNIST-CDCB's two domains share from what each has for itself?",
        separation("MNIST-CDCB", "iiae_mnist_32"),
        {"What the codes know": CODES, "What the translations keep": TRANSLATIONS, "Cost": COST},
        (IIAE_PAPER,),
        SEPARATING,
    ),
    "separation_digits": Table(
        "Which systems separate what Digits-CDCB's two domains share? (scikit-learn's digits, no download)",
        separation("Digits-CDCB", "iiae_digits"),
        {"What the codes know": CODES, "What the translations keep": TRANSLATIONS, "Cost": COST},
        remarks=SEPARATING,
    ),
    "adaptation": Table(
        "Do translations of labelled MNIST digits teach a classifier to read MNIST-M?",
        (
            Row("DRIT, references' styles", "drit_mnist_m"),
            Row("DRIT, its own prior's", "drit_mnist_m", PRIORS, "drit_own_prior", of="drit_mnist_m"),
            Row(
                "DRIT, a fitted mixture's",
                "drit_mnist_m",
                (*PRIORS, "test.prior=fitted"),
                "drit_fitted",
                of="drit_mnist_m",
            ),
            Row("UNIT", "unit_mnist_m"),
            Row("CycleGAN", "cyclegan_mnist_m"),
        ),
        {
            "Accuracy on real MNIST-M test digits": (
                Column("source only", ("adaptation/source_only",)),
                Column("1 translation", ("adaptation/x1",), 3, True),
                Column("3", ("adaptation/x3",), 3, True),
                Column("5", ("adaptation/x5",), 3, True),
                Column("target only", ("adaptation/target_only",)),
            ),
            "Cost": COST,
        },
        (
            Published(
                "DRIT",
                {
                    "source only": "0.566",
                    "1 translation": "0.869",
                    "3": "0.902",
                    "5": "0.915",
                    "target only": "0.965",
                },
                "[arXiv 1808.00948](https://arxiv.org/abs/1808.00948)",
                "the authors' MNIST-M, classifier and number of source images",
            ),
            Published(
                "CycleGAN",
                {"source only": "0.566", "1 translation": "0.745", "target only": "0.965"},
                "DRIT's paper",
                "as DRIT's",
            ),
            Published(
                "PixelDA", {"1 translation": "0.959"}, "DRIT's paper", "it learns from the source's labels"
            ),
        ),
        ("Models without styles make one translation of an image.",),
    ),
    "modes": Table(
        "Does a mixture of styles cover five colours of digits better than one Gaussian?",
        (
            Row("GMVAE-DRIT, 5 components", "gmvae_drit_modes"),
            fitted("GMVAE-DRIT", "gmvae_drit_modes"),
            Row("DRIT++ (MDMM), one Gaussian", "drit_modes"),
            fitted("DRIT++ (MDMM)", "drit_modes"),
        ),
        {
            "White digits in random styles": (
                Column("colours covered, of 5", ("modes/covered/white_to_coloured",), 1, True),
                Column("distance from real frequencies", ("modes/distance/white_to_coloured",), 3, True),
                Column("of no colour", ("modes/none/white_to_coloured",), 3, True),
                Column("diversity, L1", ("diversity/l1/white_to_coloured",)),
                Column("reconstruction, L1", ("reconstruction/l1/coloured",)),
            ),
            "Components": (
                Column("NMI with the colours", ("clustering/nmi/coloured/mode",)),
                Column("accuracy", ("clustering/accuracy/coloured/mode",)),
            ),
            "Cost": COST,
        },
        remarks=("A uniform p(y) cannot come closer than 0.2: the frequencies are 0.35 to 0.08.",),
    ),
    "apple2orange": Table(
        "Apples to oranges and back, 64 x 64: does each experiment of GMVAE-DRIT do what it is meant to?",
        (
            Row("CycleGAN", "cyclegan_apple2orange_64"),
            Row("UNIT", "unit_apple2orange_64"),
            Row("DRIT", "drit_apple2orange_64"),
            Row("GMVAE-DRIT, its losses", GMVAE_64),
            Row("with AdaIN", GMVAE_64, ("network.use_adain=1",), "gmvae_drit_adain"),
            Row(
                "with two convolutions for each doubling",
                GMVAE_64,
                ("network.double_layer_ReLUINSConvTranspose=1",),
                "gmvae_drit_double_layer",
            ),
            Row(
                "discriminators at half the rate",
                GMVAE_64,
                ("training.two_time_scale_update_rule=half_discr",),
                "gmvae_drit_half_discr",
            ),
            Row(
                "encoders and generator at twice the rate",
                GMVAE_64,
                ("training.two_time_scale_update_rule=double_gen_enc",),
                "gmvae_drit_double_gen_enc",
            ),
        ),
        {"Translations": REALISM, "Cost": COST},
        remarks=("A: apples, B: oranges. The five last are one config and what is said of each.",),
    ),
    "facades": Table(
        "Facades: whose codes find the partner, and whose photographs look real?",
        (
            Row("IIAE, 128 x 128", "iiae_facades_128"),
            Row("IIAE", "iiae_facades_64"),
            Row("BicycleGAN", "bicyclegan_facades_64"),
            Row("pix2pix", "pix2pix_facades_64"),
            Row("PairedVAEGAN skip", "paired_vae_gan_facades_64"),
            Row("PairedVAEGAN report", "paired_vae_gan_report_64"),
        ),
        {
            "Retrieval: photograph to labels, labels to photograph": (
                Column("by content", both("retrieval/shared/@"), 3, True),
                Column("by style", both("retrieval/exclusive/@")),
            ),
            "Labels to photographs": (
                Column("L1", (TO_PHOTOGRAPHS.replace("{}", "l1"),)),
                Column("PSNR", (TO_PHOTOGRAPHS.replace("{}", "psnr"),), 1),
                Column("SSIM", (TO_PHOTOGRAPHS.replace("{}", "ssim"),), 3, True),
                Column("KID by lite0 (not Inception)", ("kid/lite0/y_to_x",), 2, True),
                Column("real against real", ("kid/lite0/real_x",), 2),
                Column("diversity, L1", ("diversity/l1/y_to_x",), 3, True),
                Column("of real", ("diversity/l1/real_x",)),
                Column("FID by Inception", ("fid/inception/y_to_x",), 1),
            ),
            "Cost": COST,
        },
        tuple(
            Published(label, cells, f"{source}, facades", "256 x 256 on GPUs")
            for label, cells, source in (
                ("IIAE", {"by content": "0.962, 0.991", "by style": "0.009"}, "IIAE's paper, table 9"),
                ("CdDN", {"by content": "0.849, 0.896"}, "IIAE's paper, table 9"),
                ("DRIT", {"by content": "0.311, 0.443"}, "IIAE's paper, table 9"),
                ("pix2pix", {"FID by Inception": "119.1 to 125.0"}, "reports of its public code"),
                ("CycleGAN", {"FID by Inception": "123.6 to 124.8"}, "reports of its public code"),
            )
        ),
        (
            "64 x 64 but for the first row. L1, PSNR and SSIM are in the true photograph's style where the "
            "model has styles; KID is of random ones.",
        ),
    ),
    "cars": Table(
        "Toy cars from the front and from another side: does the content find the same car?",
        (Row("IIAE", "iiae_cars_toy"),),
        {
            "Retrieval": (
                Column("by content, x to y, y to x", both("retrieval/shared/@"), 4, True),
                Column("by style (chance 0.125)", both("retrieval/exclusive/@"), 4, True),
            ),
            "Cost": COST,
        },
    ),
    "digits": Table(
        "The first command's run: are digits and colours of scikit-learn's digits separated?",
        (Row("IIAE", "iiae_digits"),),
        {"What the codes know": CODES, "What the translations keep": TRANSLATIONS, "Cost": COST},
    ),
    "attributes": Table(
        "Digits of known ink, background, width, slant and size: does only what is asked for change?",
        (Row("StarGAN", "stargan_digits"), Row("VAE/GAN", "vae_gan_digits")),
        {
            "Shares of edited digits": (
                Column("has what was asked", ("attributes/asked",), 3, True),
                Column("keeps each other attribute", ("attributes/kept",), 3, True),
                Column("keeps the digit", ("attributes/digit_kept",), 3, True),
                *(
                    Column(f"asked: {name}", (f"attributes/{name}/asked",), 2)
                    for name in ("red", "green", "blue", "light", "thick", "slanted", "large")
                ),
                Column("L1 where nothing is asked", ("attributes/unchanged_l1",)),
                Column("error of a classifier", ("attributes/classification_error/translated",)),
                Column("on real digits", ("attributes/classification_error/real",)),
            ),
            "Cost": COST,
        },
    ),
}
