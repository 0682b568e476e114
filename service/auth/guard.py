"""Authentication and authorisation: keys, browser sessions and client certificates."""

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
"""Minimum interval between checks of the key file. A key removed from it is refused after at most this time, if the new
file is valid."""
ASK = "send a key as Authorization: Bearer KEY or X-API-Key: KEY; in a browser, enter it at /login."


@dataclass(frozen=True, slots=True)
class Identification:
    """Result of identifying a request: the caller, or the reason for refusing the request.

    ``refused``: ``wrong``, ``limited``, or empty if no key was presented. A session that has ended counts as no key.
    ``wait_s``: with ``limited``, the seconds to wait.
    """

    caller: Caller | None
    refused: str = ""
    wait_s: float = 0.0
    by_session: bool = False


class Guard:
    """Guard that identifies callers by their keys and sessions. Call only from the event loop.

    ``store``: store of sessions, rates and failed attempts; by default the one in the settings. ``refused``: called
    with the cause of each refusal: missing, wrong, forbidden, limited or cross_site. ``now_s``: monotonic clock in
    seconds.

    Raises:
        ConfigError: the key file cannot be used.
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
                # An empty key file is different from no key file: it locks the service instead of opening it.
                log.warning("%s contains no keys, so every request that needs one is refused.", self._file)

    @property
    def keyed(self) -> bool:
        """Whether callers need a key."""
        return self._single is not None or self._file is not None

    @property
    def certified(self) -> bool:
        """Whether only clients with a certificate from the configured authority can connect."""
        return self._settings.tls.client_ca is not None

    @property
    def cookie(self) -> str:
        """Name of the session cookie. With TLS it has a prefix that prevents other hosts and paths from setting the
        cookie."""
        return "__Host-adsn_session" if self.secure else "adsn_session"

    async def authorize(self, request: HTTPConnection, role: CallerRole) -> Caller:
        """Return the caller if it has ``role``.

        Raises:
            RequestError: 401, the key is missing or wrong; 403, the key lacks the role; 429, there were too many wrong
                keys.
            StoreUnavailable: the session cannot be looked up.
        """
        return await self.authorize_any(request, (role,))

    async def admit(self, request: HTTPConnection, role: CallerRole) -> Caller:
        """Return the caller if it has ``role`` and is within its rate limit. Used for requests to score a pair.

        Raises:
            RequestError: see `authorize`; also 429, with the time to wait, if the rate limit is exceeded.
        """
        caller = await self.authorize(request, role)
        wait_s = await self._store.acquire(caller.name)
        if wait_s > 0:
            raise RequestError(429, "rate_limited", "too many requests with this key.", retry_after_s=wait_s)
        return caller

    async def authorize_any(self, request: HTTPConnection, roles: tuple[CallerRole, ...]) -> Caller:
        """Return the caller if it has one of ``roles``, or any caller if ``roles`` is empty. Raises the same errors as
        `authorize`."""
        caller = await self.require(request)
        if roles and not any(caller.has_role(role) for role in roles):
            self.refused("forbidden")
            needed = " or ".join(roles)
            has = f"it has {', '.join(sorted(caller.roles))}" if caller.roles else "it has no role"
            raise RequestError(
                403,
                "forbidden",
                f"this key lacks the role {needed}; {has}. Use another key, or make one: adsn-serve key new --role "
                f"{roles[0]}",
            )
        return caller

    async def require(self, request: HTTPConnection) -> Caller:
        """Return the caller, whatever its roles. Raises the same errors as `authorize`, except for 403."""
        known: Caller | None = request.scope.get("state", {}).get("caller")
        if known is not None:
            return known
        identification = await self.identify(request)
        if identification.caller is None:
            raise self.refusal(identification)
        request.scope.setdefault("state", {})["caller"] = identification.caller
        return identification.caller

    def refusal(self, identification: Identification) -> RequestError:
        """Return the error for a request whose caller could not be identified."""
        self.refused(identification.refused or "missing")
        if identification.refused == "limited":
            return RequestError(
                429, "rate_limited", "too many wrong keys from this address.", retry_after_s=identification.wait_s
            )
        return RequestError(
            401, "unauthorized", ASK if not identification.refused else f"the key is unknown or expired; {ASK}"
        )

    async def identify(self, request: HTTPConnection) -> Identification:
        """Return the caller of a request, or the reason for refusing it. Raises `StoreUnavailable` if the session
        cannot be looked up."""
        if not self.keyed:
            # The request came over loopback or with a certificate from our authority; `Settings.require_safe` ensures
            # that.
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
        """Return the owner of ``key``. Wrong keys are counted for ``address``.

        A valid key from the key file is accepted even from an address with too many failures, because such a key cannot
        be guessed and a client behind the same address must not be locked out. The single key may have been chosen by a
        person. So an address that must wait gets the same response whether that key is right or wrong.
        """
        caller = self._ring.find(key, _today())
        if caller is not None:
            return Identification(caller)
        right = self._ring.is_single(key)
        # Counting and checking are a single step, so parallel guesses get no additional attempts.
        wait = await (self._store.failure_wait_s(address) if right else self._store.count_failure(address))
        if wait > 0:
            return Identification(None, "limited", wait)
        return Identification(Caller("key")) if right else Identification(None, "wrong")

    async def begin(self, caller: Caller) -> str:
        """Begin a session for a browser whose user has entered a key, and return the session token.

        Raises:
            RequestError: 429, too many sessions were begun with this key.
            StoreUnavailable: the session cannot be stored.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        wait_s = await self._store.begin_session(session_digest(token), self._ring.record(caller, token))
        if wait_s > 0:
            raise RequestError(429, "rate_limited", "too many sessions with this key.", retry_after_s=wait_s)
        return token

    async def end(self, token: str) -> None:
        """End a session. Raises `StoreUnavailable` if the session may still be valid."""
        if token:
            await self._store.end_session(session_digest(token))

    def _reload(self) -> None:
        """Reload the key file if it has changed. An invalid file is logged and ignored, because an incomplete list
        would lock callers out."""
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
            log.error("the key file is invalid; the old keys stay in use: %s", error)
        else:
            log.info("reloaded %s", self._file)


def _file_signature(path: Path) -> tuple[int, ...]:
    """Return a value that changes whenever the file is written or replaced; empty if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _today() -> date:
    return datetime.now(timezone.utc).date()
