"""Path-traced variants on disk: rendered once, stopped and continued, shared by processes. Needs no Mitsuba."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from adsn.cli.counterfactual_render import counterfactual_render
from adsn.cli.evaluated_model import EvaluatedModel
from adsn.cli.evaluation_questions import choose_counterfactuals, counterfactuals
from adsn.evaluation.counterfactual import CHANGES, Comparison, Counterfactual
from adsn.evaluation.evaluate import Scorer
from adsn.evaluation.renderers import RENDERERS, Variant
from adsn.evaluation.variant_store import VariantStore
from runtime.imaging.crop import CropRule
from synthetic import Presentation, Rendered, pathtraced
from synthetic.people.attributes import Attributes
from synthetic.people.head import Expression, Glasses
from synthetic.people.makehuman import VARIABLE, Library, open_library
from tests.support.makehuman import make_folder

SIZE = 144
KINDS = ("bona_fide", "mask_silicone")
ATTRIBUTES = ("glasses", "hat", "medical mask", "open mouth", "gaze")
RULE = CropRule(size=64, margin=0.2)
BARE = Variant(Attributes(Expression()))
SUBJECT = Presentation(seed=25, subject=3000, family="B")


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("makehuman"))


@pytest.fixture(scope="module")
def library(assets: Path) -> Library:
    return open_library(str(assets))


def marks(worn: Attributes) -> int:
    """Return which of `ATTRIBUTES` are visible, one bit for each."""
    visible = (
        worn.glasses is not None,
        worn.hat is not None,
        worn.medical_mask is not None,
        worn.face.open_mouth == 0.9,
        abs(worn.face.gaze[0]) == 3.5,
    )
    return sum(worn << bit for bit, worn in enumerate(visible))


class Painter:
    """Replacement for the path tracer, with images whose IR pixels are the visible attributes and whose RGB pixels are
    the number of the presentation."""

    def __init__(self) -> None:
        self.calls: list[pathtraced.Description] = []
        self.samples: list[int] = []
        self.stops_after: int | None = None

    def __call__(self, what: pathtraced.Description, *, size: int, samples: int, library: Library | None) -> Rendered:
        if len(self.calls) == self.stops_after:
            raise KeyboardInterrupt
        self.calls.append(what)
        self.samples.append(samples)
        return Rendered(
            rgb=np.full((size, size, 3), what.presentation.number, np.uint8),
            ir=np.full((size, size, 1), marks(what.attributes), np.uint8),
            depth=np.full((size, size, 1), 500.4, np.float32),
            region=np.zeros((size, size, 1), np.uint8),
            box=(46.5, 46.25, 51.125, 51.125),
            ir_box=(40.5, 46.25, 51.125, 51.125),
            presentation=what.presentation,
            shape="makehuman",
            conditions={},
        )

    @property
    def rendered(self) -> list[tuple[int, str]]:
        """Number and species of each rendered image."""
        return [(what.presentation.number, what.presentation.species) for what in self.calls]


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    found = Painter()
    monkeypatch.setattr(pathtraced, "render", found)
    return found


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*.npz")}


def test_what_was_rendered_once_is_read(tmp_path: Path, library: Library, painter: Painter) -> None:
    first = VariantStore(tmp_path, library).patch(SUBJECT, BARE)
    again = VariantStore(tmp_path, library).patch(SUBJECT, BARE)
    assert len(painter.calls) == 1
    assert first.boxes == again.boxes
    assert {m: picture.dtype for m, picture in again.pictures.items()} == {
        "rgb": np.uint8,
        "ir": np.uint8,
        "depth": np.float32,
    }
    for m, picture in first.pictures.items():
        assert np.array_equal(picture, again.pictures[m])
    assert set(np.unique(again.pictures["depth"])) == {500.0}


def test_a_stored_patch_is_the_one_that_the_renderer_gives(tmp_path: Path, library: Library, painter: Painter) -> None:
    stored = VariantStore(tmp_path, library).patch(SUBJECT, BARE)
    plain = RENDERERS["pathtraced"].render(SUBJECT, BARE)
    assert stored.boxes == plain.boxes
    assert stored.boxes["rgb"] != stored.boxes["ir"]
    assert all(np.array_equal(stored.pictures[m], plain.pictures[m]) for m in ("rgb", "ir"))
    assert painter.samples == [12, 12]


def test_whatever_changes_the_pixels_changes_the_file(
    tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = VariantStore(tmp_path, library)
    glasses = Glasses(tint=0.0, dark_frame=0.1, thickness=2.0, disc=True)
    worn = replace(BARE, attributes=replace(BARE.attributes, glasses=glasses))
    thicker = replace(BARE, attributes=replace(BARE.attributes, glasses=replace(glasses, thickness=2.5)))
    paths = [store.path(SUBJECT, variant) for variant in (BARE, worn, thicker)]
    others: list[dict[str, Any]] = [
        {"number": 1},
        {"subject": 3001},
        {"seed": 26},
        {"family": "A"},
        {"species": "partial"},
    ]
    paths += [store.path(replace(SUBJECT, **values), BARE) for values in others]
    paths += [
        VariantStore(tmp_path, library, samples=24).path(SUBJECT, BARE),
        VariantStore(tmp_path, library, size=168).path(SUBJECT, BARE),
    ]
    monkeypatch.setattr(pathtraced, "VERSION", pathtraced.VERSION + 1)
    paths.append(VariantStore(tmp_path, library).path(SUBJECT, BARE))
    monkeypatch.setattr(Library, "digest", lambda self: "of other assets")
    paths.append(VariantStore(tmp_path, library).path(SUBJECT, BARE))
    assert len(set(paths)) == len(paths) == 12
    assert store.path(replace(SUBJECT), replace(BARE)) == paths[0]


@pytest.mark.parametrize("kept", [0, 40, 500, -40, -1])
def test_a_cut_file_is_rendered_again(tmp_path: Path, library: Library, painter: Painter, kept: int) -> None:
    store = VariantStore(tmp_path, library)
    whole = store.patch(SUBJECT, BARE)
    path = store.path(SUBJECT, BARE)
    data = path.read_bytes()
    path.write_bytes(data[:kept])
    assert np.array_equal(store.patch(SUBJECT, BARE).pictures["rgb"], whole.pictures["rgb"])
    assert len(painter.calls) == 2
    assert store.add(SUBJECT, BARE) is False
    assert path.stat().st_size == len(data)


def test_no_changed_byte_gives_other_pixels(tmp_path: Path, library: Library, painter: Painter) -> None:
    store = VariantStore(tmp_path, library)
    whole = store.patch(SUBJECT, BARE)
    path = store.path(SUBJECT, BARE)
    data = path.read_bytes()
    rng = np.random.default_rng(5)
    for at in rng.choice(len(data), 120, replace=False).tolist():
        path.write_bytes(data[:at] + bytes([data[at] ^ int(rng.integers(1, 256))]) + data[at + 1 :])
        again = store.patch(SUBJECT, BARE)
        assert again.boxes == whole.boxes
        assert all(np.array_equal(again.pictures[m], picture) for m, picture in whole.pictures.items())
    assert len(painter.calls) > 60


def test_a_file_of_another_variant_or_size_is_not_taken_for_this_one(
    tmp_path: Path, library: Library, painter: Painter
) -> None:
    store, small = VariantStore(tmp_path, library), VariantStore(tmp_path, library, size=96)
    other = replace(SUBJECT, number=1)
    store.add(SUBJECT, BARE)
    store.add(other, BARE)
    store.path(SUBJECT, BARE).write_bytes(store.path(other, BARE).read_bytes())
    assert store.patch(SUBJECT, BARE).pictures["rgb"][0].max() == 0
    small.add(SUBJECT, BARE)
    store.path(SUBJECT, BARE).write_bytes(small.path(SUBJECT, BARE).read_bytes())
    assert store.patch(SUBJECT, BARE).pictures["rgb"].shape == (SIZE, SIZE, 3)
    assert len(painter.calls) == 5


def believing(attribute: str) -> Scorer:
    """Return a model that accepts a presentation only if it has the attribute."""

    def score(batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        seen = batch["ir"][:, 30, 30] >> ATTRIBUTES.index(attribute) & 1
        return np.repeat(seen, 3, 1).astype(np.float32)

    return score


def believer(store: VariantStore, attribute: str, presentations: int) -> Counterfactual:
    """Return the measurement of such a model."""
    return Counterfactual(
        believing(attribute),
        RULE,
        ("ir",),
        0.5,
        render=store.patch,
        presentations=presentations,
        renderer="pathtraced",
    )


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_each_attribute_keeps_its_own_images(
    tmp_path: Path, library: Library, painter: Painter, attribute: str
) -> None:
    # The images are rendered for all attributes, and then read for a model that sees one.
    list(believer(VariantStore(tmp_path, library), "hat", 5).effects(ATTRIBUTES, KINDS))
    painter.calls.clear()
    measured = believer(VariantStore(tmp_path, library), attribute, 5)
    effects = {(e.attribute, e.species): e for e in measured.effects(ATTRIBUTES, KINDS)}
    assert painter.calls == []
    assert len(effects) == len(ATTRIBUTES) * len(KINDS)
    for (changed, species), effect in effects.items():
        if changed == attribute:
            wrong = (5, 0) if species == "bona_fide" else (0, 5)
            assert (effect.without.errors, effect.with_it.errors, effect.flips) == (*wrong, 5)
        else:
            assert effect.flips == 0


def test_a_measurement_that_was_stopped_goes_on_and_its_first_presentations_are_complete(
    tmp_path: Path, library: Library, painter: Painter
) -> None:
    needed = [len(Comparison(renderer="pathtraced").variants(n, ("glasses", "hat"), KINDS)) for n in range(4)]
    painter.stops_after = needed[0] + needed[1] + 1
    with pytest.raises(KeyboardInterrupt):
        list(believer(VariantStore(tmp_path, library), "hat", 4).effects(("glasses", "hat"), KINDS))
    assert len(files(tmp_path)) == painter.stops_after
    painter.stops_after = len(painter.calls)
    # Nothing can be rendered now, and a table of two presentations needs nothing.
    fewer = list(believer(VariantStore(tmp_path, library), "hat", 2).effects(("glasses", "hat"), KINDS))
    assert [e.flips for e in fewer] == [0, 0, 2, 2]
    painter.stops_after = None
    list(believer(VariantStore(tmp_path, library), "hat", 4).effects(("glasses", "hat"), KINDS))
    assert len(painter.calls) == sum(needed) == len(files(tmp_path))


def render(folder: Path, part: str = "0/1", attribute: list[str] | None = None, presentations: int = 5) -> None:
    counterfactual_render(folder, presentations, attribute, list(KINDS), part)


@pytest.fixture
def background(assets: Path, painter: Painter, monkeypatch: pytest.MonkeyPatch) -> Painter:
    """Make the command run in this process, whose priority stays as it is."""
    monkeypatch.setenv(VARIABLE, str(assets))
    monkeypatch.delenv("ADSN_FACE_MODEL", raising=False)
    monkeypatch.setattr("os.nice", lambda by: 0)
    return painter


def test_parts_are_disjoint_and_together_complete(
    tmp_path: Path, background: Painter, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in range(2):
        render(tmp_path / f"part{k}", f"{k}/2")
        assert {number for number, _ in background.rendered} == set(range(k, 5, 2))
        background.calls.clear()
    render(tmp_path / "whole")
    parts = [files(tmp_path / f"part{k}") for k in range(2)]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == files(tmp_path / "whole")
    assert len(background.calls) == len(files(tmp_path / "whole"))
    assert background.rendered == sorted(background.rendered)
    assert "presentation 4: " in capsys.readouterr().out


def test_what_was_rendered_in_the_background_is_what_the_measurement_reads(
    tmp_path: Path, background: Painter, library: Library
) -> None:
    render(tmp_path, attribute=["glasses"])
    render(tmp_path, attribute=["hat"])
    background.stops_after = len(background.calls)
    effects = list(believer(VariantStore(tmp_path, library), "hat", 5).effects(("glasses", "hat"), KINDS))
    assert [(e.attribute, e.species, e.flips) for e in effects] == [
        ("glasses", "bona_fide", 0),
        ("glasses", "mask_silicone", 0),
        ("hat", "bona_fide", 5),
        ("hat", "mask_silicone", 5),
    ]


def test_the_evaluation_of_another_model_renders_nothing(tmp_path: Path, background: Painter) -> None:
    render(tmp_path, attribute=["glasses", "hat"], presentations=2)
    flips = {}
    for model in ("glasses", "hat"):
        choice = choose_counterfactuals(3, "pathtraced", ["glasses", "hat"], ["mask_silicone"], tmp_path)
        assert choice is not None
        subject = EvaluatedModel(model, {"int8": believing(model)}, Mock(), ("ir",), RULE, 0.5)
        effects = counterfactuals(subject, choice, Console(quiet=True))
        flips[model] = {(e.attribute, e.species): e.flips for e in effects}
        # The first evaluation renders what the background lacked: one presentation of the asked species.
        assert {key for key in background.rendered if key[0] == 2} == {(2, "mask_silicone")}
        background.stops_after = len(background.calls)
    assert flips["glasses"] == {("glasses", "mask_silicone"): 3, ("hat", "mask_silicone"): 0}
    assert flips["hat"] == {("glasses", "mask_silicone"): 0, ("hat", "mask_silicone"): 3}


def test_rendering_in_the_background_goes_on_and_repairs(
    tmp_path: Path, background: Painter, capsys: pytest.CaptureFixture[str]
) -> None:
    background.stops_after = 11
    with pytest.raises(KeyboardInterrupt):
        render(tmp_path)
    background.stops_after = None
    render(tmp_path)
    total = len(background.calls)
    assert total == len(files(tmp_path))
    damaged = tmp_path / min(files(tmp_path))
    damaged.write_bytes(damaged.read_bytes()[:300])
    capsys.readouterr()
    render(tmp_path)
    assert len(background.calls) == total + 1
    lines = capsys.readouterr().out.splitlines()
    assert sum(" images, 1 of them new, " in line for line in lines) == 1
    assert sum(" images, 0 of them new, " in line for line in lines) == 4


def test_attributes_that_a_presentation_lacks_share_its_plain_image() -> None:
    compared = Comparison(renderer="pathtraced")
    for number in range(20):
        keys = compared.variants(number, ("glasses", "hat"), ("bona_fide",))
        assert len(keys) == len(set(keys))
        drawn = compared.variant("bona_fide", number, lambda variant, rng: variant).attributes
        # Without either, both bare variants are the same.
        assert len(keys) == (3 if drawn.glasses is None and drawn.hat is None else 4)


def test_a_choice_that_the_renderer_does_not_know_is_refused() -> None:
    assert Comparison().chosen(["hat", "hat"], ["partial"]) == (("hat",), ("partial",))
    assert Comparison().chosen()[0] == tuple(CHANGES)
    with pytest.raises(ValueError, match="fast cannot render 'mask_relief'; it can: bona_fide, "):
        Comparison().chosen(None, ["mask_relief"])
    with pytest.raises(ValueError, match="pathtraced cannot change 'background' alone"):
        Comparison(renderer="pathtraced").chosen(["background"])
