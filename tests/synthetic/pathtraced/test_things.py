"""People and instruments as things, built from a generated asset folder; nothing is rendered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthetic import PATH_TRACED_SPECIES, Presentation, attributes_of, draw_glasses, draw_hat, draw_medical_mask
from synthetic.arrays import Array
from synthetic.pathtraced import describe, portrait
from synthetic.pathtraced import skin as paint
from synthetic.pathtraced.instruments import instrument
from synthetic.pathtraced.presented import Shown, living
from synthetic.pathtraced.render import calmed, distances
from synthetic.pathtraced.things import Matter, Stage, Thing, Window, plate, present
from synthetic.people.makehuman import Library, open_library, person_of
from tests.support.makehuman import make_folder

ATTACKS = PATH_TRACED_SPECIES[1:]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return open_library(str(make_folder(tmp_path_factory.mktemp("makehuman"))))


@pytest.fixture(autouse=True)
def _portraits_without_mitsuba(monkeypatch: pytest.MonkeyPatch) -> None:
    def grey(stage: Stage, window: Window, band: str, *, samples: int, seed: int) -> Array:
        rows = np.linspace(0.1, 0.6, window.height, dtype=np.float32)[:, None, None]
        return np.broadcast_to(rows, (window.height, window.width, 3 if band == "rgb" else 1)).copy()

    monkeypatch.setattr(portrait, "picture", grey)
    portrait.stolen_picture.cache_clear()


def shown(library: Library, species: str, subject: int = 5, **changed: object) -> Shown:
    drawn = Presentation(seed=1, subject=subject, species=species)
    worn = replace(attributes_of(drawn), **{"glasses": None, "hat": None, "medical_mask": None, **changed})  # type: ignore[arg-type]
    what = describe(replace(drawn, attributes=worn))
    return living(library, what) if species == "bona_fide" else instrument(library, what)


def roles(found: Shown) -> list[str]:
    return [thing.role for thing in found.things]


@pytest.mark.parametrize("species", PATH_TRACED_SPECIES)
def test_every_species_is_made_of_sound_meshes(library: Library, species: str) -> None:
    found = shown(library, species)
    for thing in found.things:
        part = thing.part
        assert np.isfinite(part.vertices).all()
        assert np.linalg.norm(part.normals, axis=1) == pytest.approx(1, abs=1e-3)
        assert part.triangles.max() < len(part.vertices) == len(part.uv)
    attacks = [thing for thing in found.things if thing.role == "instrument" or thing.attack]
    assert bool(attacks) == (species != "bona_fide")
    assert 0.3 < found.face_scale < 1.6
    again = shown(library, species)
    assert all(
        np.array_equal(a.part.vertices, b.part.vertices) for a, b in zip(found.things, again.things, strict=True)
    )


@pytest.mark.parametrize("species", ATTACKS)
def test_only_a_partial_attack_marks_what_attacks(library: Library, species: str) -> None:
    for subject in range(8):
        marked = any(thing.attack for thing in shown(library, species, subject).things)
        assert marked == (species == "partial")


@pytest.mark.parametrize("species", [s for s in PATH_TRACED_SPECIES if s not in ("replay_screen", "partial")])
def test_glasses_are_worn_over_every_instrument(library: Library, species: str) -> None:
    glasses = draw_glasses(np.random.default_rng(1))
    bare = shown(library, species, glasses_on_picture=True)
    worn = shown(library, species, glasses=glasses, glasses_on_picture=True)
    assert roles(worn).count("worn") == roles(bare).count("worn") + 3


@pytest.mark.parametrize("species", ["bona_fide", "mask_rigid", "mask_silicone", "mask_transparent", "partial"])
def test_a_hat_is_worn_over_what_has_a_head(library: Library, species: str) -> None:
    hat = draw_hat(np.random.default_rng(2))
    assert roles(shown(library, species, hat=hat)).count("worn") > roles(shown(library, species)).count("worn")


def test_a_screen_shines_and_nothing_else_does(library: Library) -> None:
    for species in PATH_TRACED_SPECIES:
        shining = [t for t in shown(library, species).things if t.matter.emission is not None]
        assert bool(shining) == (species == "replay_screen")


def test_a_dye_print_is_blank_at_850_nm_and_a_toner_print_is_not(library: Library) -> None:
    def contrast(species: str) -> float:
        sheet = next(t for t in shown(library, species).things if t.role == "instrument")
        assert isinstance(sheet.matter.albedo, np.ndarray)
        nir = sheet.matter.albedo[:, :, 3]
        return float(np.percentile(nir, 95) - np.percentile(nir, 5))

    assert contrast("print_matte") < 0.5 * contrast("print_toner")


def test_pigment_has_less_contrast_at_850_nm(library: Library) -> None:
    albedo = paint.skin_albedo(library, person_of(library, 2))
    # The generated skin is half as bright in its lower half.
    visible, nir = (albedo[:, :, bands].reshape(paint.EDGE, -1).mean(1) for bands in (slice(3), slice(3, 4)))
    assert visible[50] / visible[-50] > 1.8
    assert 1 < nir[50] / nir[-50] < 0.6 * visible[50] / visible[-50]


def test_dark_hair_is_brighter_at_850_nm_and_the_white_of_the_eye_darker(library: Library) -> None:
    dark = next(p for p in (person_of(library, k) for k in range(50)) if max(p.who.hair[:3]) < 0.03 and p.hair)
    albedo, _ = paint.hair_albedo(library.worn("hair", str(dark.hair)), dark.who.hair)
    assert albedo[:, :, 3].mean() > 5 * albedo[:, :, :3].mean()
    eye = paint.eye_albedo(library, dark.iris, 1)
    assert eye[128, 128, 3] < 0.1
    assert eye[128, 20, 3] > eye[128, 100, 3] > eye[128, 128, 3]


def test_grain_goes_and_edges_stay() -> None:
    rng = np.random.default_rng(3)
    clean = np.full((96, 96, 3), 0.2, np.float32)
    clean[:, 48:] = 0.6
    noisy = clean * rng.normal(1, 0.12, clean.shape).astype(np.float32)
    calm = calmed(noisy)
    assert np.abs(calm - clean)[:, 4:44].mean() < 0.5 * np.abs(noisy - clean)[:, 4:44].mean()
    assert calm[:, 50:].mean() - calm[:, :46].mean() == pytest.approx(0.4, abs=0.02)


def test_a_picture_without_grain_is_left_as_it_is() -> None:
    clean = np.tile(np.linspace(0.1, 0.9, 64, dtype=np.float32)[None, :, None], (64, 1, 1))
    assert calmed(clean) is clean


WORN = ["bona_fide", "mask_rigid", "mask_silicone", "mask_transparent"]


@pytest.mark.parametrize("species", WORN)
def test_a_medical_mask_is_worn_before_mouth_and_chin(library: Library, species: str) -> None:
    mask = replace(draw_medical_mask(np.random.default_rng(3)), over_nose=True)
    bare, masked = shown(library, species), shown(library, species, medical_mask=mask)
    assert roles(masked).count("worn") == roles(bare).count("worn") + 2
    cloth = next(thing for thing in masked.things if thing.role == "worn")
    # Nothing of the face is before the cloth.
    window = Window((0.0, 0.0, 5000.0), 100, 100, 5000.0, (50.0, 20.0))
    depth, owner = distances((cloth, *(t for t in masked.things if t is not cloth)), window)
    mouth = slice(20 + 60, 20 + 76), slice(38, 62)
    assert (owner[mouth] == 0).mean() > 0.95
    assert (depth[mouth] > 4000).all()


@pytest.mark.parametrize("species", ["print_matte", "print_cutout", "mask_paper", "mask_relief", "replay_screen"])
def test_a_picture_shows_the_medical_mask_and_nobody_wears_one_over_it(library: Library, species: str) -> None:
    mask = draw_medical_mask(np.random.default_rng(3))
    assert roles(shown(library, species, medical_mask=mask)).count("worn") == 0


def test_a_transparent_mask_is_clear_for_light_and_for_depth_cameras(library: Library) -> None:
    for subject in range(6):
        found = shown(library, "mask_transparent", subject)
        clear = [thing for thing in found.things if thing.matter.clear]
        film, mirror = clear
        assert film.role == mirror.role == "instrument"
        assert isinstance(mirror.matter.alpha, np.ndarray)
        # Columns are the cosine of the angle of view: a tenth is reflected straight on, much more at grazing angles.
        inside = mirror.matter.alpha[10]
        assert 0.08 < inside[-1] < 0.13
        assert inside[4] > 0.5
        assert mirror.matter.alpha[-10].max() == 0
        window = Window((0.0, 0.0, 5000.0), 60, 60, 2000.0, (30.0, 30.0))
        without = tuple(thing for thing in found.things if not thing.matter.clear)
        assert np.array_equal(distances(found.things, window)[0], distances(without, window)[0])


def test_a_relief_is_shallower_than_the_face_and_not_flat(library: Library) -> None:
    for subject in range(8):
        found = shown(library, "mask_relief", subject)
        sheet = next(thing.part for thing in found.things if thing.role == "instrument")
        depth = float(np.ptp(sheet.vertices[:, 2]))
        assert 5 < depth < 60


def test_depth_cameras_do_not_see_what_a_mask_cuts_away() -> None:
    alpha = np.ones((8, 8), np.float32)
    alpha[:, :4] = 0
    half = Thing(plate((20.0, 20.0), 9, 9), Matter((0.5,) * 4, alpha=alpha))
    depth, _ = distances((half,), Window((0.0, 0.0, 500.0), 40, 40, 400.0, (20.0, 20.0)))
    assert (depth[10:30, 6:14] == 0).all()
    assert (depth[10:30, 26:34] == 500).all()


def test_a_printed_nose_and_a_printed_forehead_occur(library: Library) -> None:
    def heights(found: Shown) -> tuple[float, float]:
        patch = next(thing for thing in found.things if thing.attack)
        alpha = patch.matter.alpha
        if alpha is None:
            return 0.0, 0.0
        y = np.nan_to_num(paint.face_positions(library)[:, :, 1], nan=-999.0)[alpha > 0.5]
        return (float(y.min()), float(y.max())) if y.size else (0.0, 0.0)

    spans = [heights(shown(library, "partial", subject)) for subject in range(24)]
    assert any(low > 15 for low, _ in spans)
    assert any(-65 < low < -40 and -10 < high < 5 for low, high in spans)


@pytest.mark.parametrize("species", ["print_matte", "mask_relief"])
def test_fingers_touch_the_sheet_that_they_hold(library: Library, species: str) -> None:
    held = 0
    for subject in range(30):
        sheet, *others = [thing for thing in shown(library, species, subject).things if thing.role == "instrument"]
        for hand in others:
            held += 1
            part = present(sheet)
            points = part.vertices[np.unique(part.triangles)]
            x, y, _ = hand.part.vertices[np.abs(hand.part.vertices[:, 0]).argmin()]
            # The finger that reaches farthest lies over the sheet, also where a cut-out is narrow.
            near = np.abs(points[:, 1] - y) < 30
            assert abs(x) < np.abs(points[near, 0]).max()
    assert held > 3
