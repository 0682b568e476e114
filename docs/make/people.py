"""Render the sample pairs of path-traced people that are shipped with the package.

Run ``python -m docs.make.people`` after a change of the path tracer. It needs the extra ``render`` and MakeHuman's
data, and takes about 15 minutes on one core. The people were not used in any training. They were chosen by eye for
large, well-lit faces, without looking at scores. The shipped pairs were made with version 1 of the path tracer; later
versions give other people, so choose again.
"""

from __future__ import annotations

import json

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.capture.simulated.stills import FACTS, FOLDER
from synthetic import Presentation
from synthetic.pathtraced import describe, render_frame

SAMPLES = 32
CHOSEN: dict[str, tuple[int, ...]] = {
    "bona_fide": (3005, 3009, 3002, 3013),
    "print_matte": (3101, 3100),
    "print_toner": (3110, 3111),
    "print_vinyl": (3121, 3122),
    "print_cutout": (3130, 3132),
    "replay_screen": (3140, 3141),
    "mask_paper": (3151, 3150),
    "mask_rigid": (3162, 3161),
    "mask_silicone": (3170, 3172),
    "partial": (3182, 3180),
}
"""Subjects rendered for each species."""


def encoded(image: NDArray[np.uint8], quality: int) -> bytes:
    """Return an image, uint8 [H, W, 1 or 3] in RGB order, as JPEG."""
    pixels = image[:, :, ::-1] if image.shape[2] == 3 else image
    good, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert good
    return data.tobytes()


def main() -> None:
    """Render the missing pairs."""
    FOLDER.mkdir(exist_ok=True)
    facts = json.loads((FOLDER / FACTS).read_text()) if (FOLDER / FACTS).exists() else {}
    for species, subjects in CHOSEN.items():
        for number, subject in enumerate(subjects):
            name = f"{species}-{number}"
            if facts.get(name, {}).get("subject") == subject:
                continue
            presentation = Presentation(seed=0, subject=subject, species=species, family="A", number=0)
            made = render_frame(describe(presentation), samples=SAMPLES)
            (FOLDER / f"{name}-rgb.jpg").write_bytes(encoded(made.rgb, 92))
            (FOLDER / f"{name}-ir.jpg").write_bytes(encoded(made.ir, 95))
            facts[name] = {
                "subject": subject,
                "face_box": [round(v, 1) for v in made.box],
                "ir_face_box": [round(v, 1) for v in made.ir_box],
                "conditions": {key: round(float(value), 3) for key, value in made.conditions.items()},
            }
            (FOLDER / FACTS).write_text(json.dumps(facts, indent=1) + "\n")
            print(name, flush=True)


if __name__ == "__main__":
    main()
