"""API keys: their format, the key file, and the look-up of a key's owner.

A key is ``adsn_ID_SECRET``. ID selects the entry, so the time for a look-up does not depend on the number of entries.
SECRET is 256 random bits. The file contains the SHA-256 digest of the whole key. A slow hash, as for passwords, is not
needed: 256 random bits cannot be guessed from their digest, however fast it is to compute.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from runtime.core.errors import ConfigError
from runtime.core.user_text import ENCODING
from service.store.base import SessionRecord

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CallerRole = Literal["score", "camera", "infer", "metrics", "admin"]
"""``score``: score uploaded pairs. ``camera``: score and view pairs of the attached rig. ``infer``: raw scores of
crops (``/v2``), for a kiosk with a remote engine. ``metrics``: counters. ``admin``: everything, including changes to
the running service."""
CALLER_ROLES: tuple[CallerRole, ...] = get_args(CallerRole)
ID_BYTES = 6
KEY = re.compile(r"adsn_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
MAX_FILE_BYTES = 1 << 20
ANONYMOUS = "0" * 64


class KeyEntry(BaseModel):
    """One key of the file, without the key itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{12}$", description="The key's id, which is its second part.")
    roles: tuple[CallerRole, ...] = Field(min_length=1, description="Roles of the key.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the whole key.")
    name: str = Field(default="", max_length=64, description="Owner of the key, for the logs.")
    expires: date | None = Field(default=None, description="Last day on which the key is accepted, UTC.")

    @field_validator("name")
    @classmethod
    def _printable(cls, value: str) -> str:
        # Names are written to logs and to the audit log, where a line break could forge a line.
        if not value.isprintable():
            raise ValueError("a name must consist of printable characters")
        return value


class KeyFile(BaseModel):
    """The key file: ``[[keys]]`` tables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[KeyEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """An identified caller.

    ``name``: identifies the caller in rate limits, nonces and logs; it is not the key. ``key_id``: id of the entry in
    the key file; empty if no key from the file was presented.
    """

    name: str
    roles: frozenset[CallerRole] = frozenset(CALLER_ROLES)
    key_id: str = ""

    def has_role(self, role: CallerRole) -> bool:
        """Return whether the caller has ``role``."""
        return role in self.roles or "admin" in self.roles


def digest_of(key: str) -> str:
    """Return the digest of a key in hex, as it is stored in the key file."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def new_key(roles: Iterable[CallerRole], name: str = "", expires: date | None = None) -> tuple[str, KeyEntry]:
    """Create a key. Return the key, which should be shown only once, and its entry for the key file."""
    key_id = secrets.token_hex(ID_BYTES)
    key = f"adsn_{key_id}_{secrets.token_urlsafe(32)}"
    return key, KeyEntry(
        id=key_id, roles=tuple(dict.fromkeys(roles)), sha256=digest_of(key), name=name, expires=expires
    )


def toml_of(entry: KeyEntry) -> str:
    """Return the lines to append to the key file."""

    def text(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    lines = ["[[keys]]", f"id = {text(entry.id)}", f"roles = [{', '.join(map(text, entry.roles))}]"]
    lines.append(f"sha256 = {text(entry.sha256)}")
    if entry.name:
        lines.append(f"name = {text(entry.name)}")
    if entry.expires is not None:
        lines.append(f"expires = {entry.expires.isoformat()}")
    return "\n".join(lines) + "\n"


def caller_of(entry: KeyEntry) -> Caller:
    """Return the caller for an entry. Two keys with the same name are two callers."""
    return Caller(f"{entry.name} ({entry.id})" if entry.name else entry.id, frozenset(entry.roles), entry.id)


class KeyRing:
    """The accepted keys. ``single``: the key in ``ADSN_API_KEY``, which has every role.

    Raises:
        ConfigError: two entries have the same id.
    """

    def __init__(self, entries: Iterable[KeyEntry] = (), single: str | None = None) -> None:
        self._entries: dict[str, KeyEntry] = {}
        for entry in entries:
            if entry.id in self._entries:
                raise ConfigError(f"two keys have the id {entry.id}. Remove one of them.")
            self._entries[entry.id] = entry
        self._single = digest_of(single) if single is not None else None

    def __bool__(self) -> bool:
        return bool(self._entries) or self._single is not None

    def find(self, key: str, today: date) -> Caller | None:
        """Return the owner of ``key`` if it is in the key file, otherwise None. ``today``: date in UTC."""
        match = KEY.fullmatch(key)
        entry = self._entries.get(match.group(1)) if match else None
        # Compare even if the id is unknown, so that the time does not reveal which ids exist.
        right = hmac.compare_digest(digest_of(key), entry.sha256 if entry else ANONYMOUS)
        if entry is None or not right or (entry.expires is not None and today > entry.expires):
            return None
        return caller_of(entry)

    def is_single(self, key: str) -> bool:
        """Return whether ``key`` is the key in ``ADSN_API_KEY``. Digests are compared, because that key can have any
        length."""
        return self._single is not None and hmac.compare_digest(digest_of(key), self._single)

    def record(self, caller: Caller, token: str) -> SessionRecord:
        """Return the record of a new session of ``caller``. ``token``: session token, which the browser presents."""
        return SessionRecord(caller.key_id, _proof(token, self._digest(caller.key_id)))

    def resume(self, record: SessionRecord, token: str, today: date) -> Caller | None:
        """Return the owner of a session, according to the current entry of its key.

        Returns None if the entry was removed or now has a different key. Call this for every request in a session.
        """
        proof = _proof(token, self._digest(record.key_id))
        if not hmac.compare_digest(record.proof.encode("utf-8", "surrogateescape"), proof.encode()):
            return None
        if not record.key_id:
            return Caller("key") if self._single is not None else None
        entry = self._entries.get(record.key_id)
        if entry is None or (entry.expires is not None and today > entry.expires):
            return None
        return caller_of(entry)

    def _digest(self, key_id: str) -> str:
        if not key_id:
            return self._single or ANONYMOUS
        entry = self._entries.get(key_id)
        return entry.sha256 if entry is not None else ANONYMOUS


def _proof(token: str, digest: str) -> str:
    """Return a proof that binds a session to its key.

    An attacker who can write to the store but does not know the digest of a key cannot forge a session. One who can
    read the store but has no token cannot use the proof to test keys.
    """
    return hmac.new(token.encode("utf-8", "surrogateescape"), digest.encode(), "sha256").hexdigest()


def parse_keys(text: str, where: str) -> tuple[KeyEntry, ...]:
    """Parse the text of a key file and return its entries.

    Raises:
        ConfigError: the text is not TOML, or an entry is invalid. The message names the entry.
    """
    try:
        found: dict[str, Any] = tomllib.loads(text)
        return KeyFile.model_validate(found).keys
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not TOML: {error}. adsn-serve key new prints a valid entry.") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        at = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{where}: {at}: {first['msg']}. adsn-serve key new prints a valid entry.") from error


def read_keys(path: Path) -> tuple[KeyEntry, ...]:
    """Return the entries of the key file at ``path``.

    Raises:
        ConfigError: the file cannot be read, is writable by others, or is invalid.
    """
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: the keys cannot be read: {error.strerror}. See ADSN_AUTH__KEYS.") from error
    if mode & stat.S_IWOTH or not stat.S_ISREG(mode):
        # Anyone with write access to this file can add keys.
        raise ConfigError(f"{path}: other users can write to the key file. Run: chmod o-w {path}")
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes; this is not a key file.")
    try:
        return parse_keys(data.decode(ENCODING), str(path))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text.") from error
