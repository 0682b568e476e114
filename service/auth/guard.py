"""Who may ask for what: keys, sessions of browsers, and certificates."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path

from starlette.requests import HTTPConnection

from runtime.core.errors import ConfigError
from service.auth.keys import Caller, CallerRole, KeyRing, read_keys
from service.config.settings import Settings
from service.http.problems import RequestError
from service.store.base import Store, session_digest
from service.store.open import open_store

__all__ = ["Caller", "CallerRole", "Guard"]
log = logging.getLogger("adsn.auth")
TOKEN_BYTES = 32
RELOAD_S = 2.0
"""How often at most the file of keys is looked at; a revoked key is refused after so long."""
ASK = "send a key as Authorization: Bearer KEY, or as X-API-Key; browsers enter it at /login."


@dataclass(frozen=True, slots=True)
class Identification:
    """What a request presented: a caller, or why there is none (empty: nothing was presented)."""

    caller: Caller | None
    refused: str = ""
    wait_s: float = 0.0
    by_session: bool = False


class Guard:
    """Knows the keys, and asks ``store`` for sessions, rates and who failed too often. Used on the event loop only.

    ``store``: default the one of the settings. ``refused`` is told why somebody was turned away: missing, wrong,
    forbidden, limited or cross_site.
    ``now_s``: monotonic seconds.

    Raises:
        ConfigError: the file of keys cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        refused: Callable[[str], None] = lambda cause: None,
        now_s: Callable[[], float] = time.monotonic,
        store: Store | None = None,
    ) -> None:
        self._settings = settings
        self._store = store or open_store(settings, now_s=now_s)
        self._single = settings.api_key.get_secret_value() if settings.api_key else None
        self._file = settings.auth.keys
        self._signature: tuple[int, ...] = ()
        self._checked_s = now_s()
        self._now_s = now_s
        self.refused = refused
        self.secure = settings.tls.certificate is not None
        self._ring = KeyRing(single=self._single)
        if self._file is not None:
            self._signature = _file_signature(self._file)
            self._ring = KeyRing(read_keys(self._file), self._single)
            if not self._ring:
                # Not the same as none configured: whoever empties the file locks the service, and does not open it.
                log.warning("%s holds no keys; nobody is let in.", self._file)

    @property
    def keyed(self) -> bool:
        """Whether callers need a key."""
        return self._single is not None or self._file is not None

    @property
    def certified(self) -> bool:
        """Whether only clients with a certificate of the configured authority get a connection."""
        return self._settings.tls.client_ca is not None

    @property
    def cookie(self) -> str:
        """The session cookie's name. Over TLS one that no other host or path can set."""
        return "__Host-adsn_session" if self.secure else "adsn_session"

    async def authorize(self, request: HTTPConnection, role: CallerRole) -> Caller:
        """Return the caller if it has ``role``.

        Raises:
            RequestError: 401 no key or a wrong one, 403 a key without that role, 429 too many wrong ones.
        """
        return await self.authorize_any(request, (role,))

    async def admit(self, request: HTTPConnection, role: CallerRole) -> Caller:
        """Return the caller if it has ``role`` and is within its rate limit: for requests that cost a score.

        Raises:
            RequestError: 401 and 403 as `authorize`; 429 with the time to wait.
        """
        caller = await self.authorize(request, role)
        wait_s = await self._store.take(caller.name)
        if wait_s > 0:
            raise RequestError(429, "rate_limited", "this key has asked too often.", retry_after_s=wait_s)
        return caller

    async def authorize_any(self, request: HTTPConnection, roles: tuple[CallerRole, ...]) -> Caller:
        """Return the caller if it has one of ``roles``; any caller where none is named. Raises as `authorize`."""
        caller = await self.require(request)
        if roles and not any(caller.has_role(role) for role in roles):
            self.refused("forbidden")
            needed = " or ".join(roles)
            has = f"it has {', '.join(sorted(caller.roles))}" if caller.roles else "it has none"
            raise RequestError(
                403,
                "forbidden",
                f"this key lacks the role {needed}; {has}. Use another key, or make one: adsn-serve key new --role "
                f"{roles[0]}",
            )
        return caller

    async def require(self, request: HTTPConnection) -> Caller:
        """Return the caller, whatever its roles. Raises as `authorize`, but no 403."""
        known: Caller | None = request.scope.get("state", {}).get("caller")
        if known is not None:
            return known
        identification = await self.identify(request)
        if identification.caller is None:
            raise self.refusal(identification)
        request.scope.setdefault("state", {})["caller"] = identification.caller
        return identification.caller

    def refusal(self, identification: Identification) -> RequestError:
        """Return the error for a request without a caller."""
        self.refused(identification.refused or "missing")
        if identification.refused == "limited":
            return RequestError(
                429, "rate_limited", "too many wrong keys came from this address.", retry_after_s=identification.wait_s
            )
        return RequestError(
            401, "unauthorized", ASK if not identification.refused else f"this key is not accepted; {ASK}"
        )

    async def identify(self, request: HTTPConnection) -> Identification:
        """Return the caller of a request, or why there is none."""
        if not self.keyed:
            # Loopback, or a certificate of our own authority: `Settings.require_safe` sees to that.
            return Identification(Caller("certificate" if self.certified else "local"))
        self._reload()
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        if key:
            return await self.check(key, request.client.host if request.client else "")
        token = request.cookies.get(self.cookie, "")
        record = await self._store.find_session(session_digest(token)) if token else None
        caller = self._ring.resume(record, token, _today()) if record is not None else None
        return Identification(caller, by_session=caller is not None)

    async def check(self, key: str, address: str) -> Identification:
        """Whose ``key`` it is. Wrong ones count against ``address``.

        A right key of the file is let in even from an address that failed too often: nobody guesses one, and a
        neighbour behind the same address is not to be locked out. The single key may be a person's idea, so an address
        that waits hears the same of a right one and a wrong one.
        """
        caller = self._ring.find(key, _today())
        if caller is not None:
            return Identification(caller)
        right = self._ring.is_single(key)
        # A wrong key is counted in the same step that looks at the count: guesses side by side get no more tries.
        wait = await (self._store.failure_wait_s(address) if right else self._store.count_failure(address))
        if wait > 0:
            return Identification(None, "limited", wait)
        return Identification(Caller("key")) if right else Identification(None, "wrong")

    async def begin(self, caller: Caller) -> str:
        """Begin a session for a browser whose user has entered a key, and return its token.

        Raises:
            RequestError: 429, this key has begun too many. StoreUnavailable: the session cannot be kept.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        wait_s = await self._store.begin_session(session_digest(token), self._ring.record(caller, token))
        if wait_s > 0:
            raise RequestError(429, "rate_limited", "this key has begun too many sessions.", retry_after_s=wait_s)
        return token

    async def end(self, token: str) -> None:
        """End a session. Raises `StoreUnavailable` where it may go on."""
        if token:
            await self._store.end_session(session_digest(token))

    def _reload(self) -> None:
        """Take a changed file of keys. A file that is wrong changes nothing, loudly: half a list would lock people
        out."""
        now = self._now_s()
        if self._file is None or now - self._checked_s < RELOAD_S:
            return
        self._checked_s = now
        try:
            signature = _file_signature(self._file)
            if signature == self._signature:
                return
            self._signature = signature
            self._ring = KeyRing(read_keys(self._file), self._single)
        except ConfigError as error:
            log.error("the keys are as they were, because the file is wrong: %s", error)
        else:
            log.info("%s was read again", self._file)


def _file_signature(path: Path) -> tuple[int, ...]:
    """Changes whenever the file is written or put in place of another."""
    try:
        identification = os.stat(path)
    except OSError:
        return ()
    return identification.st_mtime_ns, identification.st_ino, identification.st_size


def _today() -> date:
    return datetime.now(timezone.utc).date()
