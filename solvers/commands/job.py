"""What `translate` is asked to do, as far as the model can: from which domain to which, in which styles."""

import shlex
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from configs.load import show
from dataloader.cache import Shape
from dataloader.dataset import stored_pictures
from dataloader.packed import DataError
from dataloader.packing import read_picture
from dataloader.sizes import load_sides
from models.translator import Translator
from solvers.commands.inputs import Placed, placed, untouched
from solvers.commands.opened import ABOUT, Opened, open_run
from solvers.evaluation.prior import kept_prior, with_mixtures
from solvers.visualization.interpolation import FRAMES, Ends

LONGEST_TITLE = 24  # characters


@dataclass
class Job:
    """What is asked for: `styles` [K, ...] (None where the model takes none) with a title each; of attributes
    what to set (`want`), to 0 or 1 by number, and what a picture `has`."""

    opened: Opened
    source: int
    target: int
    fit: str
    batch: int
    styles: Tensor | None = None
    titles: list[str] = field(default_factory=list)
    ends: Ends | None = None
    want: dict[int, int] | None = None
    has: dict[int, int] = field(default_factory=dict)

    @property
    def model(self) -> Translator:
        return self.opened.model

    @property
    def shape(self) -> Shape:
        """How a picture comes to the size that the model takes."""
        config = self.opened.config
        load, resize, filter = config.data.shape
        if self.fit in ("data", "tile"):
            return Shape(load_sides(load, config.size), resize, filter)
        return Shape(config.size, {"pad": "fit"}.get(self.fit, self.fit), filter)

    def placed(self, picture: Image.Image) -> Placed:
        """The picture as the model sees it; as it is where that is window by window."""
        if self.fit == "tile":
            return untouched(picture)
        return placed(picture, self.opened.config.size, self.shape)

    def images(self, pictures: list[Placed]) -> Tensor:
        """[B, 3, H, W] in [-1, 1], on the device."""
        pixels = torch.from_numpy(np.stack([one.pixels for one in pictures])).to(self.opened.device)
        return stored_pictures(pixels, self.opened.config.size)

    def translations(self, images: Tensor) -> Iterator[Tensor]:
        """`images` [B, 3, H, W] with each of the styles, one after the other."""
        if self.want is not None:
            have = torch.zeros(len(images), len(self.model.attributes), device=images.device)
            for number, value in self.has.items():
                have[:, number] = value
            want = have.clone()
            for number, value in self.want.items():
                want[:, number] = value
            yield self.model.edit(images, self.source, have, want)
            return
        content = self.model.encode_content(images, self.source)
        for style in self.styles if self.styles is not None else (None,):
            yield self.decode(content, style)

    def in_style(self, images: Tensor, number: int) -> Tensor:
        """`images` in the style of this number alone."""
        if self.styles is None:
            return next(self.translations(images))
        return self.decode(self.model.encode_content(images, self.source), self.styles[number])

    def decode(self, content: Tensor, style: Tensor | None) -> Tensor:
        spread = None if style is None else style.expand(len(content), *style.shape)
        return self.model.decode(content, spread, self.target)


def make_job(options: Namespace) -> Job:
    """Raises DataError where the model cannot do it, and what opening a run raises."""
    opened = open_run(options.where, options.iteration, options.device)
    model = opened.model
    if not model.has_content:
        raise DataError("this model has no content codes, so it translates nothing")
    source, target = direction(model, options.source, options.target)
    if options.fit == "tile" and not model.fully_convolutional:
        raise DataError(f"--fit tile: {opened.config.model} needs the whole picture at once; use crop or pad")
    if options.fit == "tile" and options.interpolate:
        raise DataError("--fit tile makes no GIFs; use crop or pad with --interpolate")
    batch = options.batch or opened.config.test.batch_size
    job = Job(opened, source, target, options.fit, batch)
    add_styles(job, options)
    return job


def direction(model: Translator, source: str | None, target: str | None) -> tuple[int, int]:
    """The (source, target) that these names mean, or the only one that is left. Raises DataError."""
    left = list(model.directions)
    for end, name, word in ((0, source, "--from"), (1, target, "--to")):
        if name is not None:
            if name not in model.domains:
                raise DataError(f"{word}: got {show(name)}; allowed: {', '.join(model.domains)}")
            left = [pair for pair in left if pair[end] == model.domains.index(name)]
    if len(left) == 1:
        return left[0]
    ways = ", ".join(f"{model.domains[a]} to {model.domains[b]}" for a, b in left or model.directions)
    if not left:
        raise DataError(f"the model does not translate so; it does {ways}")
    raise DataError(f"from which domain to which? Give --from and --to; there are {ways}")


