"""Pairing in known situations of a rig."""

from __future__ import annotations

import random

import pytest

from runtime.core.units import MS
from runtime.core.values import IlluminationState, Modality
from runtime.pairing.pairer import MatchedFrames, Pairer, Rejection
from tests.support.streams import PERIOD, by_arrival, frame, push_all, regular, stream


def skew_ns(match: MatchedFrames) -> int:
    return abs(match.second_ns - match.first_ns)


@pytest.mark.parametrize("pairing", [("rgb", "ir"), ("ir", "depth"), ("rgb", "depth"), ("depth", "rgb")])
def test_any_two_modalities(pairing: tuple[Modality, Modality]) -> None:
    first, second = pairing
    frames = by_arrival(regular(first, 20), regular(second, 20, start=4 * MS))
    matches = push_all(Pairer(pairing), frames)
    assert len(matches) == 20
    pair = matches[3].pair()
    assert pair.skew_ns == 4 * MS
    assert pair.source == "camera"
    assert pair.image(first) is matches[3].first.image
    assert pair.lit == ("lit" if "ir" in pairing else "unknown")


def test_a_pair_is_complete_with_its_later_frame() -> None:
    """A pair does not wait for another frame if no later frame can be nearer."""
    pairer = Pairer(("rgb", "ir"))
    for one in by_arrival(regular("rgb", 60), regular("ir", 60, start=6 * MS)):
        made = pairer.push(one)
        if one.modality == "ir" and one.t_capture_ns > 4 * PERIOD:
            assert [m.second for m in made] == [one]


def test_offsets_move_streams() -> None:
    frames = by_arrival(regular("rgb", 10), regular("ir", 10, start=14 * MS))
    assert not push_all(Pairer(("rgb", "ir")), frames)
    pairer = Pairer(("rgb", "ir"), offsets_ns={"ir": -14 * MS})
    matches = push_all(pairer, frames)
    assert [skew_ns(m) for m in matches] == [0] * 10
    assert matches[0].pair().ir_time_ns == matches[0].pair().rgb_time_ns == 0


def test_never_across_a_generation() -> None:
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
    matches = push_all(pairer, by_arrival(regular("rgb", 30), infrared))
    assert [m.second.seq for m in matches] == list(range(1, 30, 2))
    assert all(m.dark is not None and m.dark.seq == m.second.seq - 1 for m in matches if m.second.seq)
    assert matches[4].pair().ir_dark is infrared[8].image
    assert matches[4].pair().ir_dark_time_ns == 8 * PERIOD + 3 * MS
    # As expected, every second RGB frame has no partner.
    assert pairer.rejected["ir_dark"] == 15
    assert pairer.rejected.get("surplus", 0) > pairer.rejected.get("skew", 0)


def test_only_the_frame_directly_before_is_a_neighbour() -> None:
    """With two lit frames for one dark frame, the dark neighbour of the second lit frame comes after it. The pairer
    does not wait for it."""
    states: list[IlluminationState] = ["dark", "lit", "lit"] * 10
    infrared = [frame("ir", k * PERIOD, lit=state, seq=k) for k, state in enumerate(states)]
    matches = push_all(Pairer(("rgb", "ir")), by_arrival(infrared, regular("rgb", 30)))
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
    assert len(push_all(pairer, by_arrival(regular("rgb", 5), regular("ir", 5)))) == 5


def test_a_silent_stream_costs_bounded_memory() -> None:
    pairer = Pairer(("rgb", "ir"), depth=4)
    push_all(pairer, regular("rgb", 100))
    assert pairer.waiting == 4
    assert pairer.rejected == {"no_partner": 96}


def test_half_a_period_apart_with_jitter_costs_hardly_a_pair() -> None:
    rng = random.Random(3)
    count = 600
    colour = stream("rgb", (k * PERIOD + int(rng.gauss(0, 2 * MS)) for k in range(count)))
    infrared = stream("ir", (k * PERIOD + 15 * MS + int(rng.gauss(0, 2 * MS)) for k in range(count)))
    matches = push_all(Pairer(("rgb", "ir"), max_skew_ns=25 * MS), by_arrival(colour, infrared))
    assert len(matches) >= 0.98 * count


def test_drift_changes_the_partner_once_for_each_slip() -> None:
    """With rates that differ by 1 %, the streams slip by three periods in 300 frames, which leaves three frames without
    a partner."""
    frames = by_arrival(regular("rgb", 300), regular("ir", 297, period=PERIOD * 100 // 99))
    matches = push_all(Pairer(("rgb", "ir"), max_skew_ns=25 * MS), frames)
    assert len(matches) >= 294


def test_a_wide_limit_does_not_hold_on_to_the_wrong_neighbour() -> None:
    """At 90 frames/s, a limit of 10 ms is nearly a whole period: a frame 10 ms after one frame is 1.1 ms before the
    next."""
    period = 11_111_111
    frames = by_arrival(regular("rgb", 200, period=period), regular("ir", 200, period=period, start=10 * MS))
    matches = push_all(Pairer(("rgb", "ir")), frames)
    assert len(matches) >= 198
    assert max(skew_ns(m) for m in matches[2:]) < 2 * MS


def test_infrared_at_half_rate_takes_the_nearer_colour_frame() -> None:
    """Every second RGB frame has no partner anyway, so choosing the nearer one loses no pair."""
    frames = by_arrival(regular("rgb", 100), regular("ir", 50, period=2 * PERIOD, start=19 * MS))
    matches = push_all(Pairer(("rgb", "ir"), max_skew_ns=20 * MS), frames)
    assert len(matches) >= 48
    assert max(skew_ns(m) for m in matches[1:]) < 15 * MS


def test_a_wait_has_a_deadline() -> None:
    pairer = Pairer(("rgb", "ir"), max_skew_ns=20 * MS, periods_ns={"rgb": PERIOD, "ir": PERIOD})
    pairer.push(frame("rgb", 0))
    assert pairer.deadline_ns is None
    # The IR frame is 16 ms later, and a nearer RGB frame may still arrive.
    assert not pairer.push(frame("ir", 16 * MS))
    deadline = pairer.deadline_ns
    assert deadline == 24 * MS + 11 * PERIOD // 20
    assert not pairer.advance(deadline - 1)
    (match,) = pairer.advance(deadline)
    assert skew_ns(match) == 16 * MS
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
    """The neighbour is nearer after subtracting the phase, but further away by the clock. The limit applies to the
    clock."""
    pairer = Pairer(("rgb", "ir"))
    period = 20 * MS
    push_all(pairer, by_arrival(regular("rgb", 40, period=period), regular("ir", 40, period=period, start=7 * MS)))
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
    assert not pairer.push(frame("rgb", PERIOD))  # 14 ms away: a nearer IR frame may still arrive
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
