"""From a JSON file and `key=value` words to a validated Config, or to one line that says what is wrong."""

import difflib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from configs.keys import DATASETS, MODELS, Config, config_class
from configs.keys.common import Section

LONGEST = 400  # characters of a message
DEEPEST = 20  # sections in sections, and configs that extend each other
TOO_DEEP = f"it holds lists or objects in each other more than {DEEPEST} deep"


class ConfigError(ValueError):
    """A config that cannot be run; the message is one line for the person who wrote it."""

    def __init__(self, message: str):
        line = " ".join(message.split())
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST - 4]} ...")


def load_config(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Read, extend, override and validate. Raises ConfigError."""
    path = Path(path)
    values = read_json(path)
    for word in overrides:
        apply_override(values, word)
    return validate(values, show_path(path))


def read_json(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The object in a JSON file, laid over the one that its "extends" names, if any."""
    name = show_path(path)
    try:
        whole = path.resolve()
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such config file{nearest_config(path)}") from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise ConfigError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if whole in seen:
        raise ConfigError(f'{name}: "extends" leads back to itself')
    if len(seen) >= DEEPEST:
        raise ConfigError(f'{name}: "extends" leads through more than {DEEPEST} files')
    try:
        values = parse(text)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f"{name}: extends: got {show(base)}; allowed: the path of another config, as text")
    return merge(read_json(path.parent / base, (*seen, whole)), values)


