"""Frames of several cameras matched to pairs."""
