"""Training recipes: TOML files checked on reading, with wrong keys refused by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from adsn.datasets.pairs import SyntheticSpec
from adsn.datasets.sections import DataSection, Sources, TableModel, shared_people
from adsn.network.model import NetworkConfig
from adsn.training.augment import AugmentConfig
from adsn.training.losses import LossWeights
from runtime.core.errors import ConfigError
from runtime.core.user_text import ENCODING
from runtime.imaging.crop import CropRule

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class NetworkSection(TableModel):
    """``[network]``"""

    modalities: tuple[Literal["rgb", "ir"], Literal["ir", "depth"]] = ("rgb", "ir")
    width: int = 64
    maps: int = 4
    size: int = 112
    maps_from: Literal[2, 3] = 3
    match: int = Field(default=0, ge=0, le=512)
    ir_level: int = Field(default=0, ge=0, le=128)


class Data(TableModel):
    """``[data]``: each table is rendered, path-traced, or read from disk, as its key ``dataset`` says.

    ``[[data.train]]``, written several times, mixes sources by their ``weight``.
    """

    train: Sources
    dev: Sources


class TrainSection(TableModel):
    """``[train]``.

    ``balance``: ``none`` draws each pair once an epoch; ``class`` draws bona fide and attack pairs equally often;
    ``species`` draws as many bona fide pairs as attacks, and each species equally often, which public sets need.
    ``precision``: ``bfloat16`` computes the network in mixed precision; loss and weights stay float32. ``memory``: how
    many earlier pairs a network that compares its streams tells apart besides those of a batch, see
    `adsn.training.memory`.
    """

    seed: int = 0
    epochs: int = Field(ge=1)
    batch: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warm_up: float = Field(default=0.1, ge=0, lt=1)
    balance: Literal["none", "class", "species"] = "none"
    precision: Literal["float32", "bfloat16"] = "float32"
    memory: int = Field(default=0, ge=0, le=1 << 16)


class AugmentSection(TableModel):
    """``[augment]``: see `adsn.training.augment.AugmentConfig`."""

    drop: float = Field(default=0.1, ge=0, le=0.5)
    dark: float = Field(default=0.1, ge=0, le=1)
    gain: float = Field(default=0.4, ge=0, lt=1)
    noise: float = Field(default=8.0, ge=0)
    blur: float = Field(default=0.4, ge=0, le=1)
    tint: float = Field(default=0.2, ge=0, lt=1)
    erase: float = Field(default=0.2, ge=0, le=1)
    copy_grey: float = Field(default=0.03, ge=0, le=0.5)
    gamma: float = Field(default=1.0, ge=1, le=4)
    level: float = Field(default=1.0, ge=1, le=8)
    shading: float = Field(default=0.0, ge=0, le=1)
    filter: float = Field(default=0.0, ge=0, le=1)
    coarse: float = Field(default=0.0, ge=0, le=1)
    border: float = Field(default=0.0, ge=0, le=1)
    warp: float = Field(default=0.0, ge=0, le=0.5)
    turn: float = Field(default=0.0, ge=0, le=1)
    mismatch: float = Field(default=0.0, ge=0, le=0.5)
    other_moment: float = Field(default=0.0, ge=0, le=0.5)
    sibling: float = Field(default=0.0, ge=0, le=1)


class LossSection(TableModel):
    """``[loss]``: see `adsn.training.losses.LossWeights`."""

    stream: float = Field(default=0.3, ge=0)
    centre: float = Field(default=0.05, ge=0)
    overlap: float = Field(default=0.1, ge=0)
    match: float = Field(default=1.0, ge=0)
    label_smoothing: float = Field(default=0.02, ge=0, lt=0.5)


class CropSection(TableModel):
    """``[crop]``: ``margin``: surroundings on each side of the face box, as a fraction of its edge."""

    margin: float = Field(default=0.2, ge=0, le=0.6)


class TeacherSection(TableModel):
    """``[teacher]``: weights of the distillation losses, see `adsn.training.teacher`.

    Without ``adsn-train --teacher`` the section has no effect.
    """

    scores: float = Field(default=0.5, ge=0)
    features: float = Field(default=0.5, ge=0)


class Recipe(TableModel):
    """A whole recipe."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    network: NetworkSection
    data: Data
    train: TrainSection
    augment: AugmentSection = AugmentSection()
    loss: LossSection = LossSection()
    crop: CropSection = CropSection()
    teacher: TeacherSection = TeacherSection()

    def network_config(self) -> NetworkConfig:
        return NetworkConfig(**self.network.model_dump())

    def augment_config(self) -> AugmentConfig:
        return AugmentConfig(**self.augment.model_dump())

    def loss_weights(self) -> LossWeights:
        return LossWeights(**self.loss.model_dump())

    def set_name(self, part: Literal["train", "dev"], index: int = 0) -> str:
        """Return the name of a part's set; ``index`` counts the sources that are mixed."""
        return f"{self.name}-{part}" + (f"-{index + 1}" if index else "")

    def spec(self, part: Literal["train", "dev"], index: int = 0) -> SyntheticSpec:
        """Return the specification of a rendered source.

        Raises:
            TypeError: that source is not rendered.
        """
        section = getattr(self.data, part)[index]
        if not isinstance(section, DataSection):
            raise TypeError(f"data.{part} is not rendered; it has no specification.")
        return section.spec(self.set_name(part, index), self.rule())

    def rule(self) -> CropRule:
        """Return the crop rule."""
        return CropRule(size=self.network.size, margin=self.crop.margin)


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        ConfigError: the file is missing or not valid TOML; names the file.
    """
    try:
        return tomllib.loads(path.read_text(encoding=ENCODING))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8, as TOML requires.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def describe(path: Path, error: ValidationError) -> str:
    """Return the validation errors of a file, one a line, each with its dotted key."""
    lines = [f"  {'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors()]
    return f"{path}: these entries are wrong:\n" + "\n".join(lines)


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        ConfigError: the file is missing or not valid TOML, or an entry is wrong; names file and key.
    """
    try:
        recipe = Recipe.model_validate(read_toml(path))
        recipe.network_config()
    except ValidationError as error:
        raise ConfigError(describe(path, error)) from error
    except ValueError as error:
        raise ConfigError(f"{path}: [network] {error}") from error
    clash = shared_people(recipe.data.train, recipe.data.dev)
    if clash is not None:
        a, b = (getattr(section, "subjects", None) for section in clash)
        if a is None or clash[0] == clash[1]:
            raise ConfigError(f"{path}: data.train and data.dev are the same data.")
        raise ConfigError(f"{path}: data.train.subjects {a} and data.dev.subjects {b} share identities.")
    return recipe
