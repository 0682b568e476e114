"""Timing of a simulated scenario: frames, faults and visitors as functions of time.

All times are integer nanoseconds since the scenario started.
"""

from __future__ import annotations

import bisect
import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from runtime.capture.uri import CameraUri
from runtime.core.errors import ConfigError
from runtime.core.units import SECOND

FaultKind = Literal["unplug", "replug", "stall", "hang", "cover", "freeze", "corrupt", "emitter_off", "strobe_stuck"]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
EVENT = re.compile(r"([a-z_]+)@(\d+(?:\.\d+)?)s?(?::(\d+(?:\.\d+)?)s?)?")
FOREVER = 1 << 62
MASK = (1 << 64) - 1


def parse_seconds(uri: CameraUri, text: str) -> int:
    """Convert ``2.5s`` or ``2.5`` to nanoseconds."""
    if not re.fullmatch(r"\d+(\.\d+)?s?", text):
        raise ConfigError(f"{uri.text}: {text!r} is not a time; write seconds, such as 2.5s.")
    return round(float(text.rstrip("s")) * SECOND)


@dataclass(frozen=True, slots=True)
class FaultScript:
    """Faults of one camera: kind → spans [start, end).

    ``unplug`` lasts for the given length or until ``replug``. ``stall``: no frames arrive. ``hang``: reads block and
    ignore their timeout, as with a hung driver. ``cover``: something covers the lens. ``freeze``: the same image
    repeats. ``corrupt``: images cannot be decoded. ``emitter_off``: the illuminator stays off although the camera
    reports it on; ``strobe_stuck``: it stays on.
    """

    spans: tuple[tuple[FaultKind, int, int], ...]

    @classmethod
    def parse(cls, uri: CameraUri) -> FaultScript:
        """Parse the option ``script``, e.g. ``unplug@5s,replug@8s,stall@12s:3s``.

        Raises:
            ConfigError: an event is unknown or malformed.
        """
        events: list[tuple[FaultKind, int, int]] = []
        for part in filter(None, uri.string("script").split(",")):
            match = EVENT.fullmatch(part)
            kind = next((k for k in FAULT_KINDS if match is not None and k == match[1]), None)
            if match is None or kind is None:
                raise ConfigError(
                    f"{uri.text}: a script is event@SECONDSs or event@SECONDSs:LENGTHs, joined by commas; "
                    f"{part!r} is not an event. Events: {', '.join(FAULT_KINDS)}."
                )
            start = round(float(match[2]) * SECOND)
            events.append((kind, start, start + round(float(match[3]) * SECOND) if match[3] else FOREVER))
        replugs = sorted(start for kind, start, _ in events if kind == "replug")
        spans = []
        for kind, start, end in events:
            if kind == "unplug" and end == FOREVER:
                later = bisect.bisect_right(replugs, start)
                end = replugs[later] if later < len(replugs) else FOREVER
            if kind != "replug":
                spans.append((kind, start, end))
        return cls(tuple(spans))

    def active(self, kind: FaultKind, at_ns: int) -> bool:
        """Return whether a fault of this kind is active at ``at_ns``."""
        return any(k == kind and start <= at_ns < end for k, start, end in self.spans)

    def has(self, kind: FaultKind) -> bool:
        """Return whether a fault of this kind ever happens."""
        return any(k == kind for k, _, _ in self.spans)

    def begin(self, kind: FaultKind, at_ns: int) -> int:
        """Return when the active fault of this kind started; ``at_ns`` if none is active."""
        return min((start for k, start, end in self.spans if k == kind and start <= at_ns < end), default=at_ns)


def hashed_uniform(*key: int) -> float:
    """Return a number from 0 to 1 computed from ``key`` alone (finaliser of splitmix64, S. Vigna, public domain)."""
    value = 0
    for part in key:
        value = (value ^ (part & MASK)) + 0x9E3779B97F4A7C15 & MASK
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
        value ^= value >> 31
    return value / 2**64


