"""Match the frames of two cameras into pairs.

The result depends only on the frames pushed and the times passed to `Pairer.advance`: there is no clock, no thread and
no I/O.

Two frames form a pair if each is the nearest to the other in time and they are no further apart than the limit. Times
are those of mid-exposure. A frame waits only while a nearer frame may still arrive. The wait is short because streams
are periodic: the next frame of a stream is assumed to be at least 0.6 of a period after the last one (the rate bound).

If the limit is above half a period, a frame can have two neighbours within the limit. Because of jitter, sometimes one
of them is nearer and sometimes the other, and each change would leave a frame without a partner. Neighbours are
therefore compared after subtracting the running phase (`runtime.pairing.phase`). If the phase is nearly half a period,
neither neighbour is much nearer, so the oldest frames are matched to avoid losing a pair. The limit always applies to
the real difference.

Each decision looks at the oldest undecided frame of each stream and at no more than one frame after them. It also uses
the running phase and periods, which follow from earlier decisions. As long as the rate bound holds and no frame is very
late, every interleaving of the two streams gives the same pairs; only the dark frame after an IR frame may be missing.
A late frame can change the result in two ways. `Pairer.advance` decides without it, although it would have been nearer.
And if a stream is more than ``depth`` frames ahead of the other, it loses its oldest frame as ``no_partner``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from runtime.core.units import MS
from runtime.core.values import Frame, IlluminationState, Modality, Pair
from runtime.pairing.advice import pairing_advice
from runtime.pairing.phase import PeriodEstimator, Phase, PhaseTracker
from runtime.pairing.strobe import StrobeMode

Rejection = Literal[
    "skew",
    "surplus",
    "nearer",
    "no_partner",
    "ir_dark",
    "ir_unknown",
    "epoch",
    "time_backwards",
    "clock_mismatch",
]
"""Why a frame is in no pair.

