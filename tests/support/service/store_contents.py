"""Allowed contents of a store: the patterns of every key and value.

`inspect` checks the output of MONITOR. An image, a score or a name matches no pattern, so it is noticed.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable

from service.store.base import MAX_ANSWER_BYTES

WRITES = {"set", "hset", "hincrby", "incr"}
HARMLESS = {
    "evalsha", "eval", "get", "exists", "hmget", "hget", "pexpire", "pttl", "time", "info", "del", "ping", "client",
    "auth", "select", "hello", "scan", "keys", "dbsize", "flushall", "config", "monitor", "command", "debug",
    "bgrewriteaof", "script", "acl",
}  # fmt: skip
LINE = re.compile(rb'\+?[\d.]+ \[\d+ (?:lua|[\d.:]+|unix:[^\]]*)\] (".*")\r\n')
PREFIX = r"(?:adsn|t[\w-]+|other):"
HASH = "[0-9a-f]{40}"
KEYS = {
    "ledger": rf"{PREFIX}ledger",
    "nonce": rf"{PREFIX}nonce:{HASH}",
    "count": rf"{PREFIX}count:{HASH}",
    "answer": rf"{PREFIX}answer:{HASH}",
    "session": rf"{PREFIX}session:{HASH}",
    "failures": rf"{PREFIX}failures:{HASH}",
    "rate": rf"{PREFIX}rate:{HASH}",
}
FIELDS = {"ledger": {"run", "count", "opens", "lost", "beat"}, "count": {"window", "now", "before"}}
MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"BM6", b"/9j/", b"iVBORw0KGgo", b"UklGR")
"""First bytes of JPEG, PNG, WebP and BMP, raw and in base64."""


def inspect(lines: Iterable[bytes]) -> int:
    """Check every command, and return the number of writes. Raises AssertionError at the first forbidden one."""
    written = 0
    for line in lines:
        match = LINE.fullmatch(line)
        assert match, f"not a line of MONITOR: {line[:200]!r}"
        words = [ast.literal_eval(f"b{word}") for word in re.findall(r'"(?:[^"\\]|\\.)*"', match[1].decode("latin-1"))]
        name = words[0].decode().lower()
        if name in WRITES:
            check_write(name, words[1:])
            written += 1
        else:
            assert name in HARMLESS, f"an unknown command: {name}"
            for word in words[1:]:
                assert not any(magic in word for magic in MAGIC), f"{name} carries a picture"
                assert len(word) <= MAX_ANSWER_BYTES + 100
    return written


def check_write(name: str, words: list[bytes]) -> None:
    """Check one write command: its key, value and expiry."""
    key = words[0].decode("ascii")
    kind = next((kind for kind, form in KEYS.items() if re.fullmatch(form, key)), None)
    assert kind is not None, f"an unknown key: {key}"
    assert not any(magic in word for word in words for magic in MAGIC), f"{key} holds a picture"
    if name == "set":
        options = [word.upper() for word in words[2:]]
        assert b"PX" in options, f"{key} has no expiry"
        assert int(words[2 + options.index(b"PX") + 1]) > 0
        check_value(kind, words[1])
    elif name in ("hset", "hincrby"):
        pairs = dict(zip(words[1::2], words[2::2], strict=True))
        for field, value in pairs.items():
            assert field.decode() in FIELDS[kind]
            assert re.fullmatch(rb"-?[\d.]+(e[+-]?\d+)?" if field != b"run" else rb"[0-9a-f]{40}", value), (
                field,
                value,
            )
    else:
        assert (name, kind) == ("incr", "failures")


def check_value(kind: str, value: bytes) -> None:
    """Check the value of one key."""
    forms = {
        "nonce": rb"[0-9a-f]{16}",
        "session": rb"([0-9a-f]{12})?:[0-9a-f]{64}",
        "rate": rb"\d{16}",
    }
    if kind in forms:
        assert re.fullmatch(forms[kind], value), f"{kind}: {value[:100]!r}"
        return
    assert kind == "answer", f"a {kind} is not set"
    assert len(value) <= MAX_ANSWER_BYTES + 33
    mark, rest = value[:1], value[33:]
    if mark == b"B":
        assert re.fullmatch(rb"[0-9a-f]{16}", rest)
        return
    assert mark == b"A"
    answer = json.loads(rest)
    # The response as the caller got it, including score and box, but without the images of ?explain=true.
    assert answer["decision"] in ("live", "spoof", "uncertain")
    assert "explain" not in answer
    assert set(answer) <= ANSWER, set(answer) - ANSWER


ANSWER = {
    "contract_version", "request_id", "session_id", "decision", "score", "threshold", "operating_point", "reasons",
    "modalities", "face", "quality", "pair", "model", "timing_ms", "captured_at", "attestation",
}  # fmt: skip
