"""Toy's keys. Copy to configs/keys/toy.py."""

from typing import ClassVar, Literal

from pydantic import Field

from configs.keys.common import Config, Count, Network, Training, Weight


class ToyTraining(Training):
    style_weight: Weight = 0.1
    """Of the styles' mean square, which holds them where random styles are drawn."""


class ToyNetwork(Network):
    width: Count = 8
    """Channels of a content."""
    style_dim: Count = 4
    """Length of a style."""


class ToyConfig(Config):
    solver: ClassVar[str] = "solvers.toy:ToySolver"
    model: Literal["Toy"]
    training: ToyTraining = Field(default_factory=ToyTraining)
    network: ToyNetwork = Field(default_factory=ToyNetwork)
