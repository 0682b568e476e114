"""Calibrated geometry of a rig, and its drift."""
