"""Keys: shown once, stored as digests, found by id, expired, revoked."""

from __future__ import annotations

import codecs
from datetime import date
from pathlib import Path

import pytest

from runtime.core.errors import ConfigError
from service.auth import keys
from service.auth.keys import Caller, KeyRing, digest_of, new_key, parse_keys, read_keys, toml_of
from service.store.base import SessionRecord

TODAY = date(2026, 6, 1)


def test_a_new_key_is_found_and_its_entry_does_not_hold_it() -> None:
    key, entry = new_key(["score", "metrics"], "gate 3")
    assert key.split("_", 2)[2] not in toml_of(entry)
    caller = KeyRing([entry]).find(key, TODAY)
    assert caller == Caller(f"gate 3 ({entry.id})", frozenset({"score", "metrics"}), entry.id)
    assert caller is not None
    assert [caller.has_role(role) for role in keys.CALLER_ROLES] == [True, False, False, True, False]


def test_admin_may_do_everything() -> None:
    key, entry = new_key(["admin"])
    caller = KeyRing([entry]).find(key, TODAY)
    assert caller is not None
    assert all(caller.has_role(role) for role in keys.CALLER_ROLES)


def test_keys_differ() -> None:
    assert len({new_key(["score"])[0] for _ in range(50)}) == 50


def test_every_changed_character_makes_another_key() -> None:
    key, entry = new_key(["score"])
    ring = KeyRing([entry])
    for place in range(len(key)):
        other = key[:place] + ("0" if key[place] != "0" else "1") + key[place + 1 :]
        assert ring.find(other, TODAY) is None
    for other in ("", key + "x", " " + key, key.upper(), "adsn_", "\udcff" * 9, "é" * 60):
        assert ring.find(other, TODAY) is None
        assert not ring.is_single(other)


def test_looking_up_compares_one_digest_however_many_keys_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [new_key(["score"]) for _ in range(100)]
    ring = KeyRing(entry for _, entry in made)
    compared: list[tuple[str, str]] = []

    def compare(a: str, b: str) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr("service.auth.keys.hmac.compare_digest", compare)
    unknown, _ = new_key(["score"])
    assert ring.find(made[57][0], TODAY) is not None
    assert ring.find(unknown, TODAY) is None
    assert ring.find("nonsense", TODAY) is None
    assert len(compared) == 3


def test_a_key_is_accepted_on_its_last_day_and_not_after() -> None:
    key, entry = new_key(["score"], expires=TODAY)
    ring = KeyRing([entry])
    assert ring.find(key, TODAY) is not None
    assert ring.find(key, date(2026, 6, 2)) is None


def test_a_session_ends_with_its_key() -> None:
    key, entry = new_key(["admin"], "console")
    caller = KeyRing([entry]).find(key, TODAY)
    assert caller is not None
    demoted = entry.model_copy(update={"roles": ("metrics",)})
    record = KeyRing([entry]).record(caller, "token")
    now = KeyRing([demoted]).resume(record, "token", TODAY)
    assert now is not None
    assert not now.has_role("admin")
    assert KeyRing([]).resume(record, "token", TODAY) is None
    single = Caller("key")
    record = KeyRing([], "s" * 20).record(single, "token")
    assert KeyRing([], "s" * 20).resume(record, "token", TODAY) == single
    assert KeyRing([entry]).resume(record, "token", TODAY) is None


def test_a_session_is_tied_to_its_key_and_its_token() -> None:
    key, entry = new_key(["admin"])
    ring = KeyRing([entry], "the first single key")
    caller = ring.find(key, TODAY)
    assert caller is not None
    record = ring.record(caller, "token")
    assert ring.resume(record, "another token", TODAY) is None
    replaced = entry.model_copy(update={"sha256": "1" * 64})
    assert KeyRing([replaced]).resume(record, "token", TODAY) is None
    single = ring.record(Caller("key"), "token")
    assert ring.resume(single, "token", TODAY) == Caller("key")
    assert KeyRing([entry], "the second single key").resume(single, "token", TODAY) is None
    # Write access to the store, without knowing a key, is not enough to forge a session.
    for proof in ("", "0" * 64, "\udcff"):
        assert ring.resume(SessionRecord(entry.id, proof), "token", TODAY) is None
        assert ring.resume(SessionRecord("", proof), "token", TODAY) is None


def test_the_single_key() -> None:
    ring = KeyRing(single="correct horse battery")
    assert ring.is_single("correct horse battery")
    assert not ring.is_single("correct horse batterx")
    assert not KeyRing().is_single("")
    assert not KeyRing()


def test_the_printed_lines_are_the_file(tmp_path: Path) -> None:
    made = [
        new_key(["score"], 'the "north" \\ gate'),
        new_key(["camera", "metrics"], expires=date(2027, 1, 31)),
    ]
    path = tmp_path / "keys.toml"
    path.write_text("# keys\n" + "\n".join(toml_of(entry) for _, entry in made))
    path.chmod(0o640)
    assert read_keys(path) == tuple(entry for _, entry in made)
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert read_keys(path) == tuple(entry for _, entry in made)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keys = [", "not TOML"),
        ("[[keys]]\nid = 'x'\nroles = ['score']\nsha256 = '" + "0" * 64 + "'", r"keys\.0\.id"),
        ("[[keys]]\nid = '0123456789ab'\nroles = []\nsha256 = '" + "0" * 64 + "'", r"keys\.0\.roles"),
        ("[[keys]]\nid = '0123456789ab'\nroles = ['root']\nsha256 = '" + "0" * 64 + "'", r"keys\.0\.roles"),
        ("[[keys]]\nid = '0123456789ab'\nroles = ['score']\nkey = 'adsn_in_clear'", r"keys\.0"),
        (
            "[[keys]]\nid = '0123456789ab'\nroles = ['score']\nname = \"a\\nb\"\nsha256 = '" + "0" * 64 + "'",
            "not TOML|name",
        ),
    ],
)
def test_wrong_files_are_refused_and_their_values_not_repeated(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse_keys(text, "keys.toml")
    assert "in_clear" not in str(caught.value)
    assert "keys.toml" in str(caught.value)


def test_two_keys_with_one_id_are_refused() -> None:
    _, entry = new_key(["score"])
    with pytest.raises(ConfigError, match=entry.id):
        KeyRing([entry, entry.model_copy(update={"sha256": digest_of("other")})])


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text("")
    path.chmod(0o646)
    with pytest.raises(ConfigError, match="chmod"):
        read_keys(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_keys(tmp_path / "none.toml")
