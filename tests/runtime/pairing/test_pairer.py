"""Pairing: properties of every pair for arbitrary streams, and results in known situations."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.core.values import Frame, IlluminationState, Modality
from runtime.pairing.pairer import MAX_SKEW_NS, REJECTIONS, MatchedFrames, Pairer, Rejection
from tests.support.streams import MS, PERIOD, by_arrival, frame, regular, stream


def run(pairer: Pairer, frames: Iterable[Frame]) -> list[MatchedFrames]:
    return [match for one in frames for match in pairer.push(one)]


def times(matches: Iterable[MatchedFrames]) -> list[tuple[int, int]]:
    return [(m.first.t_capture_ns, m.second.t_capture_ns) for m in matches]


# -- properties ------------------------------------------------------------------------------------------------------

STATES: tuple[IlluminationState, ...] = ("lit", "lit", "lit", "dark", "unknown")


@st.composite
def chaos(draw: st.DrawFn) -> list[Frame]:
    """Anything two sources may send: drops, bursts, repeats, times that go back, new generations, any illumination."""
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
            assert match.skew_ns == abs(match.second.t_capture_ns + offset - match.first.t_capture_ns) <= limit
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
            pair = match.pair()
            assert pair.skew_ns == match.skew_ns
            last = match
            used += [id(match.first), id(match.second)]
    ended = Counter(used + [id(f) for f, _ in rejected])
    assert set(ended.values()) <= {1}, "a frame ended twice"
    assert len(ended) + pairer.waiting == len(frames), "a frame vanished"
    assert Counter(why for _, why in rejected) == Counter(pairer.rejected)


@st.composite
def steady_streams(draw: st.DrawFn) -> tuple[list[Frame], list[Frame], int]:
    """Two streams within the rate bound: jitter of a sixth of a period, drops, any rates and phase."""
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
    # The periods are given, as a rig knows them from its cameras, so the rate bound holds from the first frame on.
    spans = {
        s[0].modality: min(b.t_capture_ns - a.t_capture_ns for a, b in itertools.pairwise(s)) for s in (first, second)
    }

    def pairs(order: list[Frame]) -> list[tuple[int, int]]:
        pairer = Pairer(("rgb", "ir"), periods_ns=spans, depth=64)
        return times(run(pairer, order))

    one, other = list(first), list(second)
    mixed: list[Frame] = []
    while one or other:
        mixed.append((one if one and (not other or rng.random() < 0.5) else other).pop(0))
    made = [pairs(order) for order in (first + second, second + first, by_arrival(first, second), mixed)]
    # At the end each order may leave other frames undecided; the pairs that all of them settled are the same.
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
    assert times(run(Pairer(("rgb", "ir")), plain)) == times(run(Pairer(("rgb", "ir")), swapped))
    assert len(run(Pairer(("rgb", "ir")), swapped)) == len(steps[:40])


# -- situations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairing", [("rgb", "ir"), ("ir", "depth"), ("rgb", "depth"), ("depth", "rgb")])
def test_any_two_modalities(pairing: tuple[Modality, Modality]) -> None:
    first, second = pairing
    frames = by_arrival(regular(first, 20), regular(second, 20, start=4 * MS))
    matches = run(Pairer(pairing), frames)
    assert len(matches) == 20
    pair = matches[3].pair()
    assert pair.skew_ns == 4 * MS
    assert pair.source == "camera"
    assert pair.image(first) is matches[3].first.image
    assert pair.lit == ("lit" if "ir" in pairing else "unknown")


def test_a_pair_is_complete_with_its_later_frame() -> None:
    """A pair does not wait for another frame if none could be nearer."""
    pairer = Pairer(("rgb", "ir"))
    for one in by_arrival(regular("rgb", 60), regular("ir", 60, start=6 * MS)):
        made = pairer.push(one)
        if one.modality == "ir" and one.t_capture_ns > 4 * PERIOD:
            assert [m.second for m in made] == [one]


def test_offsets_move_streams() -> None:
    frames = by_arrival(regular("rgb", 10), regular("ir", 10, start=14 * MS))
    assert not run(Pairer(("rgb", "ir")), frames)
    pairer = Pairer(("rgb", "ir"), offsets_ns={"ir": -14 * MS})
    matches = run(pairer, frames)
    assert [m.skew_ns for m in matches] == [0] * 10
    assert matches[0].pair().ir_time_ns == matches[0].pair().rgb_time_ns == 0


def test_never_across_an_epoch() -> None:
    pairer = Pairer(("rgb", "ir"), periods_ns={"rgb": PERIOD, "ir": PERIOD})
    assert not pairer.push(frame("rgb", 0, generation=0))
    assert not pairer.push(frame("rgb", PERIOD, generation=1))
    assert not pairer.push(frame("ir", 1 * MS))
    (match,) = pairer.push(frame("ir", PERIOD + 1 * MS))
    assert match.first.generation == 1
    assert match.generation == 1
    assert not pairer.push(frame("rgb", 2 * PERIOD, generation=0))
    assert pairer.rejected == {"epoch": 2, "skew": 1}


def test_strobed_infrared_pairs_when_lit_and_brings_its_dark_neighbour() -> None:
    states: list[IlluminationState] = ["dark", "lit"] * 15
    infrared = [frame("ir", k * PERIOD + 3 * MS, lit=state, seq=k) for k, state in enumerate(states)]
    pairer = Pairer(("rgb", "ir"))
    matches = run(pairer, by_arrival(regular("rgb", 30), infrared))
    assert [m.second.seq for m in matches] == list(range(1, 30, 2))
    assert all(m.dark is not None and m.dark.seq == m.second.seq - 1 for m in matches if m.second.seq)
    assert matches[4].pair().ir_dark is infrared[8].image
    assert matches[4].pair().ir_dark_time_ns == 8 * PERIOD + 3 * MS
    # Every second RGB frame has no partner, as expected.
    assert pairer.rejected["ir_dark"] == 15
    assert pairer.rejected.get("surplus", 0) > pairer.rejected.get("skew", 0)


def test_only_the_frame_directly_before_is_a_neighbour() -> None:
    """At 2:1 the second lit frame's dark neighbour comes after it, and the pair does not wait for it."""
    states: list[IlluminationState] = ["dark", "lit", "lit"] * 10
    infrared = [frame("ir", k * PERIOD, lit=state, seq=k) for k, state in enumerate(states)]
    matches = run(Pairer(("rgb", "ir")), by_arrival(infrared, regular("rgb", 30)))
    assert len(matches) == 20
    assert [m.dark.seq if m.dark else None for m in matches[:4]] == [0, None, 3, None]


