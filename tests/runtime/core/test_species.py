"""A misspelt species must not turn people into attacks."""

from __future__ import annotations

import pytest

from runtime.core.species import SpeciesInvalid, require_distinct, require_species
from synthetic import SPECIES


@pytest.mark.parametrize(
    "name",
    [
        *SPECIES, "attack", "mask_3d", "print_cloth", "fakehead", "flexiblemask", "glasses", "papermask", "prints",
        "replay", "rigidmask", "eyes_nose-flat", "print A4 (matte)", "Latex", "deepfake", "live_stream_replay",
    ],
)  # fmt: skip
def test_names_of_instruments_and_bona_fide_are_accepted(name: str) -> None:
    assert require_species(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "Bona_Fide", "BONA_FIDE", "bonafide", "bona fide", "bona-fide", "bona_fide ", " bona_fide", "bona_fied",
        "bona_fde", "boan_fide", "bonafides", "live", "Live", "LIVE ", "real", "Real face", "genuine", "human", "true",
    ],
)  # fmt: skip
def test_what_looks_like_bona_fide_is_refused_with_the_right_spelling(name: str) -> None:
    with pytest.raises(SpeciesInvalid, match=r"looks like 'bona_fide'.*Write bona_fide, exactly\.") as caught:
        require_species(name)
    assert repr(name) in caught.value.message


@pytest.mark.parametrize(("name", "message"), [("", "not a name"), ("  ", "not a name"), ("mask ", "Write mask")])
def test_other_mistakes_are_named(name: str, message: str) -> None:
    with pytest.raises(SpeciesInvalid, match=message):
        require_species(name)


def test_two_spellings_of_one_species_are_refused() -> None:
    require_distinct(["print_matte", "print_toner", "print_matte"])
    with pytest.raises(SpeciesInvalid, match="'Print-Matte' and 'print_matte' differ only in spelling"):
        require_distinct(["print_matte", "Print-Matte"])
