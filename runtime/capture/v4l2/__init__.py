"""Cameras of Video4Linux2."""
