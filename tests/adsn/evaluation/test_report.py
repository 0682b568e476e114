"""The HTML report: complete, self-contained, and silent about faces unless asked."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

from adsn.evaluation.attention import combined, overlay, weight_on
from adsn.evaluation.evaluate import Scored, report_json
from adsn.evaluation.report import ReportImage, ReportSection, html_report, worst_samples

VOID = {"meta", "img", "line", "rect", "polyline", "br"}


class Page(HTMLParser):
    """Checks nesting, and collects what the tests ask for."""

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


def page(pictures: tuple[ReportImage, ...] = ()) -> str:
    sets = {"int8": scored(), "fp32": scored(shift=0.01)}
    figures = {name: report_json(s, 0.5) for name, s in sets.items()}
    return html_report("a <model>", [ReportSection("held-out", 0.5, sets, figures, pictures)], ["<note>"])


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
