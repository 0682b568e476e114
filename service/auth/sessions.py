"""What a browser has instead of a key, and who has presented too many wrong ones. Pure: times come from the caller.

Both are used on the event loop only.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from service.auth.keys import Caller


@dataclass(frozen=True, slots=True)
class Session:
    """Whose it is and when it ends (seconds, monotonic)."""

    caller: Caller
    ends_s: float


class Sessions:
    """Sessions of browsers. Forgotten at a restart, which costs a person one entry of the key.

    The token is 256 random bits and never stored: only its digest is, which also makes looking it up safe in time.
    """

    def __init__(self, lifetime_s: float, limit: int = 256) -> None:
        self._lifetime_s, self._limit = lifetime_s, limit
        self._open: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, caller: Caller, now_s: float) -> str:
        """A new session's token. Where there are too many, the oldest ends."""
        while len(self._open) >= self._limit:
            self._open.popitem(last=False)
        token = secrets.token_urlsafe(32)
        self._open[_digest(token)] = Session(caller, now_s + self._lifetime_s)
        return token

    def find(self, token: str, now_s: float) -> Caller | None:
        """Whose session it is, if it has not ended."""
        session = self._open.get(_digest(token))
        return session.caller if session is not None and now_s < session.ends_s else None

    def end(self, token: str) -> None:
        """End it, if there is such a one."""
        self._open.pop(_digest(token), None)


class LoginFailures:
    """Counts wrong keys by address: more than ``limit`` within ``window_s``, and the address waits for the window's
    end.

    With so many addresses that they do not fit, the one that failed longest ago is forgotten.
    """

    def __init__(self, limit: int, window_s: float, addresses: int = 4096) -> None:
        self._limit, self._window_s, self._addresses = limit, window_s, addresses
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def count(self, address: str, now_s: float) -> None:
        """A wrong key came from ``address``."""
        who = _network(address)
        began, count = self._counts.pop(who, (now_s, 0))
        if now_s - began >= self._window_s:
            began, count = now_s, 0
        while len(self._counts) >= self._addresses:
            self._counts.popitem(last=False)
        self._counts[who] = (began, count + 1)

    def wait_s(self, address: str, now_s: float) -> float:
        """How long ``address`` has to wait; 0 when it has not failed too often."""
        began, count = self._counts.get(_network(address), (now_s, 0))
        left = began + self._window_s - now_s
        return left if count >= self._limit and left > 0 else 0.0


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _network(address: str) -> str:
    """An IPv6 customer has 2^64 addresses; they count as one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped) if mapped is not None else str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return address
