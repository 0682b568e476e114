"""Measure the synthetic sensor: pairs rendered per second on one core."""

from __future__ import annotations

import os
import time

import cv2

from benchmarks.support.measure import Row
from synthetic import SPECIES, Presentation, render_frame, render_patch

COUNT, FRAMES = 300, 20


def run() -> list[Row]:
    """Render training patches, by species and mixed as in training, and full frames, in this process on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        seconds = {}
        for species in SPECIES:
            for i in range(10):
                render_patch(Presentation(seed=1, subject=i, species=species))
            began = time.perf_counter()
            for i in range(COUNT):
                render_patch(Presentation(seed=2, subject=i % 40, species=species, number=i))
            seconds[species] = (time.perf_counter() - began) / COUNT
        began = time.perf_counter()
        for i in range(FRAMES):
            render_frame(Presentation(seed=3, subject=i))
        frame = (time.perf_counter() - began) / FRAMES
    finally:
        cv2.setNumThreads(threads)
        os.sched_setaffinity(0, cores)
    # As in the shipped recipe: equal numbers of bona fide and attack pairs.
    attacks = [value for name, value in seconds.items() if name != SPECIES[0]]
    mixed = 2 / (seconds[SPECIES[0]] + sum(attacks) / len(attacks))
    rows = [Row(f"crop pairs, {name}", f"{1 / value:.0f} a second") for name, value in seconds.items()]
    rows.append(Row("crop pairs, half of them attacks", f"{mixed:.0f} a second", "≥ 100", mixed >= 100))
    rows.append(Row("640×480 pairs, bona fide", f"{1 / frame:.1f} a second"))
    return rows
