"""What is known of the pictures in a folder, by what lies in it:

CelebA: img_align_celeba/, list_attr_celeba.txt and perhaps list_eval_partition.txt, or Kaggle's .csv of both,
also where the authors have them (Img/, Anno/, Eval/); without the second, StarGAN's test split;
DeepFashion: pictures named MEN-Denim-id_00000080-01_7_additional.jpg, or in folders of these parts;
a table: attributes.csv (or labels.csv), with a row for each picture: its path, 0 or 1 (or -1 or 1) for each
attribute and, in a column split, train, val or test. Without that column a tenth of them is for testing.
"""

import csv
import hashlib
import os
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataloader.packed import DataError
from dataloader.packing import SUFFIXES

HOW = "bash download/celeba.sh, or bash download/deepfashion.sh (or set path_to_data)"
SPLITS = ("train", "val", "test")
TEST = SPLITS.index("test")
TEST_SHARE = 0.1  # where nothing says which pictures are for testing
STARGAN = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")
STARGAN_SEED, STARGAN_TEST = 1234, 1999  # of its authors' shuffle of the table's rows
KINDS = tuple(SUFFIXES)
TABLES = ("attributes.csv", "labels.csv")
DEEPFASHION = re.compile(r"(?:.*/)?(MEN|WOMEN)[-/]([^-/]+)[-/]id_(\d+)[-/]\d+_\d+_([a-z]+)\.\w+")
NO, YES, MINUS = range(3)
VALUES = {"0": NO, "1": YES, "-1": MINUS, "0.0": NO, "1.0": YES, "-1.0": MINUS}
Row = tuple[int, list[str]]  # the number of its line, its fields


class Source(NamedTuple):
    """What lies in a folder. `pictures` are below `root`, by name, and `digest` is of them and the tables."""

    kind: str
    root: Path
    tables: list[Path]
    pictures: list[str]
    digest: str


class Known(NamedTuple):
    """What is known of pictures, an entry or row for each of `files`."""

    attributes: list[str]
    files: list[str]
    values: np.ndarray
    """uint8 [N, attributes], 0 or 1."""
    splits: np.ndarray
    """Numbers of SPLITS, int64 [N]."""
    faults: list[str]
    """What is wrong with rows and pictures that are not among these."""
    sources: np.ndarray | None = None
    """Who is shown, int64 [N]."""
    usual: list[str] | None = None
    """The attributes that count where none are named; None: all."""
    exclusive: Sequence[list[str]] = ()


# What a folder holds


def find_source(folder: Path) -> Source:
    """Raises DataError where there is nothing to learn from, or more than one table; OSError."""
    if not folder.is_dir():
        raise DataError(f"no folder at {folder}; make one with: {HOW}")
    celeba = first_file(folder, "list_attr_celeba", "Anno")
    own = [folder / name for name in TABLES if (folder / name).is_file()]
    tables = [celeba, *own] if celeba else own
    if len(tables) > 1:
        names = " and ".join(str(path.relative_to(folder)) for path in tables)
        raise DataError(f"{folder} holds {names}; keep the one that counts")
    root = folder
    if celeba:
        kind, root = "CelebA", celeba_pictures(folder)
        tables += filter(None, [first_file(folder, "list_eval_partition", "Eval")])
    else:
        kind = "table" if own else "DeepFashion"
    found = sorted(pictures_below(root))
    names = [name for name, _, _ in found]
    if kind == "DeepFashion" and not any(map(DEEPFASHION.fullmatch, names)):
        raise DataError(
            f"{folder} holds no list_attr_celeba.txt, no {TABLES[0]} and no pictures named as DeepFashion's;"
            f" make a set with: {HOW}"
        )
    if not found:
        raise DataError(f"no pictures ({', '.join(s[1:] for s in sorted(SUFFIXES))}) in {root}")
    digest = hashlib.sha256()
    for path in tables:
        facts = path.stat()
        found.append((path.name, facts.st_size, facts.st_mtime_ns))
    for name, size, changed in found:
        digest.update(os.fsencode(name) + f"\0{size} {changed}\n".encode())
    return Source(kind, root, tables, names, digest.hexdigest())


