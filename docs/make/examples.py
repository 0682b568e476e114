"""Render the example sheets of docs/rendering.md: every species of the path tracer, and people in medical masks.

Run ``python -m docs.make.examples`` after a change of the path tracer. It needs the extra ``render`` and MakeHuman's
data, and takes a few minutes on one core.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic import PATH_TRACED_SPECIES, Presentation, attributes_of, draw_medical_mask
from synthetic.pathtraced import describe, render
from synthetic.people.makehuman import Library, open_library

FOLDER = Path(__file__).parents[1]
FIRST_SUBJECT, SEED = 4000, 0
"""People who are in no set."""
ROWS, EDGE, SAMPLES = 2, 136, 24
LABEL = 20
MASKED = "medical mask"
BRIGHT_LUX = 150
SHEETS: tuple[tuple[str, ...], ...] = (
    ("bona_fide", MASKED, "print_matte", "print_toner", "print_vinyl", "print_cutout", "replay_screen"),
    ("mask_paper", "mask_rigid", "mask_silicone", "partial", "mask_transparent", "mask_relief"),
)


def presentations(column: str) -> list[Presentation]:
    """Return the first presentations of a column that are in a lit room. ``column``: a species, or `MASKED`."""
    found: list[Presentation] = []
    subject = FIRST_SUBJECT + 20 * next(k for k, name in enumerate(sum(SHEETS, ())) if name == column)
    while len(found) < ROWS:
        species = "bona_fide" if column == MASKED else column
        shown = Presentation(seed=SEED, subject=subject, species=species)
        worn = attributes_of(shown)
        mask = draw_medical_mask(np.random.default_rng(subject)) if column == MASKED else None
        shown = replace(shown, attributes=replace(worn, medical_mask=mask))
        if describe(shown).lux > BRIGHT_LUX:
            found.append(shown)
        subject += 1
    return found


def strip(column: str, library: Library) -> NDArray[np.uint8]:
    """Return a column of the sheet, RGB uint8 [H, EDGE, 3]: its name, then RGB above IR of each presentation."""
    name = np.full((LABEL, EDGE, 3), 24, np.uint8)
    cv2.putText(name, column, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (235,) * 3, 1, cv2.LINE_AA)
    parts: list[NDArray[np.uint8]] = [name]
    for shown in presentations(column):
        made = render(describe(shown), size=EDGE, samples=SAMPLES, library=library)
        parts += [made.rgb, np.repeat(made.ir, 3, axis=2)]
    return np.concatenate(parts, axis=0)


def main() -> None:
    """Render the sheets."""
    absent = set(PATH_TRACED_SPECIES) - {name for sheet in SHEETS for name in sheet}
    assert not absent, f"no column for {sorted(absent)}"
    library = open_library()
    for number, sheet in enumerate(SHEETS, 1):
        picture = np.concatenate([strip(column, library) for column in sheet], axis=1)
        good, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
        assert good
        (FOLDER / f"rendering-{number}.jpg").write_bytes(data.tobytes())


if __name__ == "__main__":
    main()
