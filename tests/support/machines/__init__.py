"""Installed and emulated machines, and what is deployed to them."""
