"""Pairs of crops for training and evaluation, with the metadata that reports need.

Every source implements the protocol `PairDataset`. Crops are cut by `runtime.imaging.crop`, as in serving, so the
network is trained on exactly the bytes that it gets when serving.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from runtime.core.values import Box
from runtime.imaging.crop import CropRule, crop
from synthetic import SHAPES, SPECIES, Presentation, Rendered, render_patch
from synthetic.scene import require_fast

BONA_FIDE = SPECIES[0]


@dataclass(frozen=True, slots=True)
class Sample:
    """One pair of crops.

    ``crops``: modality → uint8 [S, S, 3] (rgb), uint8 [S, S, 1] (ir), or float32 [S, S, 1] in mm (depth). ``label``: 1
    bona fide, 0 attack. ``presentation``: pairs with the same value belong to one presentation of an instrument or
    person; ISO/IEC 30107-3 counts presentations, not frames.
    """

    crops: Mapping[str, NDArray[Any]]
    label: int
    species: str
    subject: str
    presentation: str
    sensor: str
    conditions: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Patch:
    """The images from which the crops of a sample are cut, and the face box in each, by modality."""

    pictures: Mapping[str, NDArray[Any]]
    boxes: Mapping[str, Box]

    def crops(self, rule: CropRule) -> dict[str, NDArray[Any]]:
        """Return the crops, by modality."""
        return {m: crop(picture, self.boxes[m], rule) for m, picture in self.pictures.items()}


class PairDataset(Protocol):
    """A finite set of samples, read by index. The same index always gives the same bytes."""

    @property
    def name(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def species(self) -> list[str]:
        """Return the species of every sample, ``bona_fide`` for people. No image is opened."""
        ...

    def digest(self) -> str:
        """Return a SHA-256 in hex that changes if any sample changes."""
        ...


@runtime_checkable
class PatchSource(Protocol):
    """A set that still has the images from which its crops were cut."""

    def patch(self, index: int) -> Patch | None:
        """Return the images of a sample with their boxes, or None if only the crops exist."""
        ...


@dataclass(frozen=True, slots=True)
class SyntheticSpec:
    """Specification of a set of rendered pairs. The set is fully defined by these values and the code of the renderer.

    ``subjects``: first and one past the last subject number; sets with disjoint ranges share no identity.
    ``bona_fide``, ``per_attack``: number of presentations of each subject. ``frames``: pairs per presentation.
    ``box_jitter``: standard deviation of position and size of the face box, as a fraction of its edge, which imitates a
    detector. ``misregistration``: largest shift of the IR crop relative to the RGB crop, as a fraction of the edge.
    ``extra``: additional presentations of species that are hard to learn. ``shapes``: sources of face shape
    (`synthetic.SHAPES`), used in turn. A subject keeps its source if the number of sources divides the number of
    subjects.
    """

    name: str
    family: str
    subjects: tuple[int, int]
    bona_fide: int
    per_attack: int
    seed: int
    frames: int = 1
    box_jitter: float = 0.05
    misregistration: float = 0.05
    species: tuple[str, ...] = field(default=tuple(SPECIES[1:]))
    extra: Mapping[str, int] = field(default_factory=dict)
    shapes: tuple[str, ...] = ("analytic",)
    rule: CropRule = field(default_factory=CropRule)

    def __post_init__(self) -> None:
        for species in self.species:
            require_fast(species)
        unknown = sorted(set(self.species) - set(SPECIES[1:]))
        if unknown:
            raise ValueError(f"data set {self.name!r}: unknown species {unknown}; known are {list(SPECIES[1:])}")
        absent = sorted(set(self.extra) - set(self.species))
        if absent:
            raise ValueError(f"data set {self.name!r}: extra presentations of {absent}, which are not in its species")
        if not self.shapes or set(self.shapes) - set(SHAPES):
            raise ValueError(f"data set {self.name!r}: shapes {list(self.shapes)}; the choices are {list(SHAPES)}")
        if (
            self.subjects[1] <= self.subjects[0]
            or self.frames < 1
            or min(self.bona_fide, self.per_attack, *self.extra.values()) < 0
        ):
            raise ValueError(
                f"data set {self.name!r}: needs a range of subjects, frames of 1 or more, no negative count"
            )

    def to_json(self) -> dict[str, Any]:
        # Left out if empty, so that older sets keep their digest and their cache entry.
        return {name: value for name, value in asdict(self).items() if name != "extra" or value}


class SyntheticPairs:
    """`PairDataset` that renders on demand with the fast renderer."""

    def __init__(self, spec: SyntheticSpec) -> None:
        self.spec = spec
        counts = [(BONA_FIDE, spec.bona_fide)] + [
            (species, spec.per_attack + spec.extra.get(species, 0)) for species in spec.species
        ]
        self._plan = [(species, number) for species, count in counts for number in range(count)]

    @property
    def name(self) -> str:
        return self.spec.name

    def __len__(self) -> int:
        return len(self._plan) * self.spec.frames

    def labels(self) -> NDArray[np.int64]:
        """Return the labels, int64 [len]: 1 bona fide, 0 attack. Nothing is rendered."""
        kinds = [int(species == BONA_FIDE) for species, _ in self._plan]
        return np.repeat(np.array(kinds, np.int64), self.spec.frames)

    def species(self) -> list[str]:
        """Return the species of every sample."""
        return [species for species, _ in self._plan for _ in range(self.spec.frames)]

    def __getitem__(self, index: int) -> Sample:
        rendered, patch = self._rendered(index)
        shown = rendered.presentation
        return Sample(
            crops=patch.crops(self.spec.rule),
            label=rendered.label,
            species=shown.species,
            subject=str(shown.subject),
            presentation=f"{shown.species}-{shown.number}",
            sensor=self.spec.family,
            conditions={**rendered.conditions, "scan_derived": float(rendered.shape == "scan")},
        )

    def patch(self, index: int) -> Patch:
        """Return the images and boxes from which the crops of a sample are cut."""
        return self._rendered(index)[1]

    def _rendered(self, index: int) -> tuple[Rendered, Patch]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        spec = self.spec
        (species, number), frame = self._plan[index // spec.frames], index % spec.frames
        first, last = spec.subjects
        subject = first + number % (last - first)
        presentation = Presentation(
            seed=spec.seed, subject=subject, species=species, family=spec.family, number=number, frame=frame
        )
        rendered = render_patch(presentation, shape=spec.shapes[subject % len(spec.shapes)])
        rng = np.random.default_rng([spec.seed, SPECIES.index(species), number, frame])
        # An error of the detector moves both crops; an error of the registration moves only one.
        shift, scale = rng.normal(0, spec.box_jitter, 2), float(np.exp(rng.normal(0, spec.box_jitter)))
        offset = rng.uniform(-spec.misregistration, spec.misregistration, 2)
        ir_box = jittered(rendered.ir_box, shift + offset, scale)
        boxes = {"rgb": jittered(rendered.box, shift, scale), "ir": ir_box, "depth": ir_box}
        return rendered, Patch({"rgb": rendered.rgb, "ir": rendered.ir, "depth": rendered.depth}, boxes)

    def digest(self) -> str:
        """Return a digest of the specification and of the first and last rendered sample of every species.

        Rendering all samples would take as long as rendering the training set, and changes of the renderer show in
        these samples. The digest of the cache covers all bytes.
        """
        h = hashlib.sha256(json.dumps(self.spec.to_json(), sort_keys=True).encode())
        for species in {species for species, _ in self._plan}:
            members = [i for i, (s, _) in enumerate(self._plan) if s == species]
            for i in sorted({members[0], members[-1]}):
                for _, array in sorted(self[i * self.spec.frames].crops.items()):
                    h.update(array.tobytes())
        return h.hexdigest()


def jittered(box: Sequence[float], shift: NDArray[np.float64], scale: float) -> Box:
    """Return ``box`` (x, y, w, h) moved by ``shift``, in fractions of its edges, and scaled about its centre."""
    x, y, w, h = box
    cx, cy = x + w / 2 + shift[0] * w, y + h / 2 + shift[1] * h
    return Box(cx - w * scale / 2, cy - h * scale / 2, w * scale, h * scale)