def first_file(folder: Path, stem: str, place: str) -> Path | None:
    """The list of this name in the folder, or in `place` in it."""
    paths = (where / f"{stem}.{kind}" for where in (folder, folder / place) for kind in ("txt", "csv"))
    return next((path for path in paths if path.is_file()), None)


def celeba_pictures(folder: Path) -> Path:
    for name in ("img_align_celeba", "Img/img_align_celeba", "images"):
        if (place := folder / name).is_dir():
            inner = place / "img_align_celeba"
            return inner if inner.is_dir() else place
    raise DataError(f"{folder} holds CelebA's list, but no img_align_celeba/ with its pictures")


def pictures_below(root: Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of change of every picture in `root` and its folders, but hidden ones."""
    for place, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = "" if place == os.fspath(root) else f"{os.path.relpath(place, root)}/"
        for name in names:
            if name.lower().endswith(KINDS) and not name.startswith("."):
                facts = os.stat(f"{place}/{name}")  # noqa: PTH116 (of hundreds of thousands)
                yield below + name, facts.st_size, facts.st_mtime_ns


def read_source(source: Source) -> Known:
    """What is known of the pictures. Raises DataError, with the line's number where one is wrong."""
    return {"CelebA": read_celeba, "DeepFashion": read_deepfashion, "table": read_own}[source.kind](source)


# Tables


def read_celeba(source: Source) -> Known:
    table, *partition = source.tables
    names, rows = read_csv(table) if table.suffix == ".csv" else read_list(table)
    known = read_rows(source, table, names, rows)
    if partition:
        splits = read_partition(partition[0])
        if missing := [name for name in known.files if name not in splits]:
            raise DataError(f"{partition[0]} has no line for {missing[0]}{and_more(missing)}")
        known = known._replace(splits=np.array([splits[name] for name in known.files]))
    else:
        known = known._replace(splits=stargan_splits(len(known.files)))
    usual = [name for name in STARGAN if name in names]
    return known._replace(usual=usual or None, exclusive=[[name for name in HAIR if name in names]])


def read_own(source: Source) -> Known:
    (table,) = source.tables
    names, rows = read_csv(table)
    return read_rows(source, table, names, rows)


def read_deepfashion(source: Source) -> Known:
    """Sex, garment and view are attributes, each one of its kind; nobody is in two splits."""
    found, faults = [], []
    for name in source.pictures:
        if match := DEEPFASHION.fullmatch(name):
            found.append((name, *match.groups()))
        else:
            faults.append(f"{source.root / name} is not named as DeepFashion's pictures")
    files, *kinds, persons, views = map(list, zip(*found))
    kinds = [*kinds, views]
    groups = [sorted(set(kind)) for kind in kinds]
    values = [np.array(kind)[:, None] == group for kind, group in zip(kinds, groups)]
    sides = fixed_share(persons)
    return Known(
        [name for group in groups for name in group],
        files,
        np.concatenate(values, axis=1).astype(np.uint8),
        np.array([sides[person] for person in persons]),
        faults,
        sources=np.array([int(person) for person in persons]),
        exclusive=groups,
    )


def read_list(path: Path) -> tuple[list[str], Iterator[Row]]:
    """CelebA's form: how many rows, the names, then a row a line, all between blanks."""
    lines = lines_of(path)
    count, names = next(lines, (1, []))[1], next(lines, (2, []))[1]
    if len(count) != 1 or not count[0].isdecimal() or not names:
        raise DataError(f"{path}:1: not the number of its pictures, with the attributes' names below")

    def rows() -> Iterator[Row]:
        number = 0
        for number, row in enumerate(lines, 1):  # noqa: B007
            yield row
        if number != int(count[0]):
            raise DataError(f"{path} holds {number} rows, not the {count[0]} that it says; it is cut off")

    return names, rows()


def read_csv(path: Path) -> tuple[list[str], Iterator[Row]]:
    """The names of the columns after the first, and the rows below them."""
    rows = csv_rows(path)
    first, *names = next(rows, (1, [""]))[1]
    if not names or first.lower().endswith(KINDS):
        raise DataError(f"{path}:1: no names of columns: image, then each attribute's")
    return names, rows


def lines_of(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        try:
            yield from ((number, fields) for number, line in enumerate(file, 1) if (fields := line.split()))
        except UnicodeDecodeError:
            raise DataError(f"{path} is no text in UTF-8") from None


def csv_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            yield from ((reader.line_num, [field.strip() for field in row]) for row in reader if any(row))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path} is no table in UTF-8 ({error})") from None


def read_rows(source: Source, table: Path, names: list[str], rows: Iterator[Row]) -> Known:
    """The rows that name a picture. Where a column is called split, it says which; a fixed share of the
    others' names is for testing."""
    for name in names:
        if not name or names.count(name) > 1:
            raise DataError(f"{table}: the column {name!r} has {'a namesake' if name else 'no name'}")
    at = names.index("split") if "split" in names else None
    attributes = [name for name in names if name != "split"]
    if not attributes:
        raise DataError(f"{table} names no attributes")
    lines: dict[str, int] = {}
    values, splits = bytearray(), []
    for line, (file, *fields) in rows:
        where = f"{table}:{line}"
        file = os.path.normpath(file)
        if len(fields) != len(names):
            raise DataError(f"{where}: {len(fields)} values, not one for each of {len(names)} names")
        if file in lines:
            raise DataError(f"{where}: {file} stands in line {lines[file]} too")
        if at is not None:
            word = fields.pop(at)
            if word not in SPLITS:
                raise DataError(f"{where}: split is {word!r}, not {', '.join(SPLITS[:-1])} or {SPLITS[-1]}")
            splits.append(SPLITS.index(word))
        try:
            values += bytes([VALUES[field] for field in fields])
        except KeyError:
            name, field = next(pair for pair in zip(attributes, fields) if pair[1] not in VALUES)
            raise DataError(f"{where}: {name} is {field!r}, not 0 or 1, nor -1 or 1") from None
        lines[file] = line
    stored = np.frombuffer(values, np.uint8).reshape(-1, len(attributes))
    if (stored == NO).any() and (stored == MINUS).any():
        numbers = list(lines.values())
        no, minus = (numbers[(stored == value).any(axis=1).argmax()] for value in (NO, MINUS))
        raise DataError(f"{table} says no by 0 in line {no} and by -1 in line {minus}; keep to one")
    there = set(source.pictures)
    kept = np.array([file in there for file in lines], bool)
    faults = [
        f"{table}:{line}: there is no picture {source.root / file}"
        for file, line in lines.items()
        if file not in there
    ]
    faults += [f"{source.root / file} has no row in {table.name}" for file in sorted(there - lines.keys())]
    files = [file for file in lines if file in there]
    if at is None:
        sides = fixed_share(files)
        splits = [sides[file] for file in files]
    else:
        splits = np.array(splits, int)[kept]
    return Known(attributes, files, (stored[kept] == YES).astype(np.uint8), np.array(splits, int), faults)


def read_partition(path: Path) -> dict[str, int]:
    """The split of each picture, by CelebA's list_eval_partition: 0, 1 or 2."""
    rows = csv_rows(path) if path.suffix == ".csv" else lines_of(path)
    splits = {}
    for index, (line, fields) in enumerate(rows):
        if index == 0 and path.suffix == ".csv":
            continue
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise DataError(f"{path}:{line}: {' '.join(fields)!r} is no picture and 0, 1 or 2")
        splits[fields[0]] = int(fields[1])
    return splits


def and_more(faults: list[str]) -> str:
    return f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""


# Which pictures are for testing, where nothing says it


def stargan_splits(count: int) -> np.ndarray:
    """StarGAN's: the first rows of its authors' shuffle are for testing (of a set under 20,000, a tenth)."""
    order = list(range(count))
    random.Random(STARGAN_SEED).shuffle(order)
    splits = np.zeros(count, int)
    splits[order[: min(STARGAN_TEST, max(1, round(TEST_SHARE * count)))]] = TEST
    return splits


def fixed_share(names: list[str]) -> dict[str, int]:
    """The split of each name, by a hash of it: some TEST_SHARE are for testing, and whatever else is there,
    they stay so. Of two names or more there is one on either side."""
    shares = {name: int(hashlib.sha256(os.fsencode(name)).hexdigest()[:8], 16) / 16**8 for name in names}
    ordered = sorted(shares, key=lambda name: shares[name])
    chosen = sum(share < TEST_SHARE for share in shares.values())
    chosen = min(max(chosen, 1), len(ordered) - 1)
    tested = set(ordered[:chosen])
    return {name: TEST if name in tested else 0 for name in ordered}
