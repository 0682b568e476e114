"""Simulated rigs, calibration boards and lights."""
