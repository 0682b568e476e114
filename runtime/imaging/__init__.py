"""Decoding of untrusted image files, crops and overlays."""
