"""PAI species as things: prints, screens, masks, partial disguises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from synthetic.arrays import Array, float32
from synthetic.instruments.prints import INKS, dye_ink, pigment_ink, toner
from synthetic.pathtraced import skin as paint
from synthetic.pathtraced.description import Description
from synthetic.pathtraced.eyewear import glasses_things
from synthetic.pathtraced.people import ball_part, dressed, eye_matter
from synthetic.pathtraced.portrait import (
    before_sheet,
    blank_surface,
    face_in_picture,
    lying_on,
    sheet_part,
    stolen_picture,
    variant_of,
)
from synthetic.pathtraced.presented import Shown, face_of
from synthetic.pathtraced.things import Matter, Thing, joined, plate, tube
from synthetic.people.head import Glasses
from synthetic.people.makehuman.figure import Figure, FigurePart
from synthetic.people.makehuman.library import Library
from synthetic.people.makehuman.person import Person, person_of
from synthetic.physics import mask_nir, screen_nir, skin_bands
from synthetic.surface import noise

Ink = Callable[..., None]
ROUGHNESS = {dye_ink: (0.85, 1.0), toner: (0.35, 0.7), pigment_ink: (0.1, 0.35)}
IN_HANDS = 0.5
"""Share of held instruments with visible fingers of the holder."""
HELD_BEFORE_A_PERSON = 0.4
"""Share of held instruments with the holder visible behind them."""
SHEET_PX = (256, 320)


@dataclass(frozen=True, slots=True)
class Making:
    """Inputs for making an instrument: assets, the description, the subject, and a generator of its own."""

    library: Library
    what: Description
    subject: Person
    rng: np.random.Generator

    def wearer(self) -> Person:
        """Return the attacker: a person other than the subject."""
        return person_of(self.library, self.what.wearer, reserved=self.what.reserved)

    def picture(self) -> tuple[Array, Figure]:
        """Return the stolen picture and its figure."""
        what, shown = self.what, self.what.presentation
        return stolen_picture(self.library, shown.subject, what.reserved, variant_of(shown.number), what.attributes)


def instrument(library: Library, what: Description) -> Shown:
    """Return the attack that a description names."""
    shown = what.presentation
    subject = person_of(library, shown.subject, reserved=what.reserved)
    return MAKERS[shown.species](Making(library, what, subject, np.random.default_rng([0x76, *shown.key])))


def _printed(make: Making, ink: Ink, half: tuple[float, float], scale: float) -> Shown:
    """Return a held sheet with the subject's picture."""
    rng = make.rng
    shown, figure = make.picture()
    middle = float(rng.uniform(-35, -5)) * scale
    lying = lying_on(shown, half, middle, scale, SHEET_PX, margin=bool(rng.uniform() < 0.45))
    surface = blank_surface(lying)
    ink(surface, lying, rng)
    low, high = ROUGHNESS[ink]
    curl = float(rng.uniform(0, 0.0012)) * float(rng.uniform() < 0.6)
    axis = float(rng.choice((0.0, np.pi / 2)) + rng.normal(0, 0.15))
    waves = np.float32(rng.uniform(0, 0.06)) * noise(rng, (24, 24), 5).ravel() if ink is pigment_ink else None
    part = sheet_part(half, middle, curl, axis, waves)
    things = [Thing(part, Matter(surface.albedo, roughness=float(rng.uniform(low, high))), "instrument")]
    return _held(make, things, figure, scale)


def _held(make: Making, things: list[Thing], figure: Figure, scale: float, *, glasses: bool = True) -> Shown:
    """Return a flat instrument at z = 0 that shows the subject, possibly with its holder behind it."""
    worn = make.what.attributes
    if glasses and worn.glasses is not None and worn.glasses_on_picture:
        things += before_sheet(glasses_things(figure, worn.glasses), scale, 2.0)
    if make.rng.uniform() < HELD_BEFORE_A_PERSON:
        _, holder = dressed(make.library, make.wearer(), replace(worn, glasses=None, hat=None))
        shift = np.array([make.rng.normal(0, 60), make.rng.normal(-30, 40), -make.rng.uniform(90, 220)], np.float32)
        things += [replace(t, part=t.part.moved(np.eye(3, dtype=np.float32), shift)) for t in holder]
    if make.rng.uniform() < IN_HANDS:
        things.append(_fingers(make, things[0].part))
    face, size = face_in_picture(figure, scale)
    return Shown(tuple(things), face, size, make.subject.who.melanin, pivot=(0.0, 0.0, 0.0), scale=scale)