def test_a_dark_frame_from_long_ago_is_no_neighbour() -> None:
    pairer = Pairer(("rgb", "ir"))
    pairer.push(frame("ir", 0, lit="dark"))
    pairer.push(frame("ir", 150 * MS))
    (match,) = pairer.push(frame("rgb", 150 * MS))
    assert match.dark is None
    assert match.dark_ns is None


@pytest.mark.parametrize(
    ("strobe", "lit", "reason"),
    [
        ("auto", "unknown", "ir_unknown"),
        ("auto", "dark", "ir_dark"),
        ("1:1", "unknown", "ir_unknown"),
        ("steady", "unknown", None),
        ("steady", "dark", "ir_dark"),
        ("none", "unknown", None),
        ("none", "dark", None),
    ],
)
def test_what_counts_as_lit(strobe: str, lit: IlluminationState, reason: Rejection | None) -> None:
    pairer = Pairer(("rgb", "ir"), strobe=strobe)  # type: ignore[arg-type]
    pairer.push(frame("rgb", 0))
    made = pairer.push(frame("ir", 0, lit=lit))
    assert len(made) == (reason is None)
    assert pairer.rejected == ({} if reason is None else {reason: 1})


def test_a_state_from_outside_overrides_the_frames_own() -> None:
    pairer = Pairer(("rgb", "ir"))
    pairer.push(frame("rgb", 0))
    assert not pairer.push(frame("ir", 0, lit="lit"), "dark")
    pairer.push(frame("rgb", PERIOD))
    (match,) = pairer.push(frame("ir", PERIOD, lit="unknown"), "lit")
    assert match.pair().lit == "lit"


def test_times_that_are_not_the_hosts_do_not_shut_out_what_follows() -> None:
    pairer = Pairer(("rgb", "ir"))
    pairer.push(frame("ir", 3_600_000 * MS, delay_ns=-3_600_000 * MS + 5 * MS))
    assert pairer.rejected == {"clock_mismatch": 1}
    assert len(run(pairer, by_arrival(regular("rgb", 5), regular("ir", 5)))) == 5


