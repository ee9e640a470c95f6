"""A person's own pictures, translated by a finished run: a PNG each, a labelled grid, and a file that says
what was done."""

import json
import shutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from configs.load import show
from dataloader.cache import Shape, shaped
from dataloader.dataset import stored_pictures
from dataloader.packed import DataError
from solvers.commands.inputs import Input, Placed, find_inputs, frame_time, frames, save_moving
from solvers.commands.job import Job, make_job, seed_of, title
from solvers.commands.outputs import Names, check_output, output_folder
from solvers.commands.tiles import batched, translate_tiled
from solvers.commands.words import said
from solvers.run.folder import write_whole
from solvers.visualization.grids import draw_grid, save_png, to_uint8
from solvers.visualization.interpolation import save_gif, small

MARK = "translate.json"
GRID_ROWS, GRID_COLUMNS = 16, 12  # at most
LONGEST_TITLE = 24  # characters


@dataclass
class Done:
    """What was made so far."""

    pictures: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    rows: list[tuple[str, list[Tensor]]] = field(default_factory=list)


def run(options: Namespace) -> int:
    """Exit status: 1 where a picture could not be read. Raises DataError and what opening a run raises."""
    output = options.output
    inputs = find_inputs(options.inputs, output)
    check_output(output, options.force, MARK, [one.path for one in inputs])
    job = make_job(options)
    done, names = Done(), Names()
    for name in (MARK, "grid.png"):
        names.taken.add(name)
    with output_folder(output, options.force, MARK) as work, torch.inference_mode():
        with tqdm(total=len(inputs), unit="", disable=None) as bar:
            for one in in_batches(inputs, job, work, names, done):
                bar.update(one)
        if not done.pictures:
            raise DataError(f"none of {len(inputs)} can be read; the first: {done.left_out[0]['why']}")
        save_png(grid(job, done), work / "grid.png")
        write_whole(work / MARK, json.dumps(report(job, options, done), indent=2) + "\n")
    here, there = (show(job.model.domains[d])[1:-1] for d in (job.source, job.target))
    count = sum(len(picture["outputs"]) for picture in done.pictures)
    print(f"{len(done.pictures):,} from {here} to {there}, {count:,} files; see {output / 'grid.png'}")
    for one in done.left_out:
        print(f"left out: {' '.join(one['why'].split())}", file=sys.stderr)
    return 1 if done.left_out else 0


def report(job: Job, options: Namespace, done: Done) -> dict[str, Any]:
    opened = job.opened
    return {
        "run": str(opened.where),
        "id": opened.config.id,
        "model": opened.config.model,
        "checkpoint": {"iteration": opened.iteration, **opened.choice},
        "from": job.model.domains[job.source],
        "to": job.model.domains[job.target],
        "fit": job.fit,
        "seed": seed_of(options, opened),
        "columns": job.titles,
        "options": said(options),
        "pictures": done.pictures,
        "left_out": done.left_out,
    }


# --- Doing it


def in_batches(inputs: list[Input], job: Job, work: Path, names: Names, done: Done) -> Iterator[int]:
    """Translate everything; yields how many inputs are finished, time and again."""
    still = (one for one in inputs if not one.may_move)
    for block in batched(still, 1 if job.fit == "tile" else job.batch):
        read = []
        for one in block:
            try:
                read.append((one, job.placed(next(frames(one)))))
            except DataError as error:
                leave_out(one, error, done)
        if read:
            save_still(read, job, work, names, done)
        yield len(block)
    for one in inputs:
        if one.may_move:
            try:
                save_frames(one, job, work, names, done)
            except DataError as error:
                leave_out(one, error, done)
            yield 1


def leave_out(one: Input, error: DataError, done: Done) -> None:
    done.left_out.append({"input": str(one.path), "why": str(error)})


