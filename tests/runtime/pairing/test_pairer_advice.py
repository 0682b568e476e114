"""The phase and the advice that a pairer reports."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from runtime.core.units import MS
from runtime.core.values import Frame
from runtime.pairing.pairer import MAX_SKEW_NS, REJECTIONS, Pairer
from tests.support.streams import PERIOD, by_arrival, frame, push_all, regular


def test_the_phase_is_reported_with_and_without_pairs() -> None:
    for start in (4 * MS, 14 * MS, -15 * MS):
        pairer = Pairer(("rgb", "ir"))
        push_all(pairer, by_arrival(regular("rgb", 60), regular("ir", 60, start=start + PERIOD)))
        assert pairer.phase.stable
        assert pairer.phase.phase_ns == pytest.approx(start, abs=MS // 10)
        assert pairer.phase.period_ns == pytest.approx(PERIOD, abs=MS // 10)


def test_a_new_generation_has_a_phase_of_its_own() -> None:
    pairer = Pairer(("rgb", "ir"))
    push_all(pairer, by_arrival(regular("rgb", 60), regular("ir", 60, start=4 * MS)))
    assert pairer.phase.stable
    pairer.push(frame("ir", 61 * PERIOD, generation=1))
    assert not pairer.phase.stable
    assert pairer.phase.phase_ns == 0


def test_rates_that_do_not_divide_have_no_phase() -> None:
    pairer = Pairer(("rgb", "ir"))
    matches = push_all(pairer, by_arrival(regular("rgb", 150), regular("ir", 125, period=40 * MS)))
    assert not pairer.phase.stable
    assert len(matches) > 60


def advice_after(frames: Iterable[Frame], now_ns: int, strobe: str = "auto") -> str:
    pairer = Pairer(("rgb", "ir"), strobe=strobe)  # type: ignore[arg-type]
    push_all(pairer, frames)
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
