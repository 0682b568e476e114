"""The HTML report: complete, self-contained, and without faces unless requested."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from adsn.evaluation.attention import combined, overlay, weight_on
from adsn.evaluation.counterfactual import Effect
from adsn.evaluation.evaluate import Scored, report_json
from adsn.evaluation.report import ReportImage, ReportPage, ReportSection, html_report, worst_samples
from adsn.evaluation.verdict import Limits, check_limits
from adsn.metrics import Rate, rates

VOID = {"meta", "img", "line", "rect", "polyline", "circle", "br"}


class Page(HTMLParser):
    """Checks nesting, and collects the elements that the tests need."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def scored(name: str = "held-out", shift: float = 0.0) -> Scored:
    rng = np.random.default_rng(4)
    species = ["bona_fide"] * 60 + ["print"] * 40 + ["<mask & co>"] * 20
    fused = np.concatenate([rng.beta(9, 1, 60), rng.beta(1, 9, 60)]) + shift
    scores = np.stack([fused, fused, fused], 1).clip(0, 1).astype(np.float32)
    scores[-1, 0] = np.nan
    return Scored(
        name=name,
        digest="0" * 64,
        scores=scores,
        species=species,
        presentations=[f"{kind}-{i}" for i, kind in enumerate(species)],
        subjects=[str(i % 20) for i in range(120)],
        rgb_means=[3.0 if i % 4 == 0 else 90.0 for i in range(120)],
        conditions=[{"scan_derived": float(i % 2)} for i in range(120)],
    )


def page(pictures: tuple[ReportImage, ...] = (), *, threshold: float = 0.5, **about: Any) -> str:
    sets = {"int8": scored(), "fp32": scored(shift=0.01)}
    figures = {name: report_json(s, threshold) for name, s in sets.items()}
    section = ReportSection("held-out", threshold, sets, figures, pictures)
    return html_report(ReportPage("a <model>", "2026-11-27 12:00 UTC", [section], ["<note>"], **about))


def test_it_is_one_file_without_script_or_address() -> None:
    text = page()
    found = Page(text)
    assert "<script" not in text
    assert not any(value.startswith(("http", "//")) for name, value in found.attributes if name in ("src", "href"))
    assert "default-src 'none'" in text


def test_names_from_data_are_escaped() -> None:
    text = page()
    assert "<mask" not in text
    assert "<note>" not in text
    assert "a <model>" not in text
    found = Page(text)
    assert "APCER <mask & co>" in found.texts
    assert "<note>" in found.texts


def test_tables_hold_the_figures() -> None:
    text = "".join(Page(page()).texts)
    report = scored().report(0.5)
    worst, rate = report.worst
    assert f"APCER {worst}{rate.value:.2%} {rate.errors}/{rate.trials}" in text
    assert f"{report.bpcer.errors}/{report.bpcer.trials}" in text
    assert "APNRR <mask & co>5.00% 1/20" in text
    for part in ("RGB mean below 10/255", "scan-derived shapes", "analytic shapes", "D-EER", "not a measure"):
        assert part in text


def test_no_picture_unless_given() -> None:
    assert "<img" not in page()
    crop = np.full((8, 8, 3), 7, np.uint8)
    shown = page((ReportImage("print, score 0.9", {"rgb": crop, "ir": crop[:, :, :1]}),))
    sources = [value for name, value in Page(shown).attributes if name == "src"]
    assert len(sources) == 2
    assert all(value.startswith("data:image/png;base64,iVBOR") for value in sources)
    assert "print, score 0.9, ir" in [value for name, value in Page(shown).attributes if name == "alt"]


def test_parts_split_the_set() -> None:
    parts = scored().parts()
    assert len(parts["RGB mean below 10/255"].scores) + len(parts["the rest"].scores) == 120
    assert len(parts["scan-derived shapes"].scores) == len(parts["analytic shapes"].scores) == 60
    assert all(mean < 10 for mean in parts["RGB mean below 10/255"].rgb_means)


def test_figures_by_hand() -> None:
    figures = report_json(scored(), 0.5)
    assert figures["apnrr"]["<mask & co>"]["errors"] == 1
    assert figures["bpnrr"]["errors"] == 0
    low, high = figures["bpcer_subject_bootstrap"]
    assert low <= figures["bpcer"]["errors"] / 60 <= high
    assert figures["parts"]["the rest"]["bpcer"]["trials"] == 45


def test_the_worst_samples_are_the_wrong_way_round() -> None:
    s = scored()
    chosen = worst_samples(s, 3)
    attacks, people = s.scores[chosen[:3], 0], s.scores[chosen[3:], 0]
    assert attacks.tolist() == sorted(np.nan_to_num(s.scores[60:, 0]), reverse=True)[:3]
    assert people.tolist() == sorted(s.scores[:60, 0])[:3]


