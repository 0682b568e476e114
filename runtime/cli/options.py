"""Options that ``adsn-rig`` and ``adsn-doctor`` share: the rig, and the model that scores its pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict, Field

from runtime.config.loader import EnvironmentPrefix, load_config
from runtime.config.rig import RigSettings
from runtime.config.store import StoreSettings
from runtime.core.errors import ConfigError
from runtime.liveness.open import default_bundle, open_pipeline
from runtime.liveness.stream_pipeline import StreamPipeline
from runtime.pairing.feed import CapturedPair

SYNTHETIC = "synthetic:"

Config = Annotated[Path | None, typer.Option("--config", "-c", help="TOML file with a [rig] section.")]
Rgb = Annotated[str | None, typer.Option(help="RGB camera, e.g. v4l2:/dev/video0.")]
Ir = Annotated[str | None, typer.Option(help="Infrared camera, e.g. v4l2:/dev/video2.")]
Depth = Annotated[str | None, typer.Option(help="Depth camera, e.g. realsense:SERIAL.")]
Skew = Annotated[float | None, typer.Option("--max-skew-ms", help="Maximum skew of mid-exposure in a pair, in ms.")]
StrobeOption = Annotated[str | None, typer.Option(help="auto, steady, 1:1, 2:1, 1:2, or none without an illuminator.")]
Synthetic = Annotated[bool, typer.Option("--synthetic", help="Use the simulated rig, RGB and infrared.")]


class _File(BaseModel):
    """Any settings file of this project. Only its section for the rig is checked here."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    rig: RigSettings = Field(default_factory=RigSettings)


def rig_settings(
    config: Path | None = None,
    *,
    rgb: str | None = None,
    ir: str | None = None,
    depth: str | None = None,
    max_skew_ms: float | None = None,
    strobe: str | None = None,
    synthetic: bool = False,
) -> RigSettings:
    """Return the rig settings. Precedence, lowest to highest: file, ``ADSN_RIG__`` variables, options.

    Raises:
        ConfigError: there is a mistake in any of them.
    """
    if synthetic:
        rgb, ir = rgb or SYNTHETIC, ir or (None if depth else SYNTHETIC)
    options = {"rig.rgb": rgb, "rig.ir": ir, "rig.depth": depth, "rig.max_skew_ms": max_skew_ms, "rig.strobe": strobe}
    return load_config(_File, config, prefixes=(EnvironmentPrefix("ADSN_", strict=False),), options=options).rig


def require_rig(settings: RigSettings) -> RigSettings:
    """Return ``settings`` if they name cameras.

    Raises:
        ConfigError: they name no camera. The message says how to name them.
    """
    if not settings.configured:
        raise ConfigError(
            "no rig is given. Pass two of --rgb, --ir and --depth, a file with a [rig] section (--config), or try "
            "--synthetic. `adsn-rig list` shows the cameras of this machine."
        )
    return settings


class _StoreFile(BaseModel):
    """Any settings file of this project. Only its section for the store is checked here."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    store: StoreSettings = Field(default_factory=StoreSettings)


def store_settings(config: Path | None = None) -> StoreSettings:
    """Return the store settings. Precedence, lowest to highest: file, secrets, ``ADSN_STORE__`` variables.

    Raises:
        ConfigError: there is a mistake in any of them.
    """
    return load_config(_StoreFile, config, prefixes=(EnvironmentPrefix("ADSN_", strict=False),)).store


class DecisionPrinter:
    """Scorer of pairs that formats the decisions for display.

    Raises:
        BundleError: the bundle cannot be trusted. EngineError: its engine cannot be used.
    """

    def __init__(self, bundle: Path | None = None) -> None:
        self._stream = StreamPipeline(open_pipeline(bundle or default_bundle()).pipeline)
        self._stream.pipeline.engine.warm_up()

    def line(self, captured: CapturedPair, now_ns: int) -> str:
        """Return the decision, score and reasons for a pair in one line."""
        assessed = self._stream.assess(captured, now_ns)
        found = assessed.assessment
        decision, score = ("uncertain", "  –  ") if found is None else (found.decision, f"{found.score:.3f}")
        return " ".join((decision, score, *assessed.reasons))
