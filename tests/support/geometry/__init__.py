"""Rigs, calibration boards and lights, simulated."""
