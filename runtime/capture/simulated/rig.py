"""The synthetic rig: a simulated person or attack instrument in front of simulated cameras.

`SyntheticRig` renders single pairs. `open_synthetic` opens cameras that run in real time::

    synthetic:?species=replay_screen&seed=107&fps=30

Cameras whose addresses have the same `SCENE` options see the same scene, and their images are registered. `STREAM`
options apply to a single camera. docs/rig.md lists all options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import synthetic
from runtime.capture.simulated.scenario import FaultScript, FrameSchedule, StrobePattern, VisitSchedule
from runtime.capture.simulated.source import SceneRegistry, SharedScene, SimulatedCamera
from runtime.capture.simulated.stage import LightPhase, Moment, Stage
from runtime.capture.uri import CameraUri
from runtime.core.errors import ConfigError
from runtime.core.values import Box, Image, Modality, Pair
from synthetic import Presentation

SPECIES: tuple[str, ...] = synthetic.SPECIES
FAMILIES: tuple[str, ...] = synthetic.FAMILIES
SHAPES: tuple[str, ...] = synthetic.SHAPES
FRAME_NS = 33_333_333
"""Both simulated cameras run at 30 frames/s."""
WORLD, SUBJECT = 107, 9000
"""Default seed of the world and default number of the subject. This world is bright, and OpenCV's cascade detects the
faces in it. Other worlds may be dark, or the cascade may miss their faces. No subject with so high a number was used to
train or test the shipped weights."""
SCENE = (
    "species", "subject", "subjects", "presence", "seed", "presentation", "family", "shape", "baseline_mm", "size",
    "moments", "run",
)  # fmt: skip
STREAM = (
    "fps", "phase_ms", "jitter_ms", "drift_ppm", "drop", "exposure_ms", "latency_ms", "strobe", "metadata", "script",
    "wait",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SyntheticPair:
    """A simulated pair with its ground truth."""

    pair: Pair
    species: str
    face_box: Box
    ir_face_box: Box
    conditions: Mapping[str, float]


class SyntheticRig:
    """Renderer of consecutive full frames of one subject. The same arguments give the same frames.

    ``species``: see `SPECIES`. ``family``: one of two disjoint families of camera parameters. ``shape``: see `SHAPES`;
    scan-derived heads need the ICT Face Model, analytic ones need nothing.

    Raises:
        ConfigError: scan-derived heads are requested and the face model is missing.
    """

    def __init__(
        self,
        *,
        seed: int,
        subject: int,
        species: str = "bona_fide",
        family: str = "A",
        presentation: int = 0,
        shape: str = "analytic",
    ) -> None:
        require_shape(shape)
        self._shape = shape
        self._next = Presentation(seed=seed, subject=subject, species=species, family=family, number=presentation)

    def next(self) -> SyntheticPair:
        """Render the next pair."""
        rendered = synthetic.render_frame(self._next, shape=self._shape)
        time_ns = self._next.frame * FRAME_NS
        self._next = replace(self._next, frame=self._next.frame + 1)
        return SyntheticPair(
            pair=Pair(rgb=rendered.rgb, ir=rendered.ir, rgb_time_ns=time_ns, ir_time_ns=time_ns),
            species=rendered.presentation.species,
            face_box=Box(*rendered.box),
            ir_face_box=Box(*rendered.ir_box),
            conditions=rendered.conditions,
        )


def require_shape(shape: str) -> None:
    """Check that heads of this shape can be rendered.

    Raises:
        ConfigError: the shape is unknown, or its face model is missing.
    """
    if shape not in SHAPES:
        raise ConfigError(f"unknown head shape {shape!r}; use one of {', '.join(SHAPES)}.")
    if shape == "scan":
        try:
            synthetic.load_face_model()
        except synthetic.FaceModelError as error:
            raise ConfigError(str(error)) from error


def contact_sheet(columns: int, seed: int, family: str, shape: str = "analytic") -> Image:
    """Return an overview, uint8 RGB [H, W, 3], with one row for each species: ``columns`` samples in all modalities."""
    require_shape(shape)
    return synthetic.contact_sheet(columns=columns, seed=seed, family=family, shape=shape)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The scene options of an address."""

    seed: int
    family: str
    shape: str
    visits: VisitSchedule
    presentation: int
    size: tuple[int, int]
    baseline_mm: float | None
    moments: int

    @classmethod
    def parse(cls, uri: CameraUri) -> _Plan:
        shape = uri.choice("shape", SHAPES, SHAPES[0])
        require_shape(shape)
        size = uri.size() or (640, 480)
        low, high = synthetic.FRAME_SIZES
        if not all(low <= side <= high for side in size):
            raise ConfigError(f"{uri.text}: both sides of size must be {low} to {high} pixels.")
        baseline = None
        if "baseline_mm" in uri.options:
            baseline = uri.number("baseline_mm", 0, 0, synthetic.LONGEST_BASELINE_MM)
        return cls(
            seed=uri.integer("seed", WORLD, 0, 2**31),
            family=uri.choice("family", FAMILIES, FAMILIES[0]),
            shape=shape,
            visits=VisitSchedule.parse(uri, SPECIES, SUBJECT),
            presentation=uri.integer("presentation", 0, 0, 10**6),
            size=size,
            baseline_mm=baseline,
            moments=uri.integer("moments", 16, 1, 256),
        )


def _make_scene(uri: CameraUri) -> SharedScene:
    plan = _Plan.parse(uri)
    render = SceneRenderer(
        plan.visits, plan.seed, plan.family, plan.presentation, plan.shape, plan.size, plan.baseline_mm
    )
    stage = Stage(plan.visits, plan.moments, plan.size, plan.seed, render)
    return SharedScene(stage, f"{plan.family}-{plan.seed}", plan.seed, plan.size)


@dataclass(frozen=True, slots=True)
class SceneRenderer:
    """Renderer of the moments of a scene: its visitors as seen by one rig."""

    visits: VisitSchedule
    seed: int
    family: str
    presentation: int
    shape: str
    size: tuple[int, int]
    baseline_mm: float | None

    def __call__(self, visitor: int, moment: int, light: LightPhase, present: bool) -> Moment:
        """Render one moment of a visitor, or of the empty room."""
        species, subject = self.visits.visitor_of(visitor)
        presentation = Presentation(
            seed=self.seed,
            subject=subject,
            species=species,
            family=self.family,
            number=self.presentation,
            frame=moment,
        )
        made = synthetic.render_frame(
            presentation,
            size=self.size,
            shape=self.shape,
            lit=light == "lit",
            vacant=not present,
            baseline_mm=self.baseline_mm,
        )
        return Moment(made.rgb, made.ir, made.depth)


SCENES = SceneRegistry(_make_scene, SCENE)


def check_synthetic(uri: CameraUri, modality: Modality) -> None:
    """Check an address's options without rendering anything.

    Raises:
        ConfigError: an option is unknown or out of range.
    """
    uri.allow(*SCENE, *STREAM)
    plan = _Plan.parse(uri)
    FaultScript.parse(uri)
    StrobePattern.parse(uri)
    FrameSchedule.parse(uri, plan.seed)
    for flag in ("metadata", "wait"):
        uri.flag(flag)


def open_synthetic(uri: CameraUri, modality: Modality, generation: int) -> SimulatedCamera:
    """Open a simulated camera.

    Raises:
        ConfigError: an option is unknown or out of range.
        CameraMissing: according to its script the camera is unplugged now.
    """
    uri.allow(*SCENE, *STREAM)
    return SimulatedCamera(uri, modality, generation, SCENES.of(uri))
