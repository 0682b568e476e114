"""Separation of lit from dark IR frames by brightness alone, and faults of the illuminator."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from runtime.core.values import IlluminationState
from runtime.pairing.illumination import FrameStats, Illumination, IlluminationClassifier, frame_stats
from runtime.pairing.strobe import RHYTHMS, StrobeMode, StrobeRhythm, best_rhythm_fit

PERIOD = 33_333_333


def levels(
    rhythm: StrobeRhythm, count: int, *, lit: float, dark: float, slope: float = 0, noise: float = 0.5, seed: int = 0
) -> list[float]:
    """Return the mean grey levels of a strobed camera, with a linear trend."""
    rng = random.Random(seed)
    return [(lit if rhythm.is_lit(k) else dark) + slope * k + rng.gauss(0, noise) for k in range(count)]


def feed(
    classifier: IlluminationClassifier,
    means: Sequence[float],
    *,
    numbers: Iterable[int] | None = None,
    counted: bool = True,
    flags: Sequence[IlluminationState] | None = None,
) -> list[IlluminationState]:
    """Classify frames with these mean levels. ``numbers``: numbers of the frames that arrive; None for all."""
    kept = range(len(means)) if numbers is None else numbers
    return [
        classifier.classify(
            FrameStats(means[k], 30.0),
            t_ns=k * PERIOD,
            seq=k if counted else None,
            lit="unknown" if flags is None else flags[k],
        )
        for k in kept
    ]


def truth(rhythm: StrobeRhythm, numbers: Iterable[int]) -> list[IlluminationState]:
    return ["lit" if rhythm.is_lit(k) else "dark" for k in numbers]


def declared_as(rhythm: StrobeRhythm) -> StrobeMode:
    patterns: tuple[StrobeMode, ...] = ("1:1", "2:1", "1:2")
    return next(p for p in patterns if p == rhythm.pattern)


@pytest.mark.parametrize("rhythm", RHYTHMS, ids=lambda r: f"{r.pattern}@{r.start}")
@pytest.mark.parametrize("declared", [True, False])
def test_every_rhythm_is_found_in_twelve_frames(rhythm: StrobeRhythm, declared: bool) -> None:
    classifier = IlluminationClassifier(declared_as(rhythm) if declared else "auto")
    said = feed(classifier, levels(rhythm, 60, lit=90, dark=40))
    assert set(said[:9]) == {"unknown"}
    assert said[12:] == truth(rhythm, range(12, 60))
    assert classifier.state == Illumination(pattern=rhythm.pattern, reason="")


def test_the_smallest_gap_is_found_whatever_the_trend() -> None:
    """With a gap of 8 grey levels, noise of 1 and someone coming nearer, the result is never inverted in 400
    streams."""
    wrong = missed = 0
    for seed in range(400):
        rhythm = RHYTHMS[seed % 2]
        said = feed(
            IlluminationClassifier(),
            levels(rhythm, 40, lit=60, dark=50.5, slope=(seed % 9 - 4) / 2, noise=1, seed=seed),
        )
        expected = truth(rhythm, range(40))
        wrong += sum(a != b for a, b in zip(said, expected, strict=True) if a != "unknown")
        missed += said[30:].count("unknown")
    assert wrong == 0
    assert missed <= 40


@pytest.mark.parametrize("level", [30.0, 120.0])
def test_steady_light_is_no_rhythm(level: float) -> None:
    for seed in range(100):
        rng = random.Random(seed)
        classifier = IlluminationClassifier()
        said = feed(classifier, [level + 0.5 * k * (seed % 3 - 1) * 0.3 + rng.gauss(0, 1) for k in range(40)])
        assert set(said[:11]) == {"unknown"}
        assert set(said[12:]) == {"lit"}
        assert classifier.state.pattern == "steady"


def test_separation_tells_strobe_from_steady_light() -> None:
    rng = random.Random(1)
    strobing = [
        best_rhythm_fit(range(10), levels(RHYTHMS[0], 10, lit=58, dark=50, noise=1, seed=s)).separation
        for s in range(200)
    ]
    steady = [best_rhythm_fit(range(10), [50 + rng.gauss(0, 1) for _ in range(10)]) for _ in range(200)]
    assert min(strobing) > 3
    assert np.median([f.separation for f in steady]) < 2.5
    assert not [f for f in steady if f.gap >= 8]


def test_dropped_frames_do_not_turn_it_round() -> None:
    rng = random.Random(5)
    for counted in (True, False):
        numbers = [k for k in range(300) if rng.random() > 0.25]
        rhythm = RHYTHMS[1]
        said = feed(IlluminationClassifier(), levels(rhythm, 300, lit=80, dark=45), numbers=numbers, counted=counted)
        expected = truth(rhythm, numbers)
        assert all(a in (b, "unknown") for a, b in zip(said, expected, strict=True))
        assert said[20:].count("unknown") <= 3


def test_a_frame_dropped_uncounted_is_noticed() -> None:
    """If a camera drops a frame and does not count it, the state is unknown until the new phase is certain."""
    rhythm = StrobeRhythm(2, 1, 0)
    means = levels(rhythm, 101, lit=80, dark=45)
    del means[50]
    expected = truth(rhythm, [k for k in range(101) if k != 50])
    said = feed(IlluminationClassifier(), means)
    assert all(a in (b, "unknown") for a, b in zip(said, expected, strict=True))
    assert said[70:] == expected[70:]


def test_warm_up_then_alternate() -> None:
    """There is a camera that sends five equal frames before its strobe starts."""
    rhythm = StrobeRhythm(2, 1, 1)
    means = [100.0] * 5 + levels(rhythm, 60, lit=167, dark=44)[5:]
    said = feed(IlluminationClassifier(), means)
    assert set(said[:5]) == {"unknown"}
    assert all(a in (b, "unknown") for a, b in zip(said, truth(rhythm, range(60)), strict=True))
    assert said[20:] == truth(rhythm, range(20, 60))


def test_a_strobe_that_starts_late_is_not_taken_for_steady_light() -> None:
    rhythm = StrobeRhythm(2, 1, 0)
    means = [80.0] * 40 + levels(rhythm, 100, lit=80, dark=30)[40:]
    said = feed(IlluminationClassifier(), means)
    assert set(said[12:40]) == {"lit"}
    assert all(a in (b, "unknown") for a, b in zip(said[40:], truth(rhythm, range(40, 100)), strict=True))
    assert said[60:] == truth(rhythm, range(60, 100))


def test_a_lost_strobe_is_reported_and_taken_up_again() -> None:
    classifier = IlluminationClassifier()
    rhythm = StrobeRhythm(2, 1, 0)
    means = levels(rhythm, 150, lit=90, dark=40)
    means[50:100] = [40.0] * 50  # the illuminator fails and comes back
    said = feed(classifier, means[:100])
    assert said[80:] == ["unknown"] * 20
    assert classifier.state == Illumination(pattern="", reason="strobe_lost")
    again = [classifier.classify(FrameStats(means[k], 30), t_ns=k * PERIOD, seq=k) for k in range(100, 150)]
    assert again[6:] == truth(rhythm, range(106, 150))
    assert classifier.state.reason == ""


def test_a_declared_strobe_that_never_comes_is_lost() -> None:
    classifier = IlluminationClassifier("1:1")
    assert set(feed(classifier, [60.0] * 40)) == {"unknown"}
    assert classifier.state.reason == "strobe_lost"


def test_all_dark_is_unlit() -> None:
    states: tuple[StrobeMode, ...] = ("auto", "steady")
    for strobe in states:
        classifier = IlluminationClassifier(strobe)
        assert set(feed(classifier, [4.0] * 40)) == {"unknown"}
        assert classifier.state.reason == "ir_unlit"


def test_sun_floods() -> None:
    rhythm = StrobeRhythm(2, 1, 0)
    classifier = IlluminationClassifier()
    feed(classifier, levels(rhythm, 40, lit=190, dark=176))
    assert classifier.state.reason == "ambient_flood"
    classifier = IlluminationClassifier("1:1")
    feed(classifier, levels(rhythm, 40, lit=181, dark=180))
    assert classifier.state.reason == "ambient_flood"


def test_what_the_camera_says_is_taken_over() -> None:
    rhythm = StrobeRhythm(2, 1, 0)
    flags = truth(rhythm, range(40))
    flags[0] = "unknown"  # the first frame after a start has no record
    classifier = IlluminationClassifier()
    assert feed(classifier, levels(rhythm, 40, lit=90, dark=40), flags=flags) == flags
    assert classifier.state == Illumination(pattern="1:1", reason="")


def test_what_the_camera_says_and_the_picture_does_not_show() -> None:
    flags = truth(StrobeRhythm(2, 1, 0), range(40))
    classifier = IlluminationClassifier()
    assert feed(classifier, [70.0] * 40, flags=flags) == flags
    assert classifier.state.reason == "strobe_lost"
    classifier = IlluminationClassifier()
    feed(classifier, [70.0] * 40, flags=["dark"] * 40)
    assert classifier.state.reason == "ir_unlit"


def test_no_illuminator_counts_as_lit() -> None:
    classifier = IlluminationClassifier("none")
    assert set(feed(classifier, [4.0] * 40)) == {"lit"}
    assert classifier.state.reason == ""


def test_a_new_epoch_starts_over() -> None:
    classifier = IlluminationClassifier()
    feed(classifier, levels(RHYTHMS[0], 40, lit=90, dark=40))
    assert classifier.state.pattern == "1:1"
    assert classifier.classify(FrameStats(90, 30), t_ns=41 * PERIOD, seq=0, generation=1) == "unknown"
    assert classifier.state.pattern == ""


def test_numbers_that_wrap_or_start_anew() -> None:
    rhythm = StrobeRhythm(2, 1, 0)
    means = levels(rhythm, 60, lit=90, dark=40)
    for first in (2**32 - 30, 0):
        classifier = IlluminationClassifier()
        numbers = [(first + k) % 2**32 if first else (k if k < 30 else k - 29) for k in range(60)]
        said = [
            classifier.classify(FrameStats(m, 30), t_ns=k * PERIOD, seq=n)
            for k, (m, n) in enumerate(zip(means, numbers, strict=True))
        ]
        assert all(a in (b, "unknown") for a, b in zip(said, truth(rhythm, range(60)), strict=True))
        assert said[45:] == truth(rhythm, range(45, 60))


def test_statistics_of_a_frame() -> None:
    image = np.zeros((480, 640, 1), np.uint8)
    image[:, 320:] = 255
    stats = frame_stats(image)
    assert stats.mean == pytest.approx(127.5)
    assert stats.std == pytest.approx(127.5)
    assert frame_stats(image[:, :, 0]) == stats
