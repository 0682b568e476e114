"""Species names (ISO/IEC 30107-3): ``bona_fide`` for people, any other name for a presentation attack instrument.

Because every other name means an attack, a misspelt ``bona_fide`` would silently count people as attacks.
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
"""Names used for bona fide in other data sets, in the form returned by `_key`."""
SIMILAR = 0.8
"""Minimum fraction of matching characters at which a name counts as a misspelt ``bona_fide``."""


class SpeciesInvalid(InputError):
    """A species name is invalid or looks like a mistake."""

    code = "species_invalid"


def require_species(name: str) -> str:
    """Return ``name`` if it is a valid species name.

    Raises:
        SpeciesInvalid: the name is empty, has spaces around it, or looks like a misspelt ``bona_fide``. The message
            suggests a fix.
    """
    if name == BONA_FIDE:
        return name
    key = _key(name)
    if not key:
        raise SpeciesInvalid(f"species {name!r} is not a name. Write {BONA_FIDE}, or the attack instrument's name.")
    if key in SYNONYMS or SequenceMatcher(None, key, _key(BONA_FIDE)).ratio() >= SIMILAR:
        raise SpeciesInvalid(
            f"species {name!r} looks like {BONA_FIDE!r} but would count as an attack. Write {BONA_FIDE}, exactly."
        )
    if name != name.strip():
        raise SpeciesInvalid(f"species {name!r} has spaces around the name. Write {name.strip()}.")
    return name


def require_distinct(names: Iterable[str]) -> None:
    """Require that no two names differ only in spelling. Otherwise one species would be counted as two.

    Raises:
        SpeciesInvalid: two names differ only in spelling. The message gives both.
    """
    spelt: dict[str, str] = {}
    for name in sorted(set(names)):
        other = spelt.setdefault(_key(name), name)
        if other != name:
            raise SpeciesInvalid(f"species {other!r} and {name!r} differ only in spelling. Use one of them.")


def _key(name: str) -> str:
    """Return the letters and digits of a name, case-folded."""
    return "".join(c for c in name.casefold() if c.isalnum())
