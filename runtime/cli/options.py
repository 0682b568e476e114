"""Options that the commands of ``adsn-rig`` and ``adsn-doctor`` share: which rig is meant, and how a pair is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict, Field

from runtime.config.loader import EnvironmentPrefix, load_config
from runtime.config.rig import RigSettings
from runtime.core.errors import ConfigError
from runtime.liveness.open import default_bundle, open_pipeline
from runtime.liveness.stream_pipeline import StreamPipeline
from runtime.pairing.feed import CapturedPair

SYNTHETIC = "synthetic:"

Config = Annotated[Path | None, typer.Option("--config", "-c", help="TOML file with a [rig] section.")]
Rgb = Annotated[str | None, typer.Option(help="Colour camera, e.g. v4l2:/dev/video0.")]
Ir = Annotated[str | None, typer.Option(help="Infrared camera, e.g. v4l2:/dev/video2.")]
Depth = Annotated[str | None, typer.Option(help="Depth camera, e.g. realsense:SERIAL.")]
Skew = Annotated[float | None, typer.Option("--max-skew-ms", help="Largest difference of mid-exposure in a pair.")]
StrobeOption = Annotated[str | None, typer.Option(help="auto, steady, 1:1, 2:1, 1:2, or none without an illuminator.")]
Synthetic = Annotated[bool, typer.Option("--synthetic", help="The simulated rig, colour and infrared.")]
Bundle = Annotated[Path | None, typer.Option("--bundle", help="Model folder; default: the shipped one.")]


class _File(BaseModel):
    """Any settings file of this project; what is not the rig's is its program's to check."""

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
    """The rig that a file, ``ADSN_RIG__`` variables and options name together; later ones win.

    Raises:
        ConfigError: a mistake in any of them.
    """
    if synthetic:
        rgb, ir = rgb or SYNTHETIC, ir or (None if depth else SYNTHETIC)
    options = {"rig.rgb": rgb, "rig.ir": ir, "rig.depth": depth, "rig.max_skew_ms": max_skew_ms, "rig.strobe": strobe}
    return load_config(_File, config, prefixes=(EnvironmentPrefix("ADSN_", strict=False),), options=options).rig


def require_rig(settings: RigSettings) -> RigSettings:
    """The settings, if they name cameras.

    Raises:
        ConfigError: they do not; says how to.
    """
    if not settings.configured:
        raise ConfigError(
            "no rig is named. Give two of --rgb, --ir and --depth, a file with a [rig] section (--config), or try "
            "--synthetic. `adsn-rig list` says which cameras there are."
        )
    return settings


class DecisionPrinter:
    """Judges pairs for display with a bundle's model; opened once.

    Raises:
        BundleError: the bundle cannot be trusted. EngineError: its engine cannot be used.
    """

    def __init__(self, bundle: Path | None = None) -> None:
        self._stream = StreamPipeline(open_pipeline(bundle or default_bundle()).pipeline)
        self._stream.pipeline.engine.warm_up()

    def line(self, captured: CapturedPair, now_ns: int) -> str:
        """The decision on a pair, its score and its reasons."""
        assessed = self._stream.assess(captured, now_ns)
        found = assessed.assessment
        decision, score = ("uncertain", "  –  ") if found is None else (found.decision, f"{found.score:.3f}")
        return " ".join((decision, score, *assessed.reasons))
