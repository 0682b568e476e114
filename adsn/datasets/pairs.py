"""What training and evaluation read: pairs of crops with everything a report needs to know of them.

One protocol, `PairDataset`, for every source. The synthetic sensor is one source here; crops are cut by
`runtime.imaging.crop`, the same code that serves, so the network trains on the bytes it will be served.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.core.values import Box
from runtime.imaging.crop import CropRule, crop
from synthetic import SHAPES, SPECIES, Presentation, render_patch

BONA_FIDE = SPECIES[0]


@dataclass(frozen=True, slots=True)
class Sample:
    """One pair of crops.

    ``crops``: modality → uint8 [S, S, 3] (rgb), uint8 [S, S, 1] (ir), float32 mm [S, S, 1] (depth).
    ``label``: 1 bona fide, 0 attack. ``presentation``: pairs that share it show one presentation of one
    instrument or person; ISO/IEC 30107-3 counts those, not frames.
    """

    crops: Mapping[str, NDArray[Any]]
    label: int
    species: str
    subject: str
    presentation: str
    sensor: str
    conditions: Mapping[str, float]


class PairDataset(Protocol):
    """A finite, indexable set of samples; the same index gives the same bytes."""

    @property
    def name(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def species(self) -> list[str]:
        """The species of every sample, ``bona_fide`` for faces, without its pictures."""
        ...

    def digest(self) -> str:
        """SHA-256 (hex) that changes when any sample would."""
        ...


@dataclass(frozen=True, slots=True)
class SyntheticSpec:
    """A set of rendered pairs, wholly defined by these values and the renderer's code.

    ``subjects``: first and one past the last subject number, so that sets with disjoint ranges share no
    identity. ``bona_fide``/``per_attack``: presentations. ``frames``: pairs of each presentation.
    ``box_jitter``: spread of the face box against the true one, as a fraction of its edge, as a detector
    would cause; ``misregistration``: largest shift of the infrared crop against the RGB one, likewise.
    ``extra``: further presentations of single species, for those that are hard to learn.
    ``shapes``: sources of face shape (`synthetic.SHAPES`), in turns; a subject keeps one when their count divides the
    number of subjects.
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
        unknown = sorted(set(self.species) - set(SPECIES[1:]))
        if unknown:
            raise ValueError(f"data set {self.name!r}: unknown species {unknown}; known are {list(SPECIES[1:])}")
        absent = sorted(set(self.extra) - set(self.species))
        if absent:
            raise ValueError(f"data set {self.name!r}: extra presentations of {absent}, which are not in its species")
        if not self.shapes or set(self.shapes) - set(SHAPES):
            raise ValueError(f"data set {self.name!r}: shapes {list(self.shapes)}; there are {list(SHAPES)}")
        if (
            self.subjects[1] <= self.subjects[0]
            or self.frames < 1
            or min(self.bona_fide, self.per_attack, *self.extra.values()) < 0
        ):
            raise ValueError(
                f"data set {self.name!r}: needs a range of subjects, frames of 1 or more, no negative count"
            )

    def to_json(self) -> dict[str, Any]:
        # Left out where empty, so that a set keeps its digest and its place in the cache.
        return {name: value for name, value in asdict(self).items() if name != "extra" or value}


class SyntheticPairs:
    """`PairDataset` rendered on demand by the synthetic sensor."""

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
        """int64 [len]: 1 bona fide, 0 attack, without rendering anything."""
        kinds = [int(species == BONA_FIDE) for species, _ in self._plan]
        return np.repeat(np.array(kinds, np.int64), self.spec.frames)

    def species(self) -> list[str]:
        """The species of every sample."""
        return [species for species, _ in self._plan for _ in range(self.spec.frames)]

    def __getitem__(self, index: int) -> Sample:
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
        # The detector is wrong in the same way for both crops, the registration for one of them.
        shift, scale = rng.normal(0, spec.box_jitter, 2), float(np.exp(rng.normal(0, spec.box_jitter)))
        offset = rng.uniform(-spec.misregistration, spec.misregistration, 2)
        crops: dict[str, NDArray[Any]] = {
            "rgb": crop(rendered.rgb, jittered(rendered.box, shift, scale), spec.rule),
            "ir": crop(rendered.ir, jittered(rendered.ir_box, shift + offset, scale), spec.rule),
            "depth": crop(rendered.depth, jittered(rendered.ir_box, shift + offset, scale), spec.rule),
        }
        return Sample(
            crops=crops,
            label=rendered.label,
            species=species,
            subject=str(subject),
            presentation=f"{species}-{number}",
            sensor=spec.family,
            conditions={**rendered.conditions, "scan_derived": float(rendered.shape == "scan")},
        )

    def digest(self) -> str:
        """Digest of the specification and of the first and last rendered sample of every species.

        Rendering everything to learn whether anything changed would cost as much as the training set itself;
        a change of the renderer shows in these samples. The rendered cache digests all bytes.
        """
        h = hashlib.sha256(json.dumps(self.spec.to_json(), sort_keys=True).encode())
        for species in {species for species, _ in self._plan}:
            members = [i for i, (s, _) in enumerate(self._plan) if s == species]
            for i in sorted({members[0], members[-1]}):
                for _, array in sorted(self[i * self.spec.frames].crops.items()):
                    h.update(array.tobytes())
        return h.hexdigest()


def jittered(box: Sequence[float], shift: NDArray[np.float64], scale: float) -> Box:
    """``box`` x, y, w, h moved by ``shift`` (fractions of its edges) and scaled about its centre."""
    x, y, w, h = box
    cx, cy = x + w / 2 + shift[0] * w, y + h / 2 + shift[1] * h
    return Box(cx - w * scale / 2, cy - h * scale / 2, w * scale, h * scale)