``skew``: the nearest frame of the other stream is beyond the limit. ``surplus``: the same, for a frame of the faster
stream of a rig with two rates, where it is harmless. ``nearer``: another frame of the same stream was nearer.
``no_partner``: the other stream was silent. ``ir_dark``: an IR frame with the illuminator off. ``ir_unknown``: an IR
frame of unknown illumination. ``epoch``: a frame from before its stream was opened again. ``time_backwards``: not later
than the previous frame of its stream. ``clock_mismatch``: its capture time cannot be on the host's clock.
"""
REJECTIONS: tuple[Rejection, ...] = get_args(Rejection)

MAX_SKEW_NS = 10 * MS
"""In 10 ms a head at 0.3 m/s, half a metre away, moves 3 pixels at a focal length of 500 pixels: 2 % of the face."""
MAX_DARK_GAP_NS = 100 * MS
"""Longest time between a lit IR frame and its dark neighbour."""
MAX_AGE_NS = 2_000 * MS
MAX_AHEAD_NS = 100 * MS
"""A capture time more than MAX_AGE_NS before or MAX_AHEAD_NS after the frame's arrival is not on the host's clock.
`MAX_AHEAD_NS` leaves room for the kernel's virtual camera, whose timestamps are 29 ms ahead. It is kept small because
one accepted timestamp in the far future would make all later frames look out of order."""
_UNKNOWN_WAIT_NS = 8 * MS
_DEPTH = 8


class MatchedFrames(NamedTuple):
    """Two matching frames, in the order of the pairer's modalities.

    ``first_ns``, ``second_ns``: mid-exposure with the streams' offsets applied. ``dark``: the adjacent IR frame taken
    with the illuminator off, None if there is none; ``dark_ns``: its time, with the offset applied. ``generation``: sum
    of both streams' generations, so that it increases when either is opened again.
    """

    first: Frame
    second: Frame
    first_ns: int
    second_ns: int
    generation: int
    dark: Frame | None
    dark_ns: int | None

    @property
    def frames(self) -> tuple[Frame, Frame]:
        return self.first, self.second

    def pair(self) -> Pair:
        """Return the pair for the pipeline. An IR frame is marked ``lit``: frames that do not count as lit are never
        matched."""
        images = {self.first.modality: self.first.image, self.second.modality: self.second.image}
        times = {self.first.modality: self.first_ns, self.second.modality: self.second_ns}
        sources = dict.fromkeys(frame.timestamp_source for frame in self.frames)
        return Pair(
            rgb=images.get("rgb"),
            ir=images.get("ir"),
            depth=images.get("depth"),
            rgb_time_ns=times.get("rgb"),
            ir_time_ns=times.get("ir"),
            depth_time_ns=times.get("depth"),
            ir_dark=None if self.dark is None else self.dark.image,
            ir_dark_time_ns=self.dark_ns,
            lit="lit" if "ir" in images else "unknown",
            generation=self.generation,
            clock="+".join(sources),
            source="camera",
        )


class _FrameStream:
    """Undecided frames of one stream, oldest first, as (time, frame, dark neighbour)."""

    __slots__ = (
        "dark",
        "generation",
        "is_ir",
        "last",
        "last_arrival",
        "modality",
        "offset",
        "period",
        "previous",
        "queue",
    )

    def __init__(self, modality: Modality, offset: int, period: int) -> None:
        self.modality = modality
        self.is_ir = modality == "ir"
        self.offset = offset
        self.queue: deque[tuple[int, Frame, Frame | None]] = deque()
        self.period = PeriodEstimator(period)
        self.generation = -1
        self.restart(-1)
        self.last_arrival: int | None = None

    def restart(self, generation: int) -> None:
        self.generation = generation
        self.last: int | None = None  # time of the newest frame in order, even if dark or of unknown illumination
        self.previous: int | None = None  # time of the newest decided frame
        self.dark: Frame | None = None  # the newest frame, if it was dark

    def pop(self) -> tuple[int, Frame, Frame | None]:
        """Remove and return the oldest frame.

        The period is updated here rather than on arrival, so that it does not depend on how the streams interleave.
        """
        entry = self.queue.popleft()
        if self.previous is not None:
            self.period.add(entry[0] - self.previous)
        self.previous = entry[0]
        return entry


class Pairer:
    """Matcher of two streams. Not thread-safe: one thread pushes the frames of both cameras.

    ``modalities``: two different modalities. ``max_skew_ns``: maximum difference between the two mid-exposures of a
    pair. ``offsets_ns``: modality → offset added to its capture times. ``periods_ns``: modality → frame period if known
    beforehand; otherwise it is measured. ``strobe``: the IR illumination declared for the rig. With ``steady``, frames
    of unknown illumination count as lit; with ``none`` all frames do; otherwise unknown frames are rejected at once as
    ``ir_unknown``. ``on_reject``: called with each rejected frame and the reason, as soon as it is rejected. ``depth``:
    maximum number of undecided frames kept for each stream.

    Raises:
        ValueError: invalid modalities, limits or periods.
    """

    def __init__(
        self,
        modalities: tuple[Modality, Modality],
        *,
        max_skew_ns: int = MAX_SKEW_NS,
        offsets_ns: Mapping[Modality, int] | None = None,
        periods_ns: Mapping[Modality, int] | None = None,
        strobe: StrobeMode = "auto",
        depth: int = _DEPTH,
        on_reject: Callable[[Frame, Rejection], None] | None = None,
    ) -> None:
        offsets, periods = offsets_ns or {}, periods_ns or {}
        if len(modalities) != 2 or modalities[0] == modalities[1]:
            raise ValueError(f"a pairer needs two different modalities, not {modalities}.")
        if max_skew_ns < 0 or depth < 2 or any(period < 0 for period in periods.values()):
            raise ValueError("max_skew_ns and periods_ns must not be negative, and depth must be 2 or more.")
        self.modalities = modalities
        self.max_skew_ns = max_skew_ns
        self._first, self._second = (_FrameStream(m, offsets.get(m, 0), periods.get(m, 0)) for m in modalities)
        self._strobe = strobe
        self._depth = depth
        self._on_reject = on_reject
        self._tracker = PhaseTracker()
        self._rejected: dict[Rejection, int] = dict.fromkeys(REJECTIONS, 0)
        self._since: dict[Rejection, int] = {}
        self.pairs = 0
        self.last_skew_ns: int | None = None
        """Signed skew of the last pair: time in the second stream minus time in the first."""

    # -- input -------------------------------------------------------------------------------------------------------

    def push(self, frame: Frame, lit: IlluminationState | None = None) -> Sequence[MatchedFrames]:
        """Add a frame and return the pairs that it completes, oldest first. ``lit`` overrides ``frame.lit``.

        Raises:
            ValueError: the frame's modality is not one of this pairer's.
        """
        stream = self._first
        if frame.modality != stream.modality:
            stream = self._second
            if frame.modality != stream.modality:
                raise ValueError(f"this pairer takes {' and '.join(self.modalities)}, not {frame.modality}.")
        generation = frame.generation
        if generation != stream.generation:
            if generation < stream.generation:
                self._reject(frame, "epoch")
                return ()
            self._open(stream, generation)
        captured = frame.t_capture_ns
        arrival = frame.t_arrival_ns
        stream.last_arrival = arrival
        if not -MAX_AHEAD_NS <= arrival - captured <= MAX_AGE_NS:
            self._reject(frame, "clock_mismatch")
            return ()
        time = captured + stream.offset
        if stream.last is not None and time <= stream.last:
            self._reject(frame, "time_backwards")
            return ()
        stream.last = time
        dark = None
        if stream.is_ir:
            if lit is None:
                lit = frame.lit
            if lit != "lit" and self._strobe != "none":
                if lit == "dark":
                    stream.dark = frame
                    self._reject(frame, "ir_dark")
                    return ()
                if self._strobe != "steady":
                    stream.dark = None
                    self._reject(frame, "ir_unknown")
                    return ()
            dark = stream.dark
            stream.dark = None
        queue = stream.queue
        queue.append((time, frame, dark))
        if len(queue) > self._depth:
            self._reject(stream.pop()[1], "no_partner")
        if self._first.queue and self._second.queue:
            return self._settle(forced=False)
        return ()

    def advance(self, now_ns: int) -> Sequence[MatchedFrames]:
        """Return the pairs whose wait has ended at ``now_ns``. Needed only if `deadline_ns` is not None."""
        deadline = self.deadline_ns
        if deadline is None or now_ns < deadline:
            return ()
        return self._settle(forced=True)

    @property
    def deadline_ns(self) -> int | None:
        """Time at which `advance` decides on the waiting frames; None unless both streams have an undecided frame.

        The time is on the clock of the arrival times. It is 0.55 of the awaited stream's period (8 ms if unknown) after
        both frames have arrived, so the wait ends even if that stream has stopped.
        """
        first, second = self._first.queue, self._second.queue
        if not first or not second:
            return None
        earlier = self._first if second[0][0] - first[0][0] >= self._tracker.shift else self._second
        period = earlier.period.value
        wait = 11 * period // 20 if period else _UNKNOWN_WAIT_NS
        return max(first[0][1].t_arrival_ns, second[0][1].t_arrival_ns) + wait

    # -- state -------------------------------------------------------------------------------------------------------

    @property
    def rejected(self) -> Mapping[Rejection, int]:
        """Number of frames without a pair, by reason. Reasons that have not occurred are left out."""
        return {reason: count for reason, count in self._rejected.items() if count}

    @property
    def waiting(self) -> int:
        """Number of undecided frames; at most twice ``depth``."""
        return len(self._first.queue) + len(self._second.queue)

    @property
    def phase(self) -> Phase:
        """Phase of the second stream relative to the first."""
        return self._tracker.phase

    def advice(self, now_ns: int) -> str:
        """Return one line on why no pairs are formed and what to do, or an empty string if nothing is wrong."""
        arrivals = {s.modality: s.last_arrival for s in (self._first, self._second)}
        return pairing_advice(
            arrivals=arrivals,
            since={str(reason): count for reason, count in self._since.items()},
            phase=self.phase,
            max_skew_ns=self.max_skew_ns,
            paired=self.pairs > 0,
            now_ns=now_ns,
        )

    # -- matching ----------------------------------------------------------------------------------------------------

    def _settle(self, *, forced: bool) -> Sequence[MatchedFrames]:
        first, second = self._first, self._second
        ours, theirs = first.queue, second.queue
        limit = self.max_skew_ns
        tracker = self._tracker
        made: list[MatchedFrames] = []
        while ours and theirs:
            difference = theirs[0][0] - ours[0][0]
            if difference > limit:
                # Later frames of the second stream are even further away.
                self._reject_unmatched(first, second, difference)
                continue
            if difference < -limit:
                self._reject_unmatched(second, first, difference)
                continue
            # ``early`` and ``late``: the streams ordered by time after the phase is subtracted. All later frames of the
            # late stream are further away from the early frame. What remains to be decided is whether the next frame of
            # the early stream is nearer to the late frame.
            gap = difference - tracker.shift
            early, late = first, second
            if gap < 0:
                early, late, gap = second, first, -gap
            # If the streams are about half a period apart, skip this: preferring the nearer frame would leave the early
            # frame without a partner and gain almost nothing.
            if not tracker.between or 3 * late.period.value // 5 - gap > limit:
                queue = early.queue
                if len(queue) > 1:
                    step = queue[1][0] - queue[0][0]
                    beyond = abs(difference - step if early is first else difference + step) > limit
                    if abs(step - gap) < gap and not beyond:
                        self._reject(early.pop()[1], "nearer")
                        continue
                elif 10 * gap > 3 * early.period.value and not forced and gap:
                    break  # the next frame may come after 0.6 of a period and be nearer
            self._learn(difference)
            made.append(self._match(difference))
        return made

    def _match(self, difference: int) -> MatchedFrames:
        first, second = self._first, self._second
        first_ns, one, first_dark = first.pop()
        second_ns, other, second_dark = second.pop()
        dark: Frame | None = None
        dark_ns = None
        is_ir = first if first.is_ir else second if second.is_ir else None
        if is_ir is not None:
            dark = first_dark if is_ir is first else second_dark
            lit_ns = first_ns if is_ir is first else second_ns
            if dark is None and not is_ir.queue:
                dark = is_ir.dark  # the dark frame after it, if it has arrived already
            if dark is not None:
                dark_ns = dark.t_capture_ns + is_ir.offset
                if abs(dark_ns - lit_ns) > MAX_DARK_GAP_NS:
                    dark = dark_ns = None
        self.pairs += 1
        self.last_skew_ns = difference
        if self._since:
            self._since = {}
        return MatchedFrames(one, other, first_ns, second_ns, first.generation + second.generation, dark, dark_ns)

    def _reject_unmatched(self, stream: _FrameStream, other: _FrameStream, difference: int) -> None:
        self._learn(difference)
        frame = stream.pop()[1]
        faster = 4 * stream.period.value < 3 * other.period.value
        self._reject(frame, "surplus" if faster else "skew")

    def _learn(self, difference: int) -> None:
        one, other = self._first.period.value, self._second.period.value
        if one and other:
            self._tracker.add(difference, min(one, other))

    def _open(self, stream: _FrameStream, generation: int) -> None:
        """Restart a stream that was opened again, so that no frame from before is paired with one from after."""
        while stream.queue:
            self._reject(stream.queue.popleft()[1], "epoch")
        stream.restart(generation)
        self._tracker.reset()

    def _reject(self, frame: Frame, reason: Rejection) -> None:
        self._rejected[reason] += 1
        since = self._since
        since[reason] = since.get(reason, 0) + 1
        if self._on_reject is not None:
            self._on_reject(frame, reason)
