"""``/console``: a page to score two images and to watch the rig. It is self-contained and loads nothing from other
sites.

Images from the rig are sent only to callers with the role ``camera``, one at a time and only the newest. They are not
stored.
"""

from __future__ import annotations

import base64
import json
from html import escape
from string import Template
from typing import Any, Literal

import cv2
import numpy as np
from fastapi import FastAPI, Query
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from runtime import __version__
from runtime.capture.simulated.rig import SPECIES
from runtime.capture.simulated.stills import read_still, still_count
from runtime.core.reasons import PRIORITY, REASONS
from runtime.core.values import MODALITY_NAMES, Modality
from runtime.imaging.overlay import grey_picture
from runtime.pairing.feed import PairFeed
from service.auth.guard import Guard
from service.console.assets import asset, source_hash
from service.http.openapi import problems
from service.http.problems import RequestError
from service.http.responses import json_response
from service.liveness.active_model import ActiveModel
from service.liveness.pool import WorkerPool

PAGE, STYLE = Template(asset("console.html")), asset("reference.css") + asset("console.css")
SCRIPT = asset("console.js")
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src {source_hash(STYLE)}; script-src {source_hash(SCRIPT)}; connect-src 'self'; "
    "img-src 'self' data: blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
DECISIONS = {"live": "Live", "spoof": "Spoof", "uncertain": "Uncertain"}
WARNING = "The shipped weights were trained on synthetic faces only. Use them to try, develop and test, not at a door."
SHOWN_WIDTH = 640
USUAL: tuple[Modality, Modality] = ("rgb", "ir")
"""Modalities shown while the model is still loading."""
JPEG = {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}


def console_page(model: ActiveModel, feed: PairFeed | None, *, expose_score: bool, keyed: bool) -> str:
    """Return the HTML of the page."""
    loaded = model.loaded
    modalities = loaded.pipeline.modalities if loaded is not None else USUAL
    drops = "".join(
        f'<label class="drop">{escape(MODALITY_NAMES[m]).capitalize()} image'
        f'<span class="soft">drop a file here or choose one</span><span class="preview"></span>'
        f'<input type="file" name="{m}" data-words="{MODALITY_NAMES[m]}" accept="image/*"></label>'
        for m in modalities
    )
    facts = {
        "reasons": {code: {"meaning": r.meaning, "subject": r.subject} for code, r in REASONS.items()},
        "order": sorted(PRIORITY, key=PRIORITY.__getitem__),
        "decisions": DECISIONS,
        "modalities": MODALITY_NAMES,
        "cameras": [camera.modality for camera in feed.status().cameras] if feed is not None else [],
        "band_low": round(loaded.pipeline.point.band_low, 6) if loaded and expose_score else None,
        "rig": feed is not None,
        "keyed": keyed,
    }
    rig = "Waiting for the cameras." if facts["rig"] else "No rig is attached. See docs/rig.md for how to attach one."
    return PAGE.substitute(
        version=escape(f"adsn {__version__}"),
        warning=escape(WARNING if loaded is None else loaded.manifest.summary),
        drops=drops,
        species="".join(f'<option value="{s}">{s.replace("_", " ")}</option>' for s in SPECIES),
        rig=escape(rig),
        style=STYLE,
        script=SCRIPT,
        # Escape "<", so that the data cannot end its script element.
        facts=json.dumps(facts).replace("<", "\\u003c"),
    )


def sample(species: str, subject: int) -> dict[str, Any]:
    """Return a still as modality → base64 file. ``subject``: number of the still; counts beyond the last one start
    again."""
    made = read_still(species, subject % still_count(species))
    images = {}
    for modality, suffix, kind in (("rgb", ".jpg", "image/jpeg"), ("ir", ".png", "image/png")):
        data = encode_image(made.pair.image(modality), suffix)  # type: ignore[arg-type]  # tuple of literals
        images[modality] = {"type": kind, "data": base64.b64encode(data).decode()}
    return {"species": species, "images": images}


def encode_image(image: NDArray[Any], suffix: str) -> bytes:
    """Return an image, uint8 [H, W, 1] or RGB [H, W, 3], encoded as a file."""
    pixels = image[:, :, ::-1] if image.shape[2] == 3 else image
    good, data = cv2.imencode(suffix, np.ascontiguousarray(pixels))
    if not good:
        raise RequestError(503, "capture_error", "the camera's image could not be encoded. Try again.")
    return data.tobytes()


def encode_for_display(image: NDArray[Any]) -> bytes:
    """Return a camera image as a JPEG file for display, at most `SHOWN_WIDTH` pixels wide."""
    picture = grey_picture(image)
    height, width = picture.shape[:2]
    if width > SHOWN_WIDTH:
        size = (SHOWN_WIDTH, max(1, round(height * SHOWN_WIDTH / width)))
        smaller = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        return encode_image(smaller.reshape(size[1], size[0], -1), ".jpg")
    return encode_image(picture, ".jpg")


def add_console_routes(
    app: FastAPI, guard: Guard, model: ActiveModel, pool: WorkerPool, feed: PairFeed | None, *, expose_score: bool
) -> None:
    """Add the route ``/console`` and the routes that the page calls."""

    @app.get("/console", include_in_schema=False)
    async def console() -> Response:
        page = console_page(model, feed, expose_score=expose_score, keyed=guard.keyed)
        return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})

    @app.get(
        "/console/sample",
        summary="Simulated pair of images",
        responses=problems(401, 403, 422, 429, 503),
    )
    async def console_sample(
        request: Request,
        species: Literal[SPECIES] = "bona_fide",  # type: ignore[valid-type]  # the sensor's own list
        subject: int = Query(default=0, ge=0, lt=1000),
    ) -> Response:
        """Returns a simulated RGB and IR image of a person or of an attack, base64-encoded. Needs the role `score`."""
        await guard.admit(request, "score")
        return json_response(await pool.run(lambda helper: sample(species, subject)))

    @app.get(
        "/console/frame/{modality}",
        summary="Newest image of a camera of the rig",
        response_class=Response,
        responses={
            200: {"description": "Image of the newest pair", "content": JPEG},
            **problems(401, 403, 422, 503, 504),
        },
    )
    async def console_frame(request: Request, modality: Modality) -> Response:
        """Returns the camera's image of the newest pair as JPEG, without storing it. Needs the role `camera`."""
        await guard.authorize(request, "camera")
        if feed is None:
            raise RequestError(503, "no_rig", "no cameras are attached to this service.")
        captured = feed.wait(-1, 0)
        if captured is None:
            raise RequestError(504, "capture_timeout", "the cameras have not delivered a pair yet. Try again.")
        data = await run_in_threadpool(encode_for_display, captured.pair.image(modality))
        return Response(data, media_type="image/jpeg", headers={"X-Pair-Number": str(captured.number)})
