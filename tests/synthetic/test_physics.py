"""The physics functions against the numbers in their sources."""

from __future__ import annotations

import numpy as np
import pytest

from synthetic import physics


@pytest.mark.parametrize(("wavelength", "per_cm"), [(550, 494), (660, 269), (850, 116), (940, 83)])
def test_melanosome_absorption(wavelength: float, per_cm: float) -> None:
    assert physics.melanosome_absorption(wavelength) * 10 == pytest.approx(per_cm, rel=0.02)


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (0.03, (0.70, 0.83, 0.91, 0.96, 0.97)),
        (0.10, (0.31, 0.55, 0.72, 0.87, 0.90)),
        (0.20, (0.10, 0.30, 0.52, 0.76, 0.82)),
        (0.30, (0.03, 0.17, 0.38, 0.66, 0.74)),
    ],
)
def test_two_pass_epidermal_transmission(fraction: float, expected: tuple[float, ...]) -> None:
    found = [physics.epidermal_transmission(fraction, nm) for nm in (450, 550, 660, 850, 940)]
    assert found == pytest.approx(expected, abs=0.02)


def test_skin_tones_differ_far_less_in_infrared() -> None:
    light, dark = physics.skin_bands(0.03), physics.skin_bands(0.30)
    contrast = light / dark
    # Green and 850 nm, dark skin to light: 0.20 and 0.69 by the two-pass transmission above.
    assert 1 / contrast[1] == pytest.approx(0.20, abs=0.05)
    assert 1 / contrast[3] == pytest.approx(0.69, abs=0.03)
    assert np.log(contrast[1]) > 3 * np.log(contrast[3])


def test_inverse_square_falloff() -> None:
    # A recession of 10 cm at 40 cm loses 36 % of a small lamp's light.
    found = physics.flash_falloff(np.array([400, 500, 800], np.float32), 400)
    assert found == pytest.approx([1, 0.64, 0.25])


@pytest.mark.parametrize(("distance", "sigma"), [(400, 0.6), (600, 1.4), (800, 2.4), (1000, 3.8)])
def test_active_stereo_depth_noise(distance: float, sigma: float) -> None:
    assert physics.stereo_depth_noise(distance) == pytest.approx(sigma, abs=0.06)


def test_dye_ink_is_blank_in_infrared_but_for_black() -> None:
    colours = np.array([[[1, 1, 1], [0.7, 0.4, 0.3], [0.3, 0.15, 0.1], [0, 0, 0]]], np.float32)
    found = physics.dye_print_nir(colours, paper=0.8, residual=0.1, black=0.9)[0]
    assert found[0] == pytest.approx(0.8)
    assert found[1] / found[0] > 0.94
    assert found[2] / found[0] > 0.9
    assert found[3] / found[0] < 0.15


def test_toner_shows_in_infrared() -> None:
    found = physics.toner_print_nir(np.array([[1.0, 0.5, 0.0]], np.float32), paper=0.8, contrast=0.9)[0]
    assert found == pytest.approx([0.8, 0.44, 0.08])


def test_screens_are_dark_in_infrared() -> None:
    values = [physics.screen_nir(np.random.default_rng(i)) for i in range(50)]
    assert 0.03 <= min(values) < max(values) <= 0.08


def test_vinyl_keeps_a_face_s_contrast_in_infrared() -> None:
    # Skin against brows in a person's infrared picture, printed directly and as luminance.
    picture, luminance = np.array([[0.62, 0.25]], np.float32), np.array([[0.5, 0.1]], np.float32)
    for own in (0.0, 1.0):
        found = physics.vinyl_print_nir(picture, luminance, 0.85, 0.9, own)[0]
        assert 1.8 < found[0] / found[1] < 6
    dye = physics.dye_print_nir(np.repeat(luminance[:, :, None], 3, 2), 0.85, 0.1, 0.9)[0]
    assert dye[0] / dye[1] < 1.1


def test_mask_matter_lies_where_skin_does_and_around_it() -> None:
    resin = [physics.mask_nir(np.random.default_rng(i), skin_like=False) for i in range(200)]
    silicone = [physics.mask_nir(np.random.default_rng(i), skin_like=True) for i in range(200)]
    assert 0.35 <= min(resin) < 0.4
    assert 0.7 < max(resin) <= 0.75
    assert 0.5 <= min(silicone) < max(silicone) <= 0.75
    # No fixed offset from skin: some masks are brighter than the brightest skin, some darker than the darkest.
    skin = [float(physics.skin_bands(f)[3]) for f in (0.03, 0.30)]
    assert min(silicone) < max(skin) < max(silicone)
    assert min(resin) < min(skin)


def test_one_face_of_polycarbonate_reflects_five_percent_straight_on_and_everything_at_grazing_angles() -> None:
    found = physics.fresnel_reflectance(np.array([1.0, 0.0], np.float32), 1.585)
    assert found[0] == pytest.approx(((1.585 - 1) / (1.585 + 1)) ** 2, rel=1e-5)
    assert found[1] == pytest.approx(1, abs=1e-6)
    # At Brewster's angle, tan a = n, only one polarisation is reflected: ((n² - 1) / (n² + 1))² of it.
    brewster = np.array([1 / np.hypot(1, 1.585)], np.float32)
    assert physics.fresnel_reflectance(brewster, 1.585)[0] == pytest.approx(
        0.5 * ((1.585**2 - 1) / (1.585**2 + 1)) ** 2, rel=1e-4
    )


@pytest.mark.parametrize("index", physics.CLEAR_PLASTIC_INDEX)
def test_a_clear_sheet_transmits_nine_tenths_in_both_bands(index: float) -> None:
    angles = np.linspace(0.05, 1, 50, dtype=np.float32)
    reflected, absorbed = physics.clear_sheet(angles, index, 0.75)
    passed = 1 - reflected - absorbed
    # Data sheets of polycarbonate and PETG give 88 to 91 % for thin clear sheets.
    assert 0.88 < passed[-1] < 0.91
    assert (np.diff(reflected) < 0).all()
    assert (passed > 0).all()
    assert absorbed.max() < 0.012


def test_coloured_fleece_is_bright_at_850_nm_and_fleece_with_carbon_is_dark() -> None:
    dyed = [physics.fleece_nir(np.random.default_rng(i), carbon=False) for i in range(100)]
    black = [physics.fleece_nir(np.random.default_rng(i), carbon=True) for i in range(100)]
    assert 0.55 <= min(dyed) < max(dyed) <= 0.8
    assert 0.03 <= min(black) < max(black) <= 0.1
