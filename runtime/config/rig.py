"""Settings of the rig, shared by the service, the kiosk and the tools."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RigSettings(BaseModel):
    """Which cameras there are and how their frames become pairs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rgb: str | None = Field(default=None, description="Colour camera, e.g. v4l2:/dev/video0?fourcc=YUYV&size=640x480.")
    ir: str | None = Field(default=None, description="Infrared camera, e.g. v4l2:/dev/video2?fourcc=GREY.")
    depth: str | None = Field(default=None, description="Depth camera, e.g. realsense:SERIAL.")
    max_skew_ms: float = Field(
        default=10, gt=0, le=100, description="Largest difference of mid-exposures in a pair, in milliseconds."
    )
    max_age_ms: float = Field(
        default=500, gt=0, le=3_600_000, description="Age at which a pair is stale, in milliseconds."
    )
    rgb_offset_ms: float = Field(
        default=0,
        ge=-10_000,
        le=10_000,
        description="Added to the RGB timestamps, in milliseconds; see adsn-calib offset.",
    )
    ir_offset_ms: float = Field(
        default=0, ge=-10_000, le=10_000, description="Added to the IR timestamps, in milliseconds."
    )
    depth_offset_ms: float = Field(
        default=0, ge=-10_000, le=10_000, description="Added to the depth timestamps, in milliseconds."
    )
    strobe: Literal["auto", "steady", "1:1", "2:1", "1:2", "none"] = Field(
        default="auto",
        description="Ratio of lit to dark IR frames; none: no illuminator, all frames count as lit.",
    )
    geometry: Path | None = Field(default=None, description="Calibration written by adsn-calib rig.")

    @property
    def configured(self) -> bool:
        """Whether any camera is named."""
        return any((self.rgb, self.ir, self.depth))