def _fingers(make: Making, sheet: FigurePart) -> Thing:
    """Return thumbs and fingers that hold a sheet at its sides."""
    rng = make.rng
    half, low, high = (float(v) for v in (sheet.vertices[:, 0].max(), *_span(sheet.vertices[:, 1])))
    found = []
    for side in (-1, 1) if rng.uniform() < 0.6 else (int(rng.choice((-1, 1))),):
        at = float(rng.uniform(low, 0.5 * (low + high)))
        for k in range(int(rng.integers(1, 4))):
            reach, y = float(rng.uniform(12, 32)), at + 19 * k
            x = side * np.array([half + 45, half + 14, half - 0.4 * reach, half - 0.8 * reach, half - reach])
            path = np.stack([x, y + np.array([-12, -4, 0, 1, 1]), np.array([-25, 3, 10, 10, 9])], 1)
            girth = np.array([10.5, 9.5, 8.5, 7.5, 1.5]) * rng.uniform(0.85, 1.1)
            found.append(tube(path, girth.astype(np.float32), closed=False))
    r, g, b, nir = (float(v) for v in skin_bands(make.wearer().who.melanin))
    return Thing(joined(found), Matter((r, g, b, nir), roughness=0.5), "instrument")


def _span(values: Array) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _paper_size(rng: np.random.Generator) -> tuple[float, float]:
    big = rng.uniform() < 0.4
    large = (float(rng.uniform(130, 200)), float(rng.uniform(160, 220)))
    return large if big else (105.0, 148.5)


def print_matte(make: Making) -> Shown:
    """An inkjet print with dye inks on matte paper."""
    return _printed(make, dye_ink, _paper_size(make.rng), float(make.rng.uniform(0.75, 1.1)))


def print_toner(make: Making) -> Shown:
    """A laser print; its toner is visible in IR."""
    return _printed(make, toner, _paper_size(make.rng), float(make.rng.uniform(0.75, 1.1)))


def print_vinyl(make: Making) -> Shown:
    """A life-size banner of glossy vinyl."""
    half = (float(make.rng.uniform(130, 220)), float(make.rng.uniform(160, 220)))
    return _printed(make, pigment_ink, half, float(make.rng.uniform(0.92, 1.1)))


def replay_screen(make: Making) -> Shown:
    """A phone, tablet or monitor that plays the subject: it emits visible light and is dark in the infrared."""
    rng = make.rng
    phone = rng.uniform() < 0.4
    scale = float(rng.uniform(0.42, 0.6) if phone else rng.uniform(0.8, 1.15))
    half = (36.0, 76.0) if phone else (float(rng.uniform(85, 170)), float(rng.uniform(115, 170)))
    # No glasses are put on a screen: they are in the picture.
    worn = replace(make.what.attributes, glasses_on_picture=False)
    making = replace(make, what=replace(make.what, attributes=worn))
    shown, figure = making.picture()
    middle = float(rng.uniform(-30, 0)) * scale
    lying = lying_on(shown, half, middle, scale, SHEET_PX, margin=False)[:, :, :3]
    x = np.linspace(-half[0], half[0], SHEET_PX[0], dtype=np.float32)[None]
    y = np.linspace(-half[1], half[1], SHEET_PX[1], dtype=np.float32)[:, None]
    # Moiré between panel and camera pixels: slow waves of brightness and tint.
    angle, wave, depth = rng.uniform(0, np.pi), rng.uniform(4, 25), float(rng.uniform(0, 0.06))
    phase = (x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / wave)
    beat = 1 + depth * np.sin(phase[:, :, None] + np.array([0, 0.7, 1.4]))
    # A white of 1 is paper under 300 lux, about 95 cd/m²; screens dim themselves in the dark.
    nits = np.exp(rng.uniform(np.log(120), np.log(700)) if make.what.lux > 40 else rng.uniform(np.log(15), np.log(120)))
    tint = rng.uniform(0.85, 1.1, 3) * float(nits) / 95
    emission = np.power(lying, float(rng.uniform(0.85, 1.25))) * beat * tint
    glass = Matter(
        (0.03, 0.03, 0.035, screen_nir(rng)),
        roughness=float(rng.uniform(0.05, 0.2)),
        emission=emission.astype(np.float32),
    )
    body = (0.6, 0.6, 0.6, 0.55) if rng.uniform() < 0.3 else (0.03, 0.03, 0.03, float(rng.uniform(0.04, 0.3)))
    bezel = float(rng.uniform(2, 9))
    move = np.eye(3, dtype=np.float32)
    rim = plate((half[0] + bezel, half[1] + bezel * float(rng.uniform(1, 2))))
    things = [
        Thing(sheet_part(half, middle, 0.0, 0.0), glass, "instrument"),
        Thing(rim.moved(move, np.array([0, middle, -1.5])), Matter(body, roughness=0.3), "instrument"),
    ]
    return _held(making, things, figure, scale, glasses=False)