def parse(text: str) -> dict[str, Any]:
    """The JSON object that a text holds, of plain Unicode and not too deep. Raises ConfigError."""
    if not text.strip():
        raise ConfigError("the file is empty; it must hold a JSON object")
    try:
        values = json.loads(text, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"not valid JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise ConfigError(TOO_DEEP) from None
    except ConfigError:
        raise
    except ValueError:  # of Python's own limit on digits
        raise ConfigError("it holds a number of more digits than can be read") from None
    if not isinstance(values, dict):
        raise ConfigError(f"must hold a JSON object {{...}}, not {kind(values)}")
    check_plain(values)
    return values


def check_plain(values: Any) -> None:
    """Raise ConfigError where values lie in each other too deep, or where a text cannot be printed, saved and
    used in a path."""
    level = [values]
    for _ in range(DEEPEST):
        texts = [text for value in level for text in (value if isinstance(value, dict) else [value])]
        for text in texts:
            if isinstance(text, str) and not is_plain(text):
                raise ConfigError(f"{show(text)} holds characters that no text has (NUL or half a character)")
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise ConfigError(TOO_DEEP)


def is_plain(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def apply_override(values: dict[str, Any], word: str) -> None:
    """Set one `key=value` or `section.key=value` in `values`; the value is JSON where it can be, else
    text."""
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise ConfigError(f"{show(word)} is no override; write key=value, such as training.batch_size=32")
    *sections, last = key.split(".")
    if len(sections) >= DEEPEST:
        raise ConfigError(f"{show(word)}: {TOO_DEEP}")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{show(word)}: {show(section)[1:-1]} holds no keys of its own")
    try:
        values[last] = json.loads(text)
    except json.JSONDecodeError:
        values[last] = text
    except (RecursionError, ValueError):
        raise ConfigError(f"{show(word)}: a value too deep or of too many digits to be read") from None
    try:
        check_plain({key: values[last]})
    except ConfigError as error:
        raise ConfigError(f"{show(word)}: {error}") from None


def validate(values: dict[str, Any], source: str) -> Config:
    """The Config that `values` describe; ConfigError names the first fault and lists where others are."""
    kinds = config_class(choice(values, "model", MODELS, source), choice(values, "dataset", DATASETS, source))
    try:
        return kinds.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        first, others = faults[0], dict.fromkeys(key_of(fault) for fault in faults)
        others.pop(key_of(first))
        others.pop("", None)
        many = f" and {len(others) - 5} more" if len(others) > 5 else ""
        more = f" (also wrong: {', '.join(list(others)[:5])}{many})" if others else ""
        raise ConfigError(f"{source}: {explain(first, kinds, faults)}{more}") from None


def choice(values: dict[str, Any], key: str, known: Any, source: str) -> str:
    """The value of a key that picks a class. Raises ConfigError where it is missing or unknown."""
    if key not in values:
        raise ConfigError(f"{source}: {key} is missing; allowed: {', '.join(known)}")
    value = values[key]
    if not isinstance(value, str) or value not in known:
        allowed_words = ", ".join(known) + near(str(value), known)
        raise ConfigError(f"{source}: {key}: got {show(value)}; allowed: {allowed_words}")
    return value


def explain(fault: dict[str, Any], model: type[Section], faults: list[dict[str, Any]]) -> str:
    """One fault of pydantic's in our words: the key, what was given, what is allowed."""
    key, given = key_of(fault), show(fault["input"])
    if fault["type"] == "extra_forbidden":
        known = [
            field.alias or name
            for name, field in section_of(model, fault["loc"]).model_fields.items()
            if name not in ("schema_", "versions", "differs_from_paper")
        ]
        section = ".".join(map(str, fault["loc"][:-1]))
        close = (
            elsewhere(model, str(fault["loc"][-1]))
            or near(str(fault["loc"][-1]), known, section)
            or f"; known keys {f'in {section}' if section else 'here'}: {', '.join(known)}"
        )
        return f"{key} is no key of this config{close}"
    if not fault["loc"]:  # about several keys together
        return f"allowed: {allowed(fault)}"
    if fault["type"] == "missing":
        return f"{key} is missing"
    same_key = [other for other in faults if key_of(other) == key]
    return f"{key}: got {given}; allowed: {' or '.join(dict.fromkeys(map(allowed, same_key)))}"


def allowed(fault: dict[str, Any]) -> str:
    """What a fault's key would have taken, in words."""
    rule, limits = fault["type"], fault.get("ctx", {})
    match rule:
        case "literal_error":
            return str(limits["expected"]).replace("'", '"')
        case "int_type" | "int_from_float":
            return "a whole number"
        case "float_type" | "finite_number":
            return "a finite number"
        case "bool_type":
            return "true, false, 1 or 0"
        case "string_type":
            return "text"
        case "none_required":
            return "null"
        case "list_type":
            return "a list"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "an object {...}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            sign = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
            return " and ".join(f"{sign[name]} {limit:g}" for name, limit in limits.items() if name in sign)
        case "multiple_of":
            return f"a multiple of {limits['multiple_of']}"
        case "string_pattern_mismatch":
            return "auto, cpu, cuda or cuda:N" if "cuda" in limits["pattern"] else limits["pattern"]
        case "value_error":
            return str(limits["error"])
    return fault["msg"]


def key_of(fault: dict[str, Any]) -> str:
    """The dotted key of a fault, without the names that pydantic gives to the branches of a union."""
    parts = [str(part) for part in fault["loc"]]
    named = [p for p in parts if p.isidentifier() or p.isdigit() or p == "$schema"] or parts[:1]
    key = ".".join(named)
    return key if len(key) <= 100 else f"{key[:97]}..."


def section_of(model: type[Section], loc: tuple[Any, ...]) -> type[Section]:
    """The schema class that holds the last part of `loc`."""
    for part in loc[:-1]:
        model = model.model_fields[part].annotation
    return model


def elsewhere(model: type[Section], key: str) -> str:
    """'; did you mean ...?' where another section has this very key, or the data set's own."""
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section) and key in section.model_fields:
            return f"; did you mean {name}.{key}?"
    owners = [name for name, data in DATASETS.items() if key in data.model_fields]
    return f"; data.{key} is a key of dataset {', '.join(owners)}" if owners else ""


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`, section by section."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def near(word: str, known: Any, section: str = "") -> str:
    """'; did you mean ...?' with the nearest known word, or nothing."""
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), lower, n=1)
    return f"; did you mean {section + '.' if section else ''}{lower[close[0]]}?" if close else ""


def nearest_config(path: Path) -> str:
    return (
        near(path.name, [p.name for p in sorted(path.parent.glob("*.json"))], "")
        if path.parent.is_dir()
        else ""
    )


def show(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def show_path(path: Path) -> str:
    """A path that can be printed, whatever is in it."""
    text = str(path) if is_plain(str(path)) else show(str(path))
    return text if len(text) <= 200 else f"{text[:120]}...{text[-60:]}"


def kind(value: Any) -> str:
    names = {
        list: "a list",
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    return names[type(value)]


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in [k for k, _ in pairs[:i]])
        raise ConfigError(f"the key {show(twice)} stands there twice")
    return values
