"""A subject as a MakeHuman person: morphs, skin, hair and eyes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from synthetic.people.identity import Identity, identity_of
from synthetic.people.makehuman.library import Library, choices, is_reserved

RESERVED_FROM = 1000
"""First test subject: reserved skins, hair and morphs occur from here on."""
DETAILS = ("head", "forehead", "eyes", "nose", "mouth", "chin", "cheek", "ears", "neck", "eyebrows")
OPPOSITES = (
    ("incr", "decr"),
    ("in", "out"),
    ("up", "down"),
    ("forward", "backward"),
    ("compress", "uncompress"),
    ("concave", "convex"),
)
Shape = Literal["makehuman", "scan", "analytic"]
UNFIT = (
    "head-trans",
    "neck-trans",
    "mouth-trans-in",
    "mouth-trans-out",
    "head-angle",
    "nose-trans-in",
    "nose-trans-out",
)
"""Morphs that only move a head or make it asymmetric."""
SCANNED, ANALYTIC = 0.25, 0.15
"""Share of people with the head shape of a scan-derived face and of an analytic head; the others have MakeHuman's."""
LONG_HAIR = ("bob", "long", "ponytail", "braid")


@dataclass(frozen=True, slots=True)
class Person:
    """A subject. ``weights``: morph target → strength. Names are those of a `Library`; ``hair`` is None for the bald.

    ``tone``: the skin's reflectance is shifted towards that of ``who.melanin``. ``shape``: source of the head's shape.
    """

    who: Identity
    reserved: bool
    male: bool
    ancestry: str
    weights: tuple[tuple[str, float], ...]
    skin: str
    iris: str
    hair: str | None
    brows: str | None
    lashes: str | None
    clothes: str | None
    cloth_seed: int
    shape: Shape = "makehuman"


def person_of(library: Library, subject: int, *, reserved: bool | None = None) -> Person:
    """Return the person with number ``subject``: the same number and assets always give the same person.

    ``reserved``: whether the person uses assets held back for testing; by default the number decides.
    """
    return _person(library, subject, subject >= RESERVED_FROM if reserved is None else reserved)


@functools.lru_cache(maxsize=4096)
def _person(library: Library, subject: int, reserved: bool) -> Person:
    rng = np.random.default_rng([0x4D48, subject, int(reserved)])
    who = identity_of(subject)
    male = bool(who.beard > 0 or (not who.long_hair and rng.uniform() < 0.6) or rng.uniform() < 0.1)
    ancestry = _ancestry(who.melanin, rng)
    weights = {**_macro(library, male, who.age, ancestry, rng), **_details(library, reserved, rng)}

    def one(names: list[str]) -> str | None:
        open_to = choices(names, reserved=reserved)
        return open_to[int(rng.integers(len(open_to)))] if open_to else None

    skin = one(_skins(library, male, dark=who.melanin > 0.14))
    iris = one(_irises(library, who))
    assert skin is not None
    assert iris is not None
    styles = list(library.proxies("hair"))
    long_haired = [s for s in styles if any(word in s for word in LONG_HAIR)]
    fitting = long_haired if who.long_hair else [s for s in styles if s not in long_haired]
    suits = [s for s in library.proxies("clothes") if "suit" in s and s.split("/")[-1].startswith("male") == male]
    hair, brows, lashes, clothes = (
        one(names) for names in (fitting, list(library.proxies("eyebrows")), list(library.proxies("eyelashes")), suits)
    )
    return Person(
        who=who,
        reserved=reserved,
        male=male,
        ancestry=max(ancestry, key=ancestry.__getitem__),
        weights=tuple(sorted(weights.items())),
        skin=skin,
        iris=iris,
        hair=None if who.bald else hair,
        brows=brows,
        lashes=lashes,
        clothes=clothes,
        cloth_seed=int(rng.integers(1 << 31)),
        shape=shape_of(library, subject),
    )


def shape_of(library: Library, subject: int) -> Shape:
    """Return the source of a subject's head shape: the same in every presentation and picture of the subject.

    It has a generator of its own. Without a face model, those who would have a scan-derived shape keep MakeHuman's.
    """
    drawn = float(np.random.default_rng([0x5D48, subject]).uniform())
    if drawn < SCANNED:
        return "makehuman" if library.face_model is None else "scan"
    return "analytic" if drawn < SCANNED + ANALYTIC else "makehuman"