def add_styles(job: Job, options: Namespace) -> None:
    """The styles that the options ask for, or one of the prior. Raises DataError."""
    model = job.model
    there = model.domains[job.target]
    if options.prior and (options.attribute or options.has or options.style or options.interpolate):
        raise DataError("--prior goes with --random")
    if options.attribute or options.has:
        ask_for_attributes(job, options)
    elif options.style or options.interpolate:
        if not model.has_style:
            raise DataError(f"this model takes no style of a picture ({why(model)})")
        paths = options.style or options.interpolate
        images = torch.cat([as_seen(job, path) for path in paths])
        codes = torch.cat([model.encode_style(image[None], job.target) for image in images])
        if options.interpolate:
            job.ends = Ends(codes[:1], codes[1:], (images[0], images[1]))
            shares = np.linspace(0, 1, FRAMES)
            job.styles = torch.cat([job.ends.between(float(share)) for share in shares])
            job.titles = [f"{100 * share:.0f} %" for share in shares]
        else:
            job.styles, job.titles = codes, [f"style of {title(path.name)}" for path in paths]
    elif model.has_style_prior or options.prior == "fitted":
        model = with_kept_prior(job) if options.prior == "fitted" else model
        count = options.random or 1
        generator = torch.Generator().manual_seed(seed_of(options, job.opened))
        job.styles = model.sample_style(count, job.target, generator)
        job.titles = [f"random style {number}" for number in range(1, count + 1)]
    elif options.random:
        raise DataError(f"this model has no styles to draw from ({why(model)})")
    elif model.attributes:
        raise DataError(f"which attributes? Give --attribute NAME=1; there are {', '.join(model.attributes)}")
    elif model.takes_style:
        raise DataError(f"in which style? Give --style IMAGE, a picture of {there}")
    else:
        job.titles = [f"as {there}"]


def with_kept_prior(job: Job) -> Translator:
    """The model with the prior that test mode fitted to these weights and kept. Raises DataError."""
    where = job.opened.where
    if (where / ABOUT).is_file():
        raise DataError("--prior fitted: what `export` made holds no fitted prior; give the run's folder")
    run = where if where.is_dir() else where.parent.parent
    found = kept_prior(job.model, run / "results")
    if found is None:
        how = shlex.join([str(run / "config.json"), "train=0", "test.prior=fitted", f"run_dir={run}"])
        raise DataError(f"--prior fitted: none was fitted to this checkpoint; make it with: main.py {how}")
    return with_mixtures(job.model, found)


def ask_for_attributes(job: Job, options: Namespace) -> None:
    names = job.model.attributes
    if not names:
        raise DataError("this model knows no attributes")
    if not options.attribute:
        raise DataError("--has goes with --attribute")
    chosen = []
    for word, given in (("--attribute", options.attribute), ("--has", options.has or ())):
        values: dict[int, int] = {}
        for name, value in given:
            if name not in names:
                raise DataError(f"{word}: got {show(name)}; allowed: {', '.join(names)}")
            for group in job.opened.facts["exclusive_attributes"]:
                if value and names.index(name) in group:  # it has exactly one of these
                    values |= dict.fromkeys(group, 0)
            values[names.index(name)] = value
        chosen.append(values)
    job.want, job.has = chosen
    job.titles = [" ".join(f"{name}={value}" for name, value in options.attribute)]


def why(model: Translator) -> str:
    return "; ".join(model.missing.values()) or "see --help for what else there is"


def seed_of(options: Namespace, opened: Opened) -> int:
    return opened.config.seed if options.seed is None else options.seed


def as_seen(job: Job, path: Path) -> Tensor:
    """The picture of a style as the model sees it: [1, 3, H, W]. Raises DataError."""
    if not path.exists():
        raise DataError(f"{path} does not exist")
    return job.images([placed(read_picture(path), job.opened.config.size, job.shape)])


def title(name: str) -> str:
    """A name as it can be drawn: one line, not too long."""
    plain = "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "?" for c in name)
    return plain if len(plain) <= LONGEST_TITLE else f"{plain[: LONGEST_TITLE - 4]}...{plain[-1]}"
