"""What is made from the keys: `configs/schema.json`, by which editors complete and check configs.

python -m configs.generate
"""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from configs.keys import MODELS

FOLDER = Path(__file__).parent


def json_schema() -> dict[str, Any]:
    """The JSON Schema that editors complete and check configs by."""
    first, *others = MODELS.values()
    kinds: Any = first
    for kind in others:
        kinds |= kind
    schema = TypeAdapter(kinds).json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    (FOLDER / "schema.json").write_text(json.dumps(json_schema(), indent=2) + "\n")