def _before_face(make: Making, curl: float, *, holes: int, wide: float) -> Shown:
    """Return a print cut along the face, in front of the wearer's face; ``holes``: 1 cuts out the eyes, 2 also the
    nose, 3 also the mouth."""
    rng, worn = make.rng, make.what.attributes
    shown, pictured = make.picture()
    figure, things = dressed(make.library, make.wearer(), replace(worn, hat=None), glasses=worn.glasses_on_picture)
    half, scale = (88.0, 122.0), float(rng.uniform(0.95, 1.06))
    middle = -22.0
    lying = lying_on(shown, half, middle, scale, SHEET_PX, margin=False)
    surface = blank_surface(lying)
    ink = INKS[int(rng.integers(len(INKS)))]
    ink(surface, lying, rng)
    x = np.linspace(-half[0], half[0], SHEET_PX[0], dtype=np.float32)[None]
    y = np.linspace(half[1], -half[1], SHEET_PX[1], dtype=np.float32)[:, None] + middle
    top, bottom = float(rng.uniform(58, 85)), float(rng.uniform(108, 128))
    egg = np.square(x / wide) + np.square((y + 20) / np.where(y > -20, top + 20, bottom - 20))
    cover = np.clip((1 - egg) * 25, 0, 1)
    openings = [((-31.0, 0.0), (17.0, 9.0)), ((31.0, 0.0), (17.0, 9.0))][: 2 * (holes >= 1)]
    openings += [((0.0, -36.0), (16.0, 21.0))][: holes >= 2] + [((0.0, -69.0), (30.0, 12.0))][: holes >= 3]
    for (cx, cy), (rx, ry) in openings:
        cover = cover * (1 - np.clip((1.1 - np.square((x - cx) / rx) - np.square((y - cy) / ry)) * 8, 0, 1))
    nose = float(figure.landmarks["nose"][2])
    gap = nose - float(rng.uniform(6, 14)) if holes >= 2 else nose + float(rng.uniform(2, 8))
    part = sheet_part(half, middle, curl, 0.0).moved(np.eye(3, dtype=np.float32), np.array([0, 0, gap]))
    matter = Matter(surface.albedo, roughness=float(rng.uniform(*ROUGHNESS[ink])), alpha=cover.astype(np.float32))
    things.append(Thing(part, matter, "instrument"))
    if worn.glasses is not None and worn.glasses_on_picture:
        # Moved forward, so that they stand in front of the paper.
        things = [t for t in things if t.role != "worn"] + _glasses_before(figure, worn.glasses, gap)
    (_, fy, _), size = face_in_picture(pictured, scale)
    return Shown(tuple(things), (0.0, fy, gap), size, make.subject.who.melanin)


def _glasses_before(figure: Figure, glasses: Glasses, z: float) -> list[Thing]:
    """Return glasses over something ``z`` mm in front of the eyes."""
    plain = glasses_things(figure, glasses)
    front = float(plain[0].part.vertices[:, 2].max())
    return glasses_things(figure, glasses, stand_off=max(0.0, z + 5 - front))


def print_cutout(make: Making) -> Shown:
    """A print cut along the face, held or tied in front of the wearer's face."""
    rng = make.rng
    return _before_face(
        make, float(rng.uniform(0, 0.0025)), holes=int(rng.integers(0, 4)), wide=float(rng.uniform(66, 80))
    )


def mask_paper(make: Making) -> Shown:
    """A paper mask wrapped round the face."""
    rng = make.rng
    curl = 1 / (2 * float(rng.uniform(80, 110)))
    return _before_face(make, curl, holes=int(rng.uniform() < 0.8), wide=80.0)


def _painted(make: Making, nir: float, ghost: float) -> Array:
    """Return the subject's skin painted on other matter [h, w, 4]: right in the visible; IR shows mostly the matter
    below, of reflectance ``nir``, and the fraction ``ghost`` of the paint."""
    rng = make.rng
    true = paint.skin_albedo(make.library, make.subject)
    tone = paint.face_tone(true, paint.face_positions(make.library))
    even = np.float32(rng.uniform(0.25, 0.75))
    painted = true + (tone - true) * even
    painted = painted * rng.uniform(0.88, 1.12, 4).astype(np.float32)
    relative = painted[:, :, 3] / max(float(tone[3]), 1e-3)
    painted[:, :, 3] = np.float32(nir) * (1 + np.float32(ghost) * (relative - 1))
    matter: Array = np.clip(painted, 0.01, 0.95).astype(np.float32)
    return matter


