"""Engines: what runs the network."""

from runtime.engines.base import Batch, Engine, EngineInfo, InputSpec, Scores

__all__ = ["Batch", "Engine", "EngineInfo", "InputSpec", "Scores"]