def test_a_silent_stream_costs_bounded_memory() -> None:
    pairer = Pairer(("rgb", "ir"), depth=4)
    run(pairer, regular("rgb", 100))
    assert pairer.waiting == 4
    assert pairer.rejected == {"no_partner": 96}


def test_half_a_period_apart_with_jitter_costs_hardly_a_pair() -> None:
    rng = random.Random(3)
    count = 600
    colour = stream("rgb", (k * PERIOD + int(rng.gauss(0, 2 * MS)) for k in range(count)))
    infrared = stream("ir", (k * PERIOD + 15 * MS + int(rng.gauss(0, 2 * MS)) for k in range(count)))
    matches = run(Pairer(("rgb", "ir"), max_skew_ns=25 * MS), by_arrival(colour, infrared))
    assert len(matches) >= 0.98 * count


def test_drift_changes_the_partner_once_for_each_slip() -> None:
    """A rate difference of 1 % over 300 frames slips by three periods: three frames have no partner."""
    frames = by_arrival(regular("rgb", 300), regular("ir", 297, period=PERIOD * 100 // 99))
    matches = run(Pairer(("rgb", "ir"), max_skew_ns=25 * MS), frames)
    assert len(matches) >= 294


def test_a_wide_limit_does_not_hold_on_to_the_wrong_neighbour() -> None:
    """At 90 frames/s a limit of 10 ms is nearly a period: 10 ms after one frame is 1.1 ms before the next."""
    period = 11_111_111
    frames = by_arrival(regular("rgb", 200, period=period), regular("ir", 200, period=period, start=10 * MS))
    matches = run(Pairer(("rgb", "ir")), frames)
    assert len(matches) >= 198
    assert max(m.skew_ns for m in matches[2:]) < 2 * MS


def test_infrared_at_half_rate_takes_the_nearer_colour_frame() -> None:
    """Every second RGB frame has no partner, so preferring the nearer one costs nothing."""
    frames = by_arrival(regular("rgb", 100), regular("ir", 50, period=2 * PERIOD, start=19 * MS))
    matches = run(Pairer(("rgb", "ir"), max_skew_ns=20 * MS), frames)
    assert len(matches) >= 48
    assert max(m.skew_ns for m in matches[1:]) < 15 * MS


def test_a_wait_has_a_deadline() -> None:
    pairer = Pairer(("rgb", "ir"), max_skew_ns=20 * MS, periods_ns={"rgb": PERIOD, "ir": PERIOD})
    pairer.push(frame("rgb", 0))
    assert pairer.deadline_ns is None
    # 16 ms apart: a nearer RGB frame may still come.
    assert not pairer.push(frame("ir", 16 * MS))
    deadline = pairer.deadline_ns
    assert deadline == 24 * MS + 11 * PERIOD // 20
    assert not pairer.advance(deadline - 1)
    (match,) = pairer.advance(deadline)
    assert match.skew_ns == 16 * MS
    assert pairer.deadline_ns is None


def test_a_third_of_a_period_apart_nothing_waits_once_the_phase_is_known() -> None:
    period = 16_666_667
    pairer = Pairer(("rgb", "ir"))
    frames = by_arrival(regular("rgb", 60, period=period), regular("ir", 60, period=period, start=5_500_000))
    for number, one in enumerate(frames):
        made = pairer.push(one)
        if number > 30:
            assert [m.second for m in made] == [one] * (one.modality == "ir")


def test_a_nearer_frame_beyond_the_limit_costs_no_pair() -> None:
    """A frame nearer by phase but further in time: the limit applies to the time."""
    pairer = Pairer(("rgb", "ir"))
    period = 20 * MS
    run(pairer, by_arrival(regular("rgb", 40, period=period), regular("ir", 40, period=period, start=7 * MS)))
    assert pairer.phase.stable
    base = 40 * period + 100 * MS
    for time in (base, base + 13 * MS):
        assert not pairer.push(frame("ir", time))
    (match,) = pairer.push(frame("rgb", base))
    assert match.second_ns == base


def test_waiting_finds_the_nearer_frame() -> None:
    pairer = Pairer(("rgb", "ir"), max_skew_ns=20 * MS)
    pairer.push(frame("rgb", 0))
    assert not pairer.push(frame("ir", 19 * MS))
    assert not pairer.push(frame("rgb", PERIOD))  # 14 ms apart: a nearer infrared frame may still come
    (match,) = pairer.push(frame("ir", 19 * MS + PERIOD))
    assert (match.first_ns, match.second_ns) == (PERIOD, 19 * MS)
    assert pairer.rejected == {"nearer": 1}


@pytest.mark.parametrize(
    ("modalities", "settings"),
    [(("rgb", "rgb"), {}), (("rgb", "ir"), {"max_skew_ns": -1}), (("rgb", "ir"), {"depth": 1})],
)
def test_nonsense_is_refused(modalities: tuple[Modality, Modality], settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must|two different"):
        Pairer(modalities, **settings)  # type: ignore[arg-type]


def test_a_foreign_modality_is_refused() -> None:
    with pytest.raises(ValueError, match="rgb and ir, not depth"):
        Pairer(("rgb", "ir")).push(frame("depth", 0))


# -- phase and advice ------------------------------------------------------------------------------------------------


def test_the_phase_is_reported_with_and_without_pairs() -> None:
    for start in (4 * MS, 14 * MS, -15 * MS):
        pairer = Pairer(("rgb", "ir"))
        run(pairer, by_arrival(regular("rgb", 60), regular("ir", 60, start=start + PERIOD)))
        assert pairer.phase.stable
        assert pairer.phase.phase_ns == pytest.approx(start, abs=MS // 10)
        assert pairer.phase.period_ns == pytest.approx(PERIOD, abs=MS // 10)
        assert pairer.phase.of_period == pytest.approx(abs(start) / PERIOD, abs=0.01)


def test_a_new_epoch_has_a_phase_of_its_own() -> None:
    pairer = Pairer(("rgb", "ir"))
    run(pairer, by_arrival(regular("rgb", 60), regular("ir", 60, start=4 * MS)))
    assert pairer.phase.stable
    pairer.push(frame("ir", 61 * PERIOD, generation=1))
    assert not pairer.phase.stable
    assert pairer.phase.phase_ns == 0


def test_rates_that_do_not_divide_have_no_phase() -> None:
    pairer = Pairer(("rgb", "ir"))
    matches = run(pairer, by_arrival(regular("rgb", 150), regular("ir", 125, period=40 * MS)))
    assert not pairer.phase.stable
    assert len(matches) > 60


def advice_after(frames: Iterable[Frame], now_ns: int, strobe: str = "auto") -> str:
    pairer = Pairer(("rgb", "ir"), strobe=strobe)  # type: ignore[arg-type]
    run(pairer, frames)
    return pairer.advice(now_ns)


def test_advice_names_the_cause() -> None:
    end = 30 * PERIOD
    colour = regular("rgb", 30)
    assert advice_after([], end).startswith("no frame has come from the colour and infrared camera")
    assert "infrared camera yet" in advice_after(colour, end)
    assert "no new frames: infrared (1.1 s)" in advice_after(by_arrival(colour, regular("ir", 5)), 1_250 * MS + 8 * MS)
    dark = [frame("ir", k * PERIOD, lit="dark") for k in range(30)]
    assert "all infrared frames are dark" in advice_after(by_arrival(colour, dark), end)
    unknown = [frame("ir", k * PERIOD, lit="unknown") for k in range(30)]
    assert "Declare strobe" in advice_after(by_arrival(colour, unknown), end)
    assert "+15.0 ms apart" in advice_after(by_arrival(colour, regular("ir", 30, start=15 * MS)), end)
    far = regular("ir", 30, start=0, delay_ns=9_000 * MS)
    assert "CLOCK_MONOTONIC" in advice_after([*colour, *far], end)
    repeated = [frame("ir", MS) for _ in range(30)]
    assert "backwards" in advice_after([*colour, *repeated], end)
    assert advice_after(by_arrival(colour, regular("ir", 30)), end) == ""
    # Pairs are formed, but only just.
    assert "+9.0 ms apart" in advice_after(by_arrival(colour, regular("ir", 30, start=9 * MS)), end)


def test_reasons_are_a_fixed_list() -> None:
    assert len(set(REJECTIONS)) == len(REJECTIONS) == 9
    assert MAX_SKEW_NS == 10 * MS