def _map_of(make: Making) -> tuple[Array, Array, Array]:
    """Return x, y and z of the neutral face at the texels of a skin, mm; far away outside the head."""
    position = np.nan_to_num(paint.face_positions(make.library), nan=-999.0)
    return position[:, :, 0], position[:, :, 1], position[:, :, 2]


def _soft(cover: Array) -> Array:
    return float32(cv2.GaussianBlur(np.clip(cover, 0, 1).astype(np.float32), (0, 0), 0.8))


def _eye_holes(x: Array, y: Array, margin: float) -> Array:
    """Return 1 on the mask, 0 in the holes for the eyes."""
    hole = np.square((np.abs(x) - 31) / (15 + margin)) + np.square(y / (7 + margin))
    solid: Array = np.clip((hole - 0.9) * 5, 0, 1)
    return solid


def _in_front(shell: FigurePart, wearer: Figure, gap: float) -> FigurePart:
    """Return a mask moved forward until its wearer's face is behind it."""
    here = wearer.skin.vertices
    face = here[(np.abs(here[:, 0]) < 45) & (np.abs(here[:, 1] + 35) < 60) & (here[:, 2] > 0)]
    front = shell.vertices[(np.abs(shell.vertices[:, 0]) < 50) & (shell.vertices[:, 2] > 0)]
    if not len(face) or not len(front):
        return shell
    distance = np.square(face[:, None, :2] - front[None, :, :2]).sum(2).argmin(1)
    ahead = float(np.percentile(face[:, 2] - front[distance, 2], 96)) + gap
    return shell.moved(np.eye(3, dtype=np.float32), np.array([0, 0, max(0.0, ahead)]))


def mask_rigid(make: Making) -> Shown:
    """A painted resin mask of the subject, printed or cast, worn by another person: right relief, wrong matter."""
    rng, worn = make.rng, make.what.attributes
    figure, things = dressed(make.library, make.wearer(), worn, glasses=False)
    owner, _ = dressed(make.library, make.subject, replace(worn, hat=None, glasses=None))
    nir = mask_nir(rng, skin_like=False)
    x, y, z = _map_of(make)
    edge = np.square(x / 68) + np.square((y + 28) / np.where(y > -28, float(rng.uniform(75, 95)), 86))
    cover = np.clip((1 - edge) * 14, 0, 1) * (z > -45)
    open_eyes = rng.uniform() < 0.7
    matter = Matter(
        _painted(make, nir, float(rng.uniform(0.1, 0.5))),
        roughness=float(rng.uniform(0.2, 0.5)),
        alpha=_soft(cover * _eye_holes(x, y, 1.5) if open_eyes else cover),
    )
    shell = _in_front(owner.skin.pushed(1.5), figure, float(rng.uniform(2, 5)))
    shift = np.array([0, 0, float(shell.vertices[0, 2] - owner.skin.pushed(1.5).vertices[0, 2])], np.float32)
    things.append(Thing(shell, matter, "instrument"))
    if not open_eyes:
        for k, eye in enumerate(owner.eyes):
            painted = paint.eye_albedo(make.library, make.subject.iris, 1 - 2 * k).copy()
            painted[:, :, 3] = nir * (0.85 + 0.15 * painted[:, :, 3])
            ball = ball_part(eye).moved(np.eye(3, dtype=np.float32), shift)
            things.append(Thing(ball, Matter(painted, roughness=matter.roughness), "instrument"))
    if worn.glasses is not None:
        things += _glasses_before(figure, worn.glasses, float(shell.vertices[:, 2].max()) - 12)
    (fx, fy, fz), size = face_of(owner)
    return Shown(tuple(things), (fx, fy, fz + float(shift[2])), size, make.subject.who.melanin)


def mask_silicone(make: Making) -> Shown:
    """A silicone mask of the whole head, with hair: soft, translucent, and in the infrared close to skin."""
    rng, worn = make.rng, make.what.attributes
    wearer = make.wearer()
    owner, own = dressed(make.library, make.subject, worn)
    nir = mask_nir(rng, skin_like=True)
    x, y, _ = _map_of(make)
    painted = _painted(make, nir, float(rng.uniform(0.2, 0.6)))
    # A dark ring at the lids, where mask and eye do not meet.
    ring = _soft(1 - 0.45 * (1 - _eye_holes(x, y, 3.0)))[:, :, None]
    matter = Matter((painted * ring).astype(np.float32), roughness=float(rng.uniform(0.32, 0.55)))
    brows_made = rng.uniform() < 0.5
    skip = {id(owner.skin), *(id(b) for b in (owner.brows, owner.lashes) if not brows_made)}
    # Everything except skin, eyes and brows is worn as by the subject.
    things = [Thing(owner.skin, matter, "instrument")]
    for k, eye in enumerate(owner.eyes):
        sunk = replace(eye, centre=eye.centre - np.array([0, 0, float(rng.uniform(1, 3))], np.float32))
        things.append(Thing(ball_part(sunk), eye_matter(make.library, wearer, k), "person"))
    # `dressed` puts skin and two eyes first.
    things += [t for t in own[3:] if id(t.part) not in skip]
    face, size = face_of(owner)
    return Shown(tuple(things), face, size, make.subject.who.melanin)


