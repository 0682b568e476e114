"""Attack species that were accepted too often according to the manifest: which figures count, and above which rate."""

from __future__ import annotations

from runtime.bundle.manifest import Manifest, OperatingPointEntry, Parity, RateEntry, open_bundle
from runtime.bundle.measured import APCER_LIMIT, apcer_over_limit, apcer_warning
from runtime.liveness.open import default_bundle


def rate(errors: int, trials: int = 100) -> RateEntry:
    return RateEntry(errors=errors, trials=trials, interval=(0, 1))


def measured(dev: dict[str, int], test: dict[str, int], **parity: str) -> Manifest:
    """Return the shipped manifest with other figures: errors in 100 presentations by species, on dev and with INT8 on a
    test set."""
    manifest = open_bundle(default_bundle()).manifest
    point = manifest.operating_points[0].model_copy(update={"apcer": {name: rate(n) for name, n in dev.items()}})
    tested = manifest.parity[0].model_copy(
        update={
            "data": "held-out",
            "execution": "served",
            "int8": {"bpcer": rate(99), **{f"apcer.{name}": rate(n) for name, n in test.items()}},
            "fp32": {"bpcer": rate(99), **{f"apcer.{name}": rate(0) for name in test}},
            **parity,
        }
    )
    assert isinstance(point, OperatingPointEntry)
    assert isinstance(tested, Parity)
    return manifest.model_copy(update={"operating_points": [point], "parity": [tested]})


def test_the_worst_species_comes_first_with_its_highest_rate() -> None:
    manifest = measured({"mask": 30, "print": 5}, {"mask": 90, "screen": 100, "print": 20})
    found = apcer_over_limit(manifest, "int8")
    assert [(one.species, one.errors, one.data) for one in found] == [
        ("screen", 100, "held-out"),
        ("mask", 90, "held-out"),
    ]
    assert apcer_warning(found) == (
        "lets attacks through: APCER above 20% for screen 100.0% (100 of 100, held-out), mask 90.0% (90 of 100, "
        "held-out)."
    )


def test_the_limit_itself_is_within_and_bpcer_is_no_species() -> None:
    assert apcer_over_limit(measured({"mask": int(100 * APCER_LIMIT)}, {}), "int8") == []
    assert apcer_warning([]) == ""


def test_the_figures_are_those_of_the_precision_that_runs() -> None:
    manifest = measured({"mask": 0}, {"mask": 90})
    assert apcer_over_limit(manifest, "int8")
    assert apcer_over_limit(manifest, "fp32") == []


def test_what_was_computed_step_by_step_is_not_what_is_served() -> None:
    assert apcer_over_limit(measured({"mask": 0}, {"mask": 90}, execution="literal"), "int8") == []


def test_a_species_without_presentations_is_no_division_by_zero() -> None:
    manifest = measured({}, {})
    point = manifest.operating_points[0].model_copy(update={"apcer": {"mask": rate(0, 0)}})
    assert apcer_over_limit(manifest.model_copy(update={"operating_points": [point]}), "int8") == []