def _ancestry(melanin: float, rng: np.random.Generator) -> dict[str, float]:
    """Return weights of the three macro shapes, with sum 1; the darker the skin, the likelier the first."""
    dark = float(np.clip((melanin - 0.06) / 0.16, 0.02, 1))
    pull = np.array([4 * dark, 1.6 * (1 - dark) + 0.1, 2.2 * (1 - dark) + 0.1])
    share = rng.dirichlet(0.6 * pull + 0.05)
    return dict(zip(("african", "asian", "caucasian"), share.tolist(), strict=True))


def _macro(
    library: Library, male: bool, age: float, ancestry: dict[str, float], rng: np.random.Generator
) -> dict[str, float]:
    """Return weights of the macro targets: sex, age, ancestry, muscle and weight; each family sums to 1."""
    sex = "male" if male else "female"
    old = float(np.clip((age - 0.35) * 1.3, 0, 0.85))
    ages = {"young": 1 - old, "old": old}
    found = {f"macrodetails/{a}-{sex}-{g}": s * share for a, s in ancestry.items() for g, share in ages.items()}
    muscle, weight = (_three(float(rng.normal(0, 0.45))) for _ in range(2))
    for g, share in ages.items():
        for m, by_muscle in muscle.items():
            for w, by_weight in weight.items():
                name = f"macrodetails/universal-{sex}-{g}-{m}muscle-{w}weight"
                found[name] = share * by_muscle * by_weight
    return {name: value for name, value in found.items() if value > 1e-4 and name in library.target_files}


def _three(at: float) -> dict[str, float]:
    """Return the shares of minimum, average and maximum for a position from -1 to 1 between them."""
    at = float(np.clip(at, -1, 1))
    return {"min": max(-at, 0.0), "average": 1 - abs(at), "max": max(at, 0.0)}


def _details(library: Library, reserved: bool, rng: np.random.Generator) -> dict[str, float]:
    """Return strengths of the detail morphs of a face; left and right share one draw."""
    families: dict[str, list[str]] = {}
    for name in library.target_files:
        folder, _, rest = name.partition("/")
        if folder in DETAILS and not any(word in rest for word in UNFIT):
            families.setdefault(_family(folder, rest), []).append(name)
    found: dict[str, float] = {}
    for family in sorted(families):
        value, used = float(np.clip(rng.normal(0, 0.3), -0.9, 0.9)), rng.uniform() < 0.7
        apart = is_reserved(family)
        if not used or (apart and not reserved):
            continue
        for name in families[family]:
            end = _end(name)
            if end is None:
                # A shape without an opposite, such as a round head: rarely more than weak.
                found[name] = max(value - 0.15, 0) * 0.8
            elif end * value > 0:
                found[name] = abs(value)
    return {name: value for name, value in found.items() if value > 0.01}


def _family(folder: str, rest: str) -> str:
    """Return the common name of both ends and both sides of a morph."""
    stem = rest[2:] if rest[:2] in ("l-", "r-") else rest
    end = _end(rest)
    return f"{folder}/{stem if end is None else stem.rsplit('-', 1)[0]}"


def _end(name: str) -> int | None:
    """Return 1 or -1 for the two ends of a morph, None if it has only one end."""
    last = name.rsplit("-", 1)[-1]
    for first, second in OPPOSITES:
        if last in (first, second):
            return 1 if last == first else -1
    return None


def _skins(library: Library, male: bool, *, dark: bool) -> list[str]:
    """Return skins of about the right tone, of the right sex if there are any."""
    names = list(library.skins)
    toned = [n for n in names if ("darkskinned" in n) == dark] or names
    # There are too few dark skins to separate the sexes and hold some back.
    return toned if dark else [n for n in toned if ("female" in n) != male] or toned


def _irises(library: Library, who: Identity) -> list[str]:
    """Return irises of the identity's colour: brown, or any of the light ones."""
    names = list(library.irises)
    brown = [n for n in names if "brown" in n]
    light = [n for n in names if "brown" not in n]
    return (brown if who.iris[0] >= who.iris[2] and who.iris[2] < 0.05 else light) or names