@dataclass(frozen=True, slots=True)
class FrameSchedule:
    """Times at which a camera exposes its frames and the host receives them. ``drift_ppm``: how much its clock runs
    slow."""

    fps: float
    phase_ns: int
    jitter_ns: int
    drift_ppm: float
    drop: float
    exposure_ns: int
    latency_ns: int
    seed: int

    @classmethod
    def parse(cls, uri: CameraUri, seed: int) -> FrameSchedule:
        """Parse the options ``fps phase_ms jitter_ms drift_ppm drop exposure_ms latency_ms``."""
        fps = uri.number("fps", 30, 1, 240)
        most = 1e3 / fps
        return cls(
            fps=fps,
            phase_ns=round(uri.number("phase_ms", 0, 0, 1000) * 1e6),
            jitter_ns=round(uri.number("jitter_ms", 0, 0, most / 4) * 1e6),
            drift_ppm=uri.number("drift_ppm", 0, -10_000, 10_000),
            drop=uri.number("drop", 0, 0, 0.95),
            exposure_ns=round(uri.number("exposure_ms", min(8.0, most / 2), 0.01, most) * 1e6),
            latency_ns=round(uri.number("latency_ms", 4, 0, 1000) * 1e6),
            seed=seed,
        )

    @property
    def period_ns(self) -> float:
        return SECOND / self.fps * (1 + self.drift_ppm * 1e-6)

    def first_after(self, at_ns: int) -> int:
        """Return the number of the first frame whose exposure starts after ``at_ns``."""
        return max(0, math.ceil((at_ns - self.phase_ns) / self.period_ns) + 1)

    def capture_ns(self, n: int) -> int:
        """Return the middle of the exposure of frame ``n``."""
        jitter = (
            (hashed_uniform(self.seed, n, 1) + hashed_uniform(self.seed, n, 2) - 1) * self.jitter_ns
            if self.jitter_ns
            else 0
        )
        return round(self.phase_ns + n * self.period_ns + jitter) + self.exposure_ns // 2

    def arrival_ns(self, n: int) -> int:
        """Return when the host receives frame ``n``."""
        return self.capture_ns(n) + self.exposure_ns // 2 + self.latency_ns

    def dropped(self, n: int) -> bool:
        """Return whether frame ``n`` is lost in transport."""
        return self.drop > 0 and hashed_uniform(self.seed, n, 3) < self.drop


@dataclass(frozen=True, slots=True)
class StrobePattern:
    """Illuminator pattern: on for ``lit`` frames, then off for ``dark`` frames."""

    lit: int = 1
    dark: int = 0

    @classmethod
    def parse(cls, uri: CameraUri) -> StrobePattern:
        """Parse the option ``strobe``."""
        text = uri.choice("strobe", ("steady", "1:1", "2:1", "1:2"), "steady")
        if text == "steady":
            return cls()
        return cls(int(text[0]), int(text[2]))

    def is_lit(self, n: int) -> bool:
        """Return whether the illuminator is on during frame ``n``."""
        return n % (self.lit + self.dark) < self.lit


@dataclass(frozen=True, slots=True)
class VisitSchedule:
    """Schedule of visitors in front of the cameras.

    There is nobody for ``away_ns``, then the next visitor for ``stay_ns``, and so on. If ``stay_ns`` is 0, the first
    visitor stays forever. Visitor ``k`` is the subject ``subject + k % subjects`` and shows the species ``species[k %
    len(species)]``.
    """

    species: tuple[str, ...]
    subject: int
    subjects: int
    away_ns: int = 0
    stay_ns: int = 0

    @classmethod
    def parse(cls, uri: CameraUri, known: tuple[str, ...], subject: int) -> VisitSchedule:
        """Parse the options ``species`` (comma-separated), ``subject``, ``subjects`` and ``presence`` (AWAY:STAY, s).

        Raises:
            ConfigError: a species is unknown, or there are several visitors without ``presence``.
        """
        species = tuple(uri.string("species", known[0]).split(","))
        unknown = [s for s in species if s not in known]
        if unknown:
            raise ConfigError(f"{uri.text}: unknown species {unknown[0]!r}; use one of {', '.join(known)}.")
        away = stay = 0
        presence = uri.string("presence")
        if presence:
            first, colon, second = presence.partition(":")
            away, stay = parse_seconds(uri, first), parse_seconds(uri, second) if colon else 0
            if stay <= 0:
                raise ConfigError(f"{uri.text}: presence must be AWAY:STAY, e.g. 3s:8s, not {presence!r}.")
        subjects = uri.integer("subjects", 1, 1, 1000)
        if not stay and (len(species) > 1 or subjects > 1):
            raise ConfigError(f"{uri.text}: several visitors come in turn; add how long each stays: presence=3s:8s.")
        return cls(species, uri.integer("subject", subject, 0, 10**9), subjects, away, stay)

    @property
    def distinct(self) -> int:
        """Return the number of distinct visitors, after which they repeat."""
        return math.lcm(len(self.species), self.subjects)

    def at(self, at_ns: int) -> tuple[int, bool]:
        """Return the number of the current or next visitor, below `distinct`, and whether that visitor is present."""
        if not self.stay_ns:
            return 0, True
        number, within = divmod(max(at_ns, 0), self.away_ns + self.stay_ns)
        return number % self.distinct, within >= self.away_ns

    def visitor_of(self, number: int) -> tuple[str, int]:
        """Return a visitor's species and subject."""
        return self.species[number % len(self.species)], self.subject + number % self.subjects


def ping_pong(step: int, count: int) -> int:
    """Return the position after walking ``step`` steps back and forth over ``count`` places."""
    if count < 2:
        return 0
    around = step % (2 * count - 2)
    return around if around < count else 2 * count - 2 - around
