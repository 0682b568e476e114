"""Pairing: properties of every pair for arbitrary streams."""

from __future__ import annotations

import itertools
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from runtime.core.units import MS
from runtime.core.values import Frame, IlluminationState, Modality
from runtime.pairing.pairer import MatchedFrames, Pairer, Rejection
from tests.support.streams import by_arrival, frame, push_all, stream, times

STATES: tuple[IlluminationState, ...] = ("lit", "lit", "lit", "dark", "unknown")


@st.composite
def chaos(draw: st.DrawFn) -> list[Frame]:
    """Draw anything that two sources may send: drops, bursts, repeats, times that go back, new generations, and every
    illumination state."""
    frames: list[Frame] = []
    for modality in ("rgb", "ir"):
        time = draw(st.integers(0, 40 * MS))
        generation = 0
        for number in range(draw(st.integers(0, 40))):
            time += draw(st.sampled_from([0, -5 * MS, 3 * MS, 16 * MS, 30 * MS, 33 * MS, 34 * MS, 67 * MS, 400 * MS]))
            generation += draw(st.sampled_from([0] * 12 + [1]))
            delay = draw(st.sampled_from([1 * MS, 8 * MS, 60 * MS, -200 * MS, 5_000 * MS]))
            lit = draw(st.sampled_from(STATES))
            frames.append(frame(modality, time, lit=lit, generation=generation, seq=number, delay_ns=delay))
    return draw(st.permutations(frames)) if draw(st.booleans()) else by_arrival(frames)


@given(chaos(), st.sampled_from([0, 2 * MS, 10 * MS, 25 * MS]), st.integers(-20 * MS, 20 * MS), st.booleans())
def test_what_holds_of_every_pair(frames: list[Frame], limit: int, offset: int, ticking: bool) -> None:
    rejected: list[tuple[Frame, Rejection]] = []
    pairer = Pairer(
        ("rgb", "ir"), max_skew_ns=limit, offsets_ns={"ir": offset}, on_reject=lambda f, why: rejected.append((f, why))
    )
    newest = {"rgb": -1, "ir": -1}
    last: MatchedFrames | None = None
    used: list[int] = []
    for one in frames:
        newest[one.modality] = max(newest[one.modality], one.generation)
        made = [*pairer.push(one), *(pairer.advance(one.t_arrival_ns) if ticking else ())]
        assert pairer.waiting <= 16
        for match in made:
            assert match.first.modality == "rgb"
            assert match.second.modality == "ir"
            skew = abs(match.second.t_capture_ns + offset - match.first.t_capture_ns)
            assert skew <= limit
            assert match.second.lit == "lit"
            assert match.first.generation == newest["rgb"]
            assert match.second.generation == newest["ir"]
            if last is not None:
                assert match.generation >= last.generation
                if match.generation == last.generation:
                    assert match.first_ns > last.first_ns
                    assert match.second_ns > last.second_ns
            if match.dark is not None:
                assert match.dark.lit == "dark"
                assert match.dark.generation == match.second.generation
                assert match.dark_ns is not None
                assert abs(match.dark_ns - match.second_ns) <= 100 * MS
            assert match.pair().skew_ns == skew
            last = match
            used += [id(match.first), id(match.second)]
    ended = Counter(used + [id(f) for f, _ in rejected])
    assert set(ended.values()) <= {1}, "a frame ended twice"
    assert len(ended) + pairer.waiting == len(frames), "a frame vanished"
    assert Counter(why for _, why in rejected) == Counter(pairer.rejected)


@st.composite
def steady_streams(draw: st.DrawFn) -> tuple[list[Frame], list[Frame], int]:
    """Draw two streams that satisfy the rate bound, with jitter of a sixth of a period, drops, and any rates and
    phase."""
    made = []
    both: tuple[Modality, ...] = ("rgb", "ir")
    for modality in both:
        period = draw(st.sampled_from([11, 17, 33, 67])) * MS
        start = draw(st.integers(0, period))
        jitter = draw(st.lists(st.integers(-period // 6, period // 6), min_size=6, max_size=40))
        kept = [k for k in range(len(jitter)) if draw(st.integers(0, 9)) or k < 2]
        made.append(stream(modality, (start + k * period + jitter[k] for k in kept)))
    return made[0], made[1], draw(st.integers(0, 2**32))


@given(steady_streams())
def test_the_interleaving_of_the_streams_does_not_matter(given_streams: tuple[list[Frame], list[Frame], int]) -> None:
    first, second, seed = given_streams
    rng = random.Random(seed)
    # The periods are given, as a rig knows them from its cameras, so that the rate bound applies from the first frame
    # on.
    spans = {
        s[0].modality: min(b.t_capture_ns - a.t_capture_ns for a, b in itertools.pairwise(s)) for s in (first, second)
    }

    def pairs(order: list[Frame]) -> list[tuple[int, int]]:
        pairer = Pairer(("rgb", "ir"), periods_ns=spans, depth=64)
        return times(push_all(pairer, order))

    one, other = list(first), list(second)
    mixed: list[Frame] = []
    while one or other:
        mixed.append((one if one and (not other or rng.random() < 0.5) else other).pop(0))
    made = [pairs(order) for order in (first + second, second + first, by_arrival(first, second), mixed)]
    # Pairs that were decided for one order of arrival are the same for the others, unless these have not been decided
    # yet.
    shortest = min(len(m) for m in made)
    assert all(m[:shortest] == made[0][:shortest] for m in made)
    assert max(len(m) for m in made) - shortest <= 1


@given(st.lists(st.integers(1, 60 * MS), max_size=40), st.lists(st.booleans(), min_size=40, max_size=40))
def test_frames_of_one_moment_pair_in_either_order(steps: list[int], swaps: list[bool]) -> None:
    now, plain, swapped = 0, [], []
    for step, swap in zip(steps, swaps, strict=False):
        now += step
        both = [frame("rgb", now), frame("ir", now)]
        plain += both
        swapped += both[::-1] if swap else both
    assert times(push_all(Pairer(("rgb", "ir")), plain)) == times(push_all(Pairer(("rgb", "ir")), swapped))
    assert len(push_all(Pairer(("rgb", "ir")), swapped)) == len(steps[:40])
