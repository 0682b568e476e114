"""The base of every section of settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Refuse unknown keys by name, and numbers that are not finite; values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
