"""Installed and emulated machines, and their deployments."""
