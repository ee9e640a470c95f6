"""What a config may hold. common.py has what all models share, data.py a class for each data set, and every
other module here one model's keys: the list of models gathers itself from them.
"""

from importlib import import_module
from pathlib import Path
from typing import get_args

from configs.keys.common import Config

NO_MODELS = ("__init__", "common", "data")


def gather_models() -> dict[str, type[Config]]:
    """Every config class in this folder by its model's name, in the order of the files' names."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem in NO_MODELS:
            continue
        module = import_module(f"{__name__}.{path.stem}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Config) and value.__module__ == module.__name__:
                (name,) = value.model_fields["model"].annotation.__args__
                found[name] = value
    return found


MODELS = gather_models()
DATASETS: tuple[str, ...] = get_args(Config.model_fields["dataset"].annotation)

__all__ = ["DATASETS", "MODELS", "Config"]
