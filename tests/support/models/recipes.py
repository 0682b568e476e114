"""A recipe for a tiny network."""

from __future__ import annotations

RECIPE = """
name = "tiny"
[network]
modalities = ["rgb", "ir"]
width = 8
maps = 2
ir_level = 64
match = 4
size = 64
[data.train]
family = "A"
subjects = [0, 8]
bona_fide = 16
per_attack = 4
seed = 1
[data.dev]
family = "A"
subjects = [8, 12]
bona_fide = 8
per_attack = 2
seed = 2
[train]
seed = 3
epochs = 2
batch = 8
"""