def save_still(read: list[tuple[Input, Placed]], job: Job, work: Path, names: Names, done: Done) -> None:
    """A PNG of each picture in each style, or a GIF of each."""
    made = made_of([seen for _, seen in read], job)
    for (one, seen), results in zip(read, made):
        if job.ends is not None:
            place = names.new(one.place, [".gif"])
            largest = max(job.opened.config.size)
            pixels = [np.asarray(seen.back(result, largest)) for result in results]
            save_gif(pixels + pixels[-2:0:-1], parent_made(work / f"{place}.gif"))
            outputs = [f"{place}.gif"]
        else:
            endings = endings_of(len(results))
            place = names.new(one.place, [f"{ending}.png" for ending in endings])
            outputs = [f"{place}{ending}.png" for ending in endings]
            for result, name in zip(results, outputs):
                save_png(np.asarray(seen.back(result)), parent_made(work / name))
        done.pictures.append({"input": str(one.path), "size": list(seen.own), "outputs": outputs})
        add_row(one, seen, results, job, done)


def save_frames(one: Input, job: Job, work: Path, names: Names, done: Done) -> None:
    """Of each style a folder of PNG files, one for each frame, and a GIF or a video of them. Of a file that
    breaks off, what was made so far is removed. Raises DataError."""
    if job.ends is not None:
        raise DataError(f"{one.path}: --interpolate takes pictures that do not move")
    kind = ".mp4" if one.is_video else ".gif"
    endings = endings_of(len(job.titles))
    place = names.new(one.place, [text for ending in endings for text in (ending, f"{ending}{kind}")])
    folders = [parent_made(work / f"{place}{ending}" / "0").parent for ending in endings]
    count = 0
    try:
        for block in batched(map(job.placed, frames(one)), 1 if job.fit == "tile" else job.batch):
            for seen, results in zip(block, made_of(block, job)):
                count += 1
                if count == 1:
                    first = (seen, results)
                for folder, result in zip(folders, results):
                    save_png(np.asarray(seen.back(result)), folder / f"{count:06d}.png")
        if not count:
            raise DataError(f"{one.path}: there is no picture in it")
        for folder in folders:
            moving = folder.with_name(f"{folder.name}{kind}")
            save_moving(sorted(folder.iterdir()), moving, frame_time(one))
    except DataError:
        for folder in folders:
            shutil.rmtree(folder)
        raise
    outputs = [f"{place}{ending}{end}" for ending in endings for end in (kind, "/")]
    size = list(first[0].own)
    done.pictures.append({"input": str(one.path), "size": size, "frames": count, "outputs": outputs})
    add_row(one, *first, job, done)


def endings_of(count: int) -> list[str]:
    return [""] if count == 1 else [f"_{number}" for number in range(1, count + 1)]


def parent_made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def made_of(pictures: list[Placed], job: Job) -> Iterator[list[np.ndarray]]:
    """Of each picture its translations, uint8 [H, W, 3] as the model makes them."""
    size, device = job.opened.config.size, job.opened.device
    if job.fit == "tile":
        for one in pictures:
            ways = [partial(job.in_style, number=number) for number in range(len(job.titles))]
            yield [translate_tiled(one.pixels, way, size, job.batch, device) for way in ways]
        return
    results: list[list[np.ndarray]] = [[] for _ in pictures]
    for images in job.translations(job.images(pictures)):
        for mine, image in zip(results, images):
            mine.append(to_uint8(image))
    yield from results


# --- The grid


def columns_of(job: Job) -> list[int]:
    """Which results the grid shows."""
    count = len(job.titles)
    return np.linspace(0, count - 1, min(count, GRID_COLUMNS)).astype(int).tolist()


def add_row(one: Input, seen: Placed, results: list[np.ndarray], job: Job, done: Done) -> None:
    if len(done.rows) < GRID_ROWS:
        size = job.opened.config.size
        shown = [seen.pixels, *(results[k] for k in columns_of(job))]
        cells = np.stack([shaped(Image.fromarray(cell), Shape(size, "fit")) for cell in shown])
        row = list(small(stored_pictures(torch.from_numpy(cells), size)))
        done.rows.append((title(one.path.name), row))


def grid(job: Job, done: Done) -> np.ndarray:
    """The first pictures, what was made of each beside it."""
    here, there = job.model.domains[job.source], job.model.domains[job.target]
    titles = [job.titles[k] for k in columns_of(job)]
    names, rows = zip(*done.rows)
    return draw_grid(rows, [f"{here} (input)", *titles], f"{title(here)} to {title(there)}", names)
