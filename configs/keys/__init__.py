"""What a config may hold. common.py has what all models share, data.py a class for each data set, and every
other module here one model's keys: the list of models gathers itself from them.
"""

from functools import cache
from importlib import import_module
from pathlib import Path

from pydantic import Field, create_model

from configs.keys.common import Config
from configs.keys.data import DATASETS

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


@cache
def config_class(model: str, dataset: str) -> type[Config]:
    """The model's config class with the keys of this data set for its section `data`."""
    base, data = MODELS[model], DATASETS[dataset]
    return create_model(
        base.__name__, __base__=base, __module__=base.__module__, data=(data, Field(default_factory=data))
    )


__all__ = ["DATASETS", "MODELS", "Config", "config_class"]
