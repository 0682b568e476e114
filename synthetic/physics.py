"""Physics of skin, ink, light and depth sensing, as small named functions with their sources.

Wavelengths in nanometres, lengths in millimetres, reflectances 0 to 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

BANDS_NM = (610.0, 540.0, 460.0, 850.0)
"""Centre wavelengths of a colour camera's red, green and blue, and of the infrared illuminator."""
EPIDERMIS_MM = 0.06

DERMIS = {460.0: 0.36, 540.0: 0.42, 610.0: 0.62, 850.0: 0.66, 940.0: 0.60}
"""Reflectance of the dermis below the melanin: blood absorbs blue and green, water absorbs near 970 nm. Chosen within
0.35-0.45 at 550, 0.6-0.7 at 850 and 0.55-0.65 at 940 nm."""


def melanosome_absorption(wavelength_nm: float) -> float:
    """Return the absorption coefficient of a melanosome, 1/mm: 6.6e11 · λ^-3.33 per cm (Jacques, "Skin optics summary",
    1998)."""
    return 6.6e11 * math.pow(wavelength_nm, -3.33) / 10


def baseline_absorption(wavelength_nm: float) -> float:
    """Return the absorption coefficient of skin without melanin or blood, 1/mm (Jacques 1998)."""
    return (0.244 + 85.3 * math.exp(-(wavelength_nm - 154) / 66.2)) / 10


def epidermal_transmission(melanosome_fraction: float, wavelength_nm: float) -> float:
    """Return the transmission through the epidermis and back: exp(−2 μa d), d = 60 μm, absorption mixed by volume."""
    f = melanosome_fraction
    absorption = f * melanosome_absorption(wavelength_nm) + (1 - f) * baseline_absorption(wavelength_nm)
    return math.exp(-2 * absorption * EPIDERMIS_MM)


def skin_reflectance(melanosome_fraction: float, wavelength_nm: float) -> float:
    """Return the reflectance of skin at one of the wavelengths in `DERMIS`."""
    return DERMIS[wavelength_nm] * epidermal_transmission(melanosome_fraction, wavelength_nm)


def skin_bands(melanosome_fraction: float) -> Array:
    """Return the reflectance of skin in `BANDS_NM`, float32 [4]."""
    return np.array([skin_reflectance(melanosome_fraction, nm) for nm in BANDS_NM], np.float32)


def flash_falloff(distance_mm: Array, reference_mm: float) -> Array:
    """Return the irradiance of a small lamp relative to that at ``reference_mm``: the inverse-square law."""
    falloff: Array = np.square(reference_mm / distance_mm, dtype=np.float32)
    return falloff


def stereo_depth_noise(
    distance_mm: float, focal_px: float = 424, baseline_mm: float = 50, subpixel: float = 0.08
) -> float:
    """Return the standard deviation of active stereo depth, mm: z² · subpixel / (f · b) (RealSense depth tuning
    guide)."""
    return distance_mm**2 * subpixel / (focal_px * baseline_mm)


def dye_print_nir(colour: Array, paper: float, residual: float, black: float) -> Array:
    """Return the NIR reflectance of a dye-ink print of ``colour`` (linear RGB [H, W, 3]) on matte paper, [H, W].

    Cyan, magenta and yellow dyes are nearly transparent beyond 750 nm and leave a ``residual`` (0 to 0.1); only the
    carbon black that printers add in the darkest tones (below 0.08 of white) absorbs, by ``black``.
    """
    luminance = colour @ np.full(3, 1 / 3, np.float32)
    carbon = np.clip((0.08 - luminance) / 0.08, 0, 1)
    reflectance: Array = paper * (1 - residual * (1 - luminance)) * (1 - black * carbon)
    return reflectance


def toner_print_nir(luminance: Array, paper: float, contrast: float) -> Array:
    """Return the NIR reflectance of a print with carbon, [H, W]: the picture stays visible at ``contrast`` (0.5 to
    1)."""
    reflectance: Array = paper * (1 - contrast * (1 - luminance))
    return reflectance


