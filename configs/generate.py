"""What is made from the keys: `configs/schema.json`, by which editors complete and check configs, and
`configs/README.md`, the tables of all keys and data sets.

python -m configs.generate
"""

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from configs.keys import DATASETS, MODELS
from configs.tables import readme, standard

FOLDER = Path(__file__).parent


def json_schema() -> dict[str, Any]:
    """The JSON Schema that editors complete and check configs by: the model's own, and for `data` that of the
    data set."""
    classes = [(kind, "validation") for kind in (*MODELS.values(), *DATASETS.values())]
    references, found = models_json_schema(classes, by_alias=True)
    models = {name: references[kind, "validation"] for name, kind in MODELS.items()}
    sets = {name: references[kind, "validation"] for name, kind in DATASETS.items()}
    for reference in models.values():
        properties = found["$defs"][reference["$ref"].rpartition("/")[2]]["properties"]
        properties["dataset"] = {"enum": list(DATASETS), "type": "string"}
        properties["data"] = {}
        properties["extends"] = {
            "type": "string",
            "description": "Another config, of which this one differs.",
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"model": {"enum": list(MODELS)}, "dataset": {"enum": list(DATASETS)}},
        "allOf": [
            *(when("model", name, reference) for name, reference in models.items()),
            *(when("dataset", name, {"properties": {"data": reference}}) for name, reference in sets.items()),
        ],
        "$defs": standard(found["$defs"]),
    }


def when(key: str, value: str, then: dict[str, Any]) -> dict[str, Any]:
    """`then` holds where the config's `key` is `value`."""
    return {"if": {"properties": {key: {"const": value}}, "required": [key]}, "then": then}


def generated() -> dict[str, str]:
    """The text of each file in this folder that is made from the keys."""
    return {"schema.json": json.dumps(json_schema(), indent=2) + "\n", "README.md": readme()}


def write(folder: Path = FOLDER) -> None:
    """Write them; each is as before or complete, and none is written before all are made."""
    texts = generated()
    for name, text in texts.items():
        (folder / f".{name}.part").write_text(text, encoding="utf-8")
    for name in texts:
        (folder / f".{name}.part").replace(folder / name)


if __name__ == "__main__":
    write()