def partial(make: Making) -> Shown:
    """A living face, partly disguised: printed eyes, a printed mouth, half a print, or solid glasses."""
    rng, worn = make.rng, make.what.attributes
    kind = int(rng.integers(4))
    figure, things = dressed(make.library, make.wearer(), worn, glasses=kind != 3)
    face, size = face_of(figure)
    if kind == 3:
        solid = Glasses(1.0, float(rng.uniform(0.05, 0.5)), float(rng.uniform(2, 5)), disc=False)
        r, g, b = (float(v) for v in rng.uniform(0.05, 0.7, 3))
        plastic = Matter((r, g, b, float(rng.uniform(0.05, 0.7))), roughness=float(rng.uniform(0.1, 0.4)))
        frame, *lenses = glasses_things(figure, solid)
        things += [replace(frame, attack=True), *(replace(t, matter=plastic, attack=True) for t in lenses)]
        return Shown(tuple(things), face, size, make.subject.who.melanin)
    shown, _ = make.picture()
    x, y, z = _map_of(make)
    half = (125.0, 150.0)
    flat = lying_on(shown, half, -10.0, 1.0, (500, 600), margin=False)
    columns, rows = ((x + half[0]) * 2).astype(np.float32), ((half[1] - 10.0 - y) * 2).astype(np.float32)
    lying = float32(cv2.remap(flat, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    surface = blank_surface(lying)
    ink = INKS[int(rng.integers(len(INKS)))]
    ink(surface, lying, rng)
    front = (z > -30).astype(np.float32) * np.clip((72 - np.abs(x)) / 2, 0, 1)
    if kind == 0:
        band = np.clip((19 - np.abs(y - 3)) / 2, 0, 1) * np.clip((62 - np.abs(x)) / 2, 0, 1)
    elif kind == 1:
        band = np.clip((-42 - y) / 2, 0, 1) * np.clip((50 - np.abs(x)) / 2, 0, 1) * np.clip((y + 104) / 2, 0, 1)
    else:
        side = float(rng.choice((-1, 1)))
        band = np.clip((side * x - 6) / 2, 0, 1) * np.clip((y + 108) / 2, 0, 1) * np.clip((70 - y) / 2, 0, 1)
    matter = Matter(surface.albedo, roughness=float(rng.uniform(*ROUGHNESS[ink])), alpha=_soft(float32(band * front)))
    patch = Thing(figure.skin.pushed(float(rng.uniform(2.5, 5))), matter, "instrument", attack=True)
    things.append(patch)
    if kind == 0:
        # Printed eyes bulge over the living ones.
        for eye in figure.eyes:
            printed_eye = _eye_print(shown, float(np.sign(eye.centre[0])), ink, rng)
            lid = ball_part(replace(eye, radius=eye.radius + 4.0))
            things.append(Thing(lid, Matter(printed_eye, roughness=matter.roughness), "instrument", attack=True))
    return Shown(tuple(things), face, size, make.subject.who.melanin)


def _eye_print(shown: Array, side: float, ink: Ink, rng: np.random.Generator) -> Array:
    """Return a printed eye [64, 64, 4]; ``side``: 1 for the one at the right of the image, -1 for the other."""
    both = lying_on(shown, (60.0, 15.0), 0.0, 1.0, (256, 64), margin=False)
    start = round((31 * side + 60 - 15) / 120 * 256)
    lying = np.ascontiguousarray(both[:, start : start + 64])
    surface = blank_surface(lying)
    ink(surface, lying, rng)
    return surface.albedo


MAKERS: dict[str, Callable[[Making], Shown]] = {
    "print_matte": print_matte,
    "print_toner": print_toner,
    "print_vinyl": print_vinyl,
    "print_cutout": print_cutout,
    "replay_screen": replay_screen,
    "mask_paper": mask_paper,
    "mask_rigid": mask_rigid,
    "mask_silicone": mask_silicone,
    "partial": partial,
}
