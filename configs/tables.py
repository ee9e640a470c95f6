"""The tables of keys and of data sets, in Markdown, made from the classes in configs/keys."""

import json
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from typing import Any

from pydantic.fields import FieldInfo

from configs.keys import DATASETS, MODELS
from configs.keys.common import Data, Section

Kinds = Mapping[str, type[Section]]  # by the name of a model or of a data set

INTRODUCTION = """# Every key of a config

<!-- Made by `python -m configs.generate` from configs/keys; edit those. -->

A config is one JSON object: the keys of the first table, and the sections `training`, `network`, `test` and
`data`, each an object of its own. On the command line a key is written with its section,
`training.batch_size=8`. A key that is left out has its default; one that its model does not have is refused.
`"extends": "other.json"` takes another config and says only what differs.
"""


def readme() -> str:
    """The whole of configs/README.md."""
    parts = [INTRODUCTION, "## Data sets\n", table_of_data_sets()]
    for path, kinds in sections(MODELS):
        parts.append(f"## {f'`{path}`' if path else 'Top level'}\n")
        if path and len(set(kinds.values())) == 1:
            parts.append(f"{prose(next(iter(kinds.values())))}\n")
        parts.append(table_of_keys(kinds, "models"))
    parts += ["## `data`\n", table_of_keys(DATASETS, "data sets")]
    return "\n".join(parts)


def sections(kinds: Kinds, path: str = "") -> Iterator[tuple[str, Kinds]]:
    """The dotted path of each section, the top level's being empty, and the class that each model has there.
    `data` is left out, since its class is the data set's."""
    yield path, kinds
    names = dict.fromkeys(name for kind in kinds.values() for name in kind.model_fields)
    for name in names:
        below = {
            owner: kind.model_fields[name].annotation
            for owner, kind in kinds.items()
            if name in kind.model_fields and is_section(kind.model_fields[name])
        }
        if below and not any(issubclass(kind, Data) for kind in below.values()):
            yield from sections(below, f"{path}.{name}" if path else name)


def table_of_keys(kinds: Kinds, owners: str) -> str:
    """One row per key: those that every owner has first, then owner by owner."""
    lines = [row("key", "values", "default", owners, "meaning"), row(*["---"] * 5)]
    found: dict[str, list[str]] = {}
    for owner, kind in kinds.items():
        for name, field in kind.model_fields.items():
            if not is_section(field):
                found.setdefault(name, []).append(owner)
    for name, having in sorted(found.items(), key=lambda item: len(item[1]) < len(kinds)):
        lines.append(row_of_key(name, {owner: kinds[owner] for owner in having}, len(having) == len(kinds)))
    return "\n".join(lines) + "\n"


def row_of_key(name: str, kinds: Kinds, everywhere: bool) -> str:
    """A key's name, values, default, owners and meaning; what differs between owners is told of each."""
    values = {owner: either(words(fragment(kind, name))) for owner, kind in kinds.items()}
    defaults = {owner: default(kind.model_fields[name]) for owner, kind in kinds.items()}
    meanings = {owner: escaped(meaning(kind, name)) for owner, kind in kinds.items()}
    return row(
        code(shown(name, next(iter(kinds.values())))),
        told(values, "{what} ({owners})", ", "),
        told(defaults, "{what} ({owners})", ", "),
        "all" if everywhere else ", ".join(kinds),
        told(meanings, "{owners}: {what}", "<br>"),
    )


def table_of_data_sets() -> str:
    """Each data set: its name, what it is, what makes it and its keys."""
    lines = [row("`dataset`", "what it is", "made by", "keys"), row(*["---"] * 4)]
    for name, kind in DATASETS.items():
        keys = ", ".join(code(f"data.{key}") for key in kind.model_fields)
        lines.append(row(code(name), escaped(prose(kind)), escaped(kind.made_by), keys or "none"))
    return "\n".join(lines) + "\n"


# --- One key


def is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Section)


def shown(name: str, kind: type[Section]) -> str:
    """A key as a config writes it."""
    return kind.model_fields[name].alias or name


def fragment(kind: type[Section], name: str) -> dict[str, Any]:
    """The JSON Schema of a key's values."""
    if name in ("model", "dataset"):  # each class knows its own model only
        return {"enum": list(MODELS if name == "model" else DATASETS)}
    return standard(kind.model_json_schema()["properties"][shown(name, kind)])


def standard(schema: Any) -> Any:
    """A JSON Schema in which bounds have their standard names. Where a validator comes before a bound,
    pydantic writes the bound by its own name, which no editor knows."""
    names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    if isinstance(schema, dict):
        return {names.get(key, key): standard(value) for key, value in schema.items()}
    return [standard(value) for value in schema] if isinstance(schema, list) else schema


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return code(json.dumps(field.get_default(call_default_factory=True)))


def meaning(kind: type[Section], name: str) -> str:
    """A key's docstring, or that of the class which it overrides."""
    fields = (parent.model_fields.get(name) for parent in kind.__mro__ if issubclass(parent, Section))
    return next((field.description for field in fields if field is not None and field.description), "")


def words(schema: dict[str, Any]) -> list[str]:
    """What a JSON Schema allows, in words, as a list of alternatives."""
    if "anyOf" in schema:
        return list(dict.fromkeys(word for part in schema["anyOf"] for word in words(part)))
    if "enum" in schema or "const" in schema:
        return [code(json.dumps(value)) for value in schema.get("enum", [schema.get("const")])]
    match schema.get("type"):
        case "boolean":
            return ["`true`", "`false`"]
        case "null":
            return ["`null`"]
        case "integer" | "number" as name:
            return [f"a {'whole ' * (name == 'integer')}number{limits(schema)}"]
        case "array":
            low, high = schema.get("minItems"), schema.get("maxItems")
            count = f" of {low}" if low == high and low else ""
            return [f"a list{count} (each {either(words(schema['items']))})"]
        case "string" if "examples" in schema:
            return [code(json.dumps(example)) for example in schema["examples"]]
        case "string":
            return ["text"]
    return ["an object"]


def limits(schema: dict[str, Any]) -> str:
    """The bounds of a number, in words that go on from "a number"."""
    signs = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "to", "exclusiveMaximum": "below"}
    found = [f" {sign} {schema[key]:.15g}" for key, sign in signs.items() if key in schema]
    return ("" if "maximum" in schema else " and").join(found)


# --- Markdown


def told(of_owner: dict[str, str], form: str, between: str) -> str:
    """What is the same for all owners, once; what differs, with the owners of each in the form given."""
    groups: dict[str, list[str]] = {}
    for owner, what in of_owner.items():
        groups.setdefault(what, []).append(owner)
    if len(groups) == 1:
        return next(iter(groups))
    return between.join(form.format(what=what, owners=", ".join(owners)) for what, owners in groups.items())


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def either(alternatives: list[str]) -> str:
    """a, b or c."""
    *first, last = alternatives
    return f"{', '.join(first)} or {last}" if first else last


def prose(kind: type[Section]) -> str:
    """A class's docstring in one line."""
    return " ".join(cleandoc(kind.__doc__ or "").split())


def escaped(text: str) -> str:
    """Plain text as a cell of a table, which is one line and means no Markdown by |, *, < or &."""
    text = " ".join(text.split())
    for sign, instead in {"&": "&amp;", "<": "&lt;", "|": "\\|", "*": "\\*"}.items():
        text = text.replace(sign, instead)
    return text