def vinyl_print_nir(picture_nir: Array, luminance: Array, paper: float, black: float, own: float) -> Array:
    """Return the NIR reflectance of a print whose pigments are visible in IR, [H, W].

    Eco-solvent and pigment inks on vinyl keep a face's contrast at 850 nm; in field reports a brightness test accepted
    such banners as people in 69 of 70 trials. ``own``: weight of ``picture_nir``, an infrared picture, in the printed
    tones; the rest is ``luminance``, that of the colour picture. ``black``: absorption of the darkest tone (0.8 to
    0.95).
    """
    tone = np.clip(own * picture_nir + (1 - own) * luminance, 0, 1)
    return np.asarray(paper * (1 - black * (1 - tone)), np.float32)


def mask_nir(rng: np.random.Generator, *, skin_like: bool) -> float:
    """Draw the NIR reflectance of a mask's material: 0.35 to 0.75 for resin, and 0.5 to 0.75 for silicone.

    Both ranges overlap with that of skin, so a mask never differs from skin by a fixed amount.
    """
    return float(rng.uniform(0.5, 0.75) if skin_like else rng.uniform(0.35, 0.75))


CLEAR_PLASTIC_INDEX = (1.585, 1.569)
"""Refractive index of polycarbonate at 588 and 850 nm (Sultanova, Kasarova and Nikolov, "Dispersion properties of
optical polymers", Acta Physica Polonica A 116, 2009); that of PETG is 1.57, of acrylic 1.49."""
CLEAR_PLASTIC_LOSS = 0.01
"""Share of light lost per mm of clear sheet, visible or at 850 nm. Polymers without dye begin to absorb only beyond
1100 nm, at the overtones of C-H bonds."""


def fresnel_reflectance(cosine: Array, index: float) -> Array:
    """Return the share of unpolarised light that one face of a clear body reflects (Fresnel's equations).

    ``cosine``: of the angle of incidence, 0 to 1.
    """
    outside = np.clip(np.asarray(cosine, np.float32), 0, 1)
    inside = np.sqrt(1 - (1 - np.square(outside)) / np.float32(index**2))
    across = np.square((outside - index * inside) / (outside + index * inside))
    along = np.square((inside - index * outside) / (inside + index * outside))
    return np.asarray((across + along) / 2, np.float32)


def clear_sheet(cosine: Array, index: float, thickness_mm: float) -> tuple[Array, Array]:
    """Return the shares of light that a clear sheet reflects and absorbs; the rest passes straight through.

    Both faces reflect, over and over: 2 R / (1 + R) in all for a face's reflectance R. Skin behind it keeps its colours
    at 850 nm as in the visible; what betrays the sheet is its gloss.
    """
    face = fresnel_reflectance(cosine, index)
    reflected = 2 * face / (1 + face)
    inside = np.sqrt(1 - (1 - np.square(np.clip(cosine, 0, 1))) / np.float32(index**2))
    absorbed = (1 - reflected) * (1 - np.power(1 - CLEAR_PLASTIC_LOSS, thickness_mm / inside))
    return np.asarray(reflected, np.float32), np.asarray(absorbed, np.float32)


def fleece_nir(rng: np.random.Generator, *, carbon: bool) -> float:
    """Draw the NIR reflectance of a medical mask's non-woven polypropylene.

    The fibres scatter and hardly absorb below 1100 nm, and the blue pigment of surgical masks, copper phthalocyanine,
    absorbs at 600 to 700 nm and transmits 850 nm; so coloured masks are bright there. Carbon black stays dark.
    """
    return float(rng.uniform(0.03, 0.10) if carbon else rng.uniform(0.55, 0.80))


def screen_nir(rng: np.random.Generator) -> float:
    """Draw the NIR reflectance of a display: it emits nothing at 850 or 940 nm and is dark, 0.03 to 0.08."""
    return float(rng.uniform(0.03, 0.08))


def srgb_to_linear(value: Array) -> Array:
    """Invert the sRGB transfer curve (IEC 61966-2-1), approximated by a power of 2.2."""
    return np.power(value, 2.2, dtype=np.float32)
