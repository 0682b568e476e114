"""Names of species (ISO/IEC 30107-3): ``bona_fide`` for people, any other name for an attack instrument.

Because any other name is an attack, a misspelt ``bona_fide`` would turn people into attacks without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

from runtime.core.errors import InputError

BONA_FIDE = "bona_fide"
SYNONYMS = frozenset({
    "bf", "bonafide", "client", "genuine", "human", "live", "liveface", "liveperson", "liveness", "living", "notspoof",
    "person", "real", "realface", "realperson", "true",
})  # fmt: skip
"""What other data sets call people, as `_key` reduces it."""
SIMILAR = 0.8
"""Share of matching characters from which a name counts as a misspelt ``bona_fide``."""


class SpeciesInvalid(InputError):
    """A species' name that is, or looks like, a mistake."""

    code = "species_invalid"


def require_species(name: str) -> str:
    """Return ``name`` if it can name a species.

    Raises:
        SpeciesInvalid: it is empty, has spaces around it, or looks like a misspelt ``bona_fide``; suggests another.
    """
    if name == BONA_FIDE:
        return name
    key = _key(name)
    if not key:
        raise SpeciesInvalid(f"species {name!r}: not a name. Write {BONA_FIDE}, or the attack instrument's name.")
    if key in SYNONYMS or SequenceMatcher(None, key, _key(BONA_FIDE)).ratio() >= SIMILAR:
        raise SpeciesInvalid(
            f"species {name!r}: people are {BONA_FIDE!r}, spelt exactly so; any other name counts as an attack. "
            f"Write {BONA_FIDE}."
        )
    if name != name.strip():
        raise SpeciesInvalid(f"species {name!r}: spaces around the name. Write {name.strip()}.")
    return name


def require_distinct(names: Iterable[str]) -> None:
    """Refuse a set of names of which two differ in spelling alone: one species would be counted as two.

    Raises:
        SpeciesInvalid: names both.
    """
    spelt: dict[str, str] = {}
    for name in sorted(set(names)):
        other = spelt.setdefault(_key(name), name)
        if other != name:
            raise SpeciesInvalid(f"species {other!r} and {name!r} differ in spelling alone. Write one of them.")


def _key(name: str) -> str:
    """Return the letters and digits of a name, without case."""
    return "".join(c for c in name.casefold() if c.isalnum())
