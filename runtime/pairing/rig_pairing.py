"""Turn the frames of a rig's cameras into pairs: classify the illumination, then match in time. No clock, no I/O.

A running `Rig` and the replay of a recording both use this module, so they find the same pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runtime.config.rig import RigSettings
from runtime.core.errors import ConfigError
from runtime.core.reasons import operator_advice
from runtime.core.units import MS
from runtime.core.values import MODALITIES, Frame, IlluminationState, Modality, Pair
from runtime.pairing.advice import phase_advice
from runtime.pairing.illumination import Illumination, IlluminationClassifier, frame_stats
from runtime.pairing.pairer import Pairer


def modalities_of(settings: RigSettings) -> tuple[Modality, Modality]:
    """Return the two modalities for which the settings name a camera.

    Raises:
        ConfigError: the settings do not name exactly two.
    """
    named = [m for m in MODALITIES if getattr(settings, m)]
    if len(named) != 2:
        have = " and ".join(named) or "none"
        raise ConfigError(
            f"a rig needs two cameras of different kinds, but {have} is set: set two of rig.rgb, rig.ir, rig.depth."
        )
    return named[0], named[1]


class RigPairing:
    """Illumination classifier and pairer of one rig. Not thread-safe.

    Raises:
        ConfigError: the settings do not name two cameras.
    """

    def __init__(self, settings: RigSettings) -> None:
        self.modalities = modalities_of(settings)
        self._classifier = IlluminationClassifier(settings.strobe)
        self._pairer = Pairer(
            self.modalities,
            max_skew_ns=round(settings.max_skew_ms * MS),
            offsets_ns={m: round(getattr(settings, f"{m}_offset_ms") * MS) for m in self.modalities},
            strobe=settings.strobe,
        )

    def classify(self, frame: Frame) -> IlluminationState:
        """Return the illumination state of a frame. An IR frame is classified, which updates the classifier; for any
        other frame this is ``frame.lit``."""
        if frame.modality != "ir":
            return frame.lit
        return self._classifier.classify(
            frame_stats(frame.image), t_ns=frame.t_capture_ns, seq=frame.seq, lit=frame.lit, generation=frame.generation
        )

    def push(self, frame: Frame) -> Sequence[Pair]:
        """Add the next frame of either camera and return the pairs that are complete by then, oldest first."""
        # Whether a wait has ended depends on arrival times, not on the time of this call, so a replay gives the same
        # pairs.
        over = self._pairer.advance(frame.t_arrival_ns)
        return [match.pair() for match in (*over, *self._pairer.push(frame, self.classify(frame)))]

    def advance(self, now_ns: int) -> Sequence[Pair]:
        """Return the pairs whose wait has ended at ``now_ns``."""
        return [match.pair() for match in self._pairer.advance(now_ns)]

    @property
    def deadline_ns(self) -> int | None:
        """Time at which `advance` is due; None if no frame waits."""
        return self._pairer.deadline_ns

    @property
    def rejected(self) -> Mapping[str, int]:
        """Reason → number of frames without a pair."""
        return {str(reason): count for reason, count in self._pairer.rejected.items()}

    @property
    def skew_ms(self) -> float | None:
        """Signed skew of the last pair: time of the second modality minus time of the first."""
        skew = self._pairer.last_skew_ns
        return None if skew is None else skew / MS

    @property
    def illumination(self) -> Illumination | None:
        """State of the illuminator; None for a rig without IR."""
        return self._classifier.state if "ir" in self.modalities else None

    @property
    def strobe(self) -> str:
        """State of the illuminator in one word: its fault, otherwise its pattern, otherwise ``unknown``."""
        state = self.illumination
        if state is None:
            return "none"
        return state.reason or state.pattern or "unknown"

    def advice(self, now_ns: int) -> str:
        """Return one line on why no pairs are formed, or may soon not be; empty if nothing is wrong."""
        found = self._pairer.advice(now_ns)
        state = self.illumination
        # If a camera is silent, that is the cause; the last state of the light does not matter.
        if state is not None and state.reason and not found.startswith("no "):
            return operator_advice(state.reason)
        return found or phase_advice(self._pairer.phase, self._pairer.max_skew_ns)
