"""A person as things before the cameras: skin, eyes, hair, clothes, glasses, hat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from synthetic.pathtraced import skin as paint
from synthetic.pathtraced.eyes import ball_part
from synthetic.pathtraced.eyewear import above_hat_line, cap_things, glasses_things
from synthetic.pathtraced.medical_mask import medical_mask_things
from synthetic.pathtraced.things import Matter, Thing
from synthetic.people.attributes import Attributes
from synthetic.people.head import Hat
from synthetic.people.makehuman.figure import Figure, FigurePart, figure_of
from synthetic.people.makehuman.library import Library
from synthetic.people.makehuman.person import Person
from synthetic.surface import noise

SKIN_ROUGHNESS = 0.45
FEDORAS = 0.35
"""Share of fedoras among hats, if the library has one."""
TEETH = (0.62, 0.58, 0.48, 0.55)


def dressed(library: Library, person: Person, worn: Attributes, *, glasses: bool = True) -> tuple[Figure, list[Thing]]:
    """Return a person's figure and things. ``glasses``: whether to wear the drawn glasses."""
    fedora = fedora_of(library, worn.hat)
    figure = figure_of(library, person, worn.face, hat=fedora)
    things = [Thing(figure.skin, skin_matter(library, person), "person")]
    things += [Thing(ball_part(eye), eye_matter(library, person, k), "person") for k, eye in enumerate(figure.eyes)]
    if figure.teeth is not None and (worn.face.open_mouth > 0 or worn.face.smile > 0):
        things.append(Thing(figure.teeth, Matter(TEETH, roughness=0.25), "person"))
    things += hair_things(library, figure, worn.hat)
    if figure.clothes is not None and person.clothes is not None:
        things.append(Thing(figure.clothes, cloth_matter(library, person), "person"))
    things += hat_things(figure, worn.hat, fedora)
    if worn.medical_mask is not None:
        things += medical_mask_things(figure, worn.medical_mask, worn.face.open_mouth)
    if glasses and worn.glasses is not None:
        things += glasses_things(figure, worn.glasses)
    return figure, things


def skin_matter(library: Library, person: Person) -> Matter:
    """Return a person's skin; older skin is rougher."""
    return Matter(
        paint.skin_albedo(library, person),
        roughness=SKIN_ROUGHNESS + 0.12 * person.who.age,
    )


def eye_matter(library: Library, person: Person, k: int) -> Matter:
    """Return an eyeball's surface: wet, so lamps give small bright reflections."""
    side = 1 if k == 0 else -1
    return Matter(paint.eye_albedo(library, person.iris, side), roughness=0.07)


def hair_things(library: Library, figure: Figure, hat: Hat | None) -> list[Thing]:
    """Return hair, brows and lashes; a hat hides hair above its edge."""
    person = figure.person
    brow = paint.brow_colour(person.who)
    found: list[Thing] = []
    for kind, name, part, colour in (
        ("hair", person.hair, figure.hair, person.who.hair),
        ("eyebrows", person.brows, figure.brows, brow),
        ("eyelashes", person.lashes, figure.lashes, brow),
    ):
        if name is None or part is None:
            continue
        if kind == "hair" and hat is not None:
            part = below_hat(part, figure, hat)
            if not len(part.triangles):
                continue
        albedo, alpha = paint.hair_albedo(library.worn(kind, name), colour)
        matter = Matter(albedo, roughness=0.55, alpha=alpha)
        found.append(Thing(part, matter, "person"))
    return found


def below_hat(hair: FigurePart, figure: Figure, hat: Hat) -> FigurePart:
    """Return the hair that shows under a hat."""
    shows = (above_hat_line(hair.vertices, hat, figure)[hair.triangles] < 4).any(1)
    return replace(hair, triangles=hair.triangles[shows])


def cloth_matter(library: Library, person: Person) -> Matter:
    """Return a person's clothes: the texture in a colour of their own.

    Textile dyes absorb little at 850 nm, where dark cloth is mostly bright; carbon black stays dark.
    """
    assert person.clothes is not None
    worn = library.worn("clothes", person.clothes)
    rng = np.random.default_rng([0x62, person.cloth_seed])
    if worn.picture is None:
        visible = np.full((2, 2, 3), 0.3, np.float32)
    else:
        visible = np.power(worn.picture[:, :, :3].astype(np.float32) / 255, 2.2)
    tint = rng.uniform(0.35, 1.0, 3) if rng.uniform() < 0.7 else np.ones(3)
    if rng.uniform() < 0.5:
        visible = visible[:, :, rng.permutation(3)]
    visible = np.clip(visible * tint.astype(np.float32) + np.float32(0.01), 0, 0.9)
    grey = visible.mean(2)
    carbon = rng.uniform() < 0.25
    contrast = 0.9 if carbon else float(rng.uniform(0.05, 0.4))
    level = float(rng.uniform(0.3, 0.65))
    nir = np.clip(level * np.power(np.clip(grey / 0.3, 0.05, 3), contrast), 0.02, 0.85)
    albedo = np.concatenate([visible, nir[:, :, None]], 2).astype(np.float32)
    return Matter(albedo, roughness=0.85)


def fedora_of(library: Library, hat: Hat | None) -> str | None:
    """Return the proxy of a hat that is a fedora; None for caps or without one."""
    names = sorted(name for name in library.proxies("clothes") if "fedora" in name)
    if hat is None or not names or (hat.texture_seed % 1000) / 1000 >= FEDORAS:
        return None
    return names[hat.texture_seed % len(names)]


def hat_things(figure: Figure, hat: Hat | None, fedora: str | None) -> list[Thing]:
    """Return the things of the worn hat."""
    if hat is None:
        return []
    if figure.hat is None or fedora is None:
        return cap_things(figure, hat)
    rng = np.random.default_rng(hat.texture_seed)
    felt = np.array(hat.colour, np.float32) * (1 + 0.08 * noise(rng, (128, 128), 50))[:, :, None]
    return [Thing(figure.hat, Matter(felt.astype(np.float32), roughness=0.9), "worn")]