def test_weight_on_a_region() -> None:
    maps = np.zeros((2, 4, 4), np.float32)
    maps[:, :2, :2] = 1
    region = np.zeros((16, 16, 1), np.uint8)
    region[:8, :8] = 255
    assert weight_on(maps, region) == pytest.approx(4)
    assert weight_on(np.ones((2, 4, 4), np.float32), region) == pytest.approx(1)
    assert weight_on(np.zeros((2, 4, 4), np.float32), region) == pytest.approx(1)
    assert np.isnan(weight_on(maps, np.zeros((16, 16, 1), np.uint8)))
    assert combined(maps).sum() == pytest.approx(1)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_overlay_is_warmest_where_the_attention_is(channels: int) -> None:
    maps = np.zeros((1, 4, 4), np.float32)
    maps[0, 0, 3] = 1
    drawn = overlay(np.full((32, 32, channels), 60, np.uint8), maps)
    assert drawn.shape == (32, 32, 3)
    warm = drawn.sum(2)
    assert warm[2, 29] > 2 * warm[29, 2]
    depth = overlay(np.full((32, 32, 1), 500, np.float32), maps)
    assert depth.dtype == np.uint8


def test_the_verdict_and_the_headline_stand_before_everything_else() -> None:
    text = page(threshold=0.98)
    assert text.index("Over the limits") < text.index("<table") < text.index('aria-label="DET curves')
    shown = "".join(Page(text).texts)
    assert "2026-11-27 12:00 UTC" in shown
    assert "120 pairs, 120 presentations, 20 people" in shown
    report = scored().report(0.98)
    assert f"BPCER {report.bpcer.value:.2%} > 5.0%" in shown
    assert f"<td class=over><b>{report.bpcer.value:.2%}</b>" in text
    assert f"<b class='big over'>{report.bpcer.value:.2%}" in text


def test_rates_within_their_limits_are_not_red() -> None:
    text = page(limits=Limits(1.0, 1.0))
    assert "Within the limits" in text
    assert "class=over" not in text
    assert "big over" not in text


@pytest.mark.parametrize(
    ("errors", "trials", "state"), [(2, 20, "over"), (0, 20, "unsure"), (0, 400, "within"), (19, 400, "unsure")]
)
def test_few_presentations_are_no_proof(errors: int, trials: int, state: str) -> None:
    scores = [0.9] * 400 + [0.9] * errors + [0.1] * (trials - errors)
    found = check_limits(rates(scores, ["bona_fide"] * 400 + ["print"] * trials, 0.5), Limits(0.05, 0.05))
    assert found.state == state
    assert ("APCER print" in found.words[0]) == (state != "within")


def test_a_set_without_attacks_or_errors_has_a_verdict() -> None:
    found = check_limits(rates([0.9, 0.8], ["bona_fide"] * 2, 0.5), Limits())
    assert found.state == "unsure"
    assert "84.19% (BPCER)" in found.words[0]


def test_a_bootstrap_without_errors_is_no_proof_of_none() -> None:
    figures = report_json(scored(), 0.0)
    assert figures["bpcer"]["errors"] == 0
    low, high = figures["bpcer_subject_bootstrap"]
    # Twenty people, none of them refused.
    assert (low, high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    every = report_json(scored(), 1.1)["bpcer_subject_bootstrap"]
    assert every == [pytest.approx(0.025 ** (1 / 20)), 1.0]
    assert "0.00% to 0.00%" not in page(threshold=0.0)


def test_the_worst_species_comes_first() -> None:
    text = "".join(Page(page(threshold=0.1)).texts)
    report = scored().report(0.1)
    order = sorted(report.apcer, key=lambda name: -report.apcer[name].value)
    assert order[0] == report.worst[0]
    assert text.index(f"APCER {order[0]}{report.apcer[order[0]].value:.2%}") < text.index(
        f"APCER {order[1]}{report.apcer[order[1]].value:.2%}"
    )


def test_what_an_attribute_changes_is_a_table_with_large_changes_in_red() -> None:
    effects = [
        Effect("fast", "glasses", "mask_rigid", Rate(0, 80), Rate(48, 80), 48),
        Effect("fast", "glasses", "bona_fide", Rate(4, 80), Rate(4, 80), 0),
    ]
    text = page(effects=effects)
    assert "<td class=over>0 → 48 <span>(48)</span></td>" in text
    assert "<td>4 → 4 <span>(0)</span></td>" in text
    assert "Largest change: glasses on mask_rigid, +60.0 points." in text
    assert "Counterfactuals" not in page()
