"""Pairs of image files. A large JPEG is decoded at a fraction of its size where that loses no detail that is needed.

The detector sees an image at no more than 960 pixels, and the crop of a near face is reduced many-fold. In both cases
libjpeg can skip most of the work. The face is therefore searched for in reduced images. The crops are cut from the same
reduced images if each crop is still reduced by at least `OVERSAMPLING`. Otherwise the image in question is decoded
again at the size that its crops need. If the reduced images show no face, only a small one, or different faces, the
search is repeated at full size. Reported boxes, and checks of box sizes, are in pixels of the full-size images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from numpy.typing import NDArray

from runtime.core.errors import NoFace
from runtime.core.parallel import ParallelRunner
from runtime.core.values import Box, Modality, Pair
from runtime.face.pair_detection import PairDetection, find_face
from runtime.geometry.box_mapping import ScaleMapper
from runtime.imaging.crop import crop_window
from runtime.imaging.encoded_image import EncodedImage
from runtime.liveness.pair_pipeline import Assessment, LivenessPipeline, Stopwatch
from runtime.liveness.quality import FACE_RULE

SEARCH_EDGE, LEAST_REDUCTION = 960, 4
"""Minimum longer edge, in pixels, of a reduced image that is searched for a face, and minimum reduction for searching
one. No detector looks at a whole image at more than this size. A reduction by only 2 is not worth it: it saves less
time than is lost on faces that then need the full image."""
OVERSAMPLING = 2
"""Minimum number of reduced-image pixels per pixel of the network's crop, along an edge. At this value scores and gates
differ from those of the full image by no more than if the box were one pixel off (docs/cost.md)."""
CONFIRMED_PX = 64
"""Minimum edge, in pixels, of a face found in a reduced image. At this size the region searched to confirm the face has
about as many pixels as the detector uses."""


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """The image files of a pair, by modality. ``times``: the fields of `runtime.core.values.Pair` that hold its times
    and clock."""

    images: Mapping[Modality, EncodedImage]
    times: Mapping[str, Any] = field(default_factory=dict)

    def decode(
        self,
        reductions: Mapping[Modality, int],
        run_both: ParallelRunner,
        kept: Mapping[Modality, NDArray[Any]] | None = None,
    ) -> Pair:
        """Decode the images, two at a time.

        ``reductions``: as for `runtime.core.values.Pair`. ``kept``: images that are already decoded and reused.
        """
        pixels: dict[str, Any] = dict(kept.items()) if kept else {}
        missing = [m for m in self.images if m not in pixels]
        calls = [partial(self.images[m].decode, reductions.get(m, 1)) for m in missing]
        found = run_both(calls[0], calls[1]) if len(calls) == 2 else tuple(call() for call in calls)
        pixels |= dict(zip(missing, found, strict=True))
        return Pair(**pixels, **self.times, reductions=reductions)


def assess_encoded(
    pipeline: LivenessPipeline,
    files: EncodedPair,
    boxes: Mapping[Modality, Box] | None = None,
    *,
    now_ns: int | None = None,
    run_both: ParallelRunner | None = None,
    stopwatch: Stopwatch | None = None,
) -> tuple[Assessment, Pair]:
    """Decode a pair of image files, find the face and decide.

    Returns the assessment and the pair that its crops were cut from. The arguments and errors are those of
    `LivenessPipeline.assess`. ``files``: one file for each of the pipeline's modalities. ``stopwatch``: the stopwatch
    that timed the earlier stages, if any.

    Raises:
        TruncatedImage, WrongChannels: see `runtime.imaging.encoded_image.EncodedImage.decode`.
    """
    runner = run_both or pipeline.run_both
    stopwatch = stopwatch or Stopwatch()
    given = {m: box for m, box in (boxes or {}).items() if m in files.images}
    for modality, box in given.items():
        box.require_inside(files.images[modality].shape, f"{modality} face box")
    pair = files.decode(_first_reductions(pipeline, files, given), runner)
    stopwatch.lap("decode")
    detection = _find_reduced(pipeline, pair, given, runner)
    stopwatch.lap("locate")
    reductions = {} if detection is None else _crop_reductions(pipeline, files, pair, detection)
    before = pair.reductions
    if reductions != before:
        kept = {m: pair.image(m) for m in files.images if reductions.get(m, 1) == pair.reduction(m)}
        # Free the old size first, so that no image is in memory at two sizes.
        del pair
        pair = files.decode(reductions, runner, kept)
        stopwatch.lap("decode")
    if detection is None:
        detection = find_face(pair, pipeline.modalities, pipeline.detector, pipeline.box_mapper, given, runner)
        stopwatch.lap("locate")
    else:
        detection = _scaled(detection, {m: before.get(m, 1) / pair.reduction(m) for m in files.images})
    assessment = pipeline.assess_found(pair, detection, stopwatch, now_ns=now_ns, run_both=run_both)
    detection = _scaled(detection, pair.reductions)
    return replace(assessment, face=detection.face, boxes=detection.boxes), pair


def _first_reductions(
    pipeline: LivenessPipeline, files: EncodedPair, given: Mapping[Modality, Box]
) -> dict[Modality, int]:
    """Return the reductions above 1 for the first decoding.

    Images are decoded to search for the face or, if the box is given, to cut the crop.
    """
    # A calibration applies to images of one size only.
    if not isinstance(pipeline.box_mapper, ScaleMapper):
        return {}
    found: dict[Modality, int] = {}
    for modality, image in files.images.items():
        if modality in given:
            reduction = _crop_reduction(pipeline, image, given[modality])
        else:
            reduction = image.reduction(max(image.shape) / SEARCH_EDGE)
            if reduction < LEAST_REDUCTION:
                continue
        if reduction > 1:
            found[modality] = reduction
    return found


def _crop_reductions(
    pipeline: LivenessPipeline, files: EncodedPair, pair: Pair, detection: PairDetection
) -> dict[Modality, int]:
    """Return the reductions above 1 that the crops allow. None exceeds the reduction at which the pair was decoded."""
    found: dict[Modality, int] = {}
    for modality, now in pair.reductions.items():
        box = detection.boxes[modality].scaled(now, now)
        reduction = min(now, _crop_reduction(pipeline, files.images[modality], box))
        if reduction > 1:
            found[modality] = reduction
    return found


def _crop_reduction(pipeline: LivenessPipeline, image: EncodedImage, box: Box) -> int:
    """Return the largest reduction at which the crops still shrink by `OVERSAMPLING`. ``box``: in pixels of the full
    image."""
    most = min(crop_window(box, rule)[2] / rule.size for rule in (pipeline.rule, FACE_RULE)) / OVERSAMPLING
    return image.reduction(most)


def _find_reduced(
    pipeline: LivenessPipeline, pair: Pair, given: Mapping[Modality, Box], run_both: ParallelRunner
) -> PairDetection | None:
    """Return the face in a pair decoded at any reduction, or None if larger images might show it better.

    Raises:
        NoFace: no face was found in full images.
    """
    boxes = {m: box.scaled(1 / pair.reduction(m), 1 / pair.reduction(m)) for m, box in given.items()}
    try:
        found = find_face(pair, pipeline.modalities, pipeline.detector, pipeline.box_mapper, boxes, run_both)
    except NoFace:
        if not pair.reductions:
            raise
        return None
    if pair.reductions and any(check.status == "fail" for check in found.checks):
        return None
    searched = (min(found.boxes[m].w, found.boxes[m].h) for m in pair.reductions if m not in given)
    return found if all(edge >= CONFIRMED_PX for edge in searched) else None


def _scaled(detection: PairDetection, factors: Mapping[Modality, float]) -> PairDetection:
    """Return the detection with each box scaled by its modality's factor. A modality without a factor is not scaled."""
    boxes = {m: box.scaled(factors.get(m, 1), factors.get(m, 1)) for m, box in detection.boxes.items()}
    return replace(detection, face=detection.face.onto(boxes[detection.lead]), boxes=boxes)
