"""The inspector of stored data finds forbidden contents. All servers in these tests are checked with it."""

from __future__ import annotations

import base64
import json

import pytest

from tests.support.images import ir_file, rgb_file
from tests.support.service.store_contents import inspect

KEY = "adsn:answer:" + "0" * 40


def line(*words: str | bytes) -> bytes:
    """Return a line of MONITOR output."""
    shown = []
    for word in words:
        data = word if isinstance(word, bytes) else word.encode()
        escaped = "".join(
            f"\\{chr(byte)}" if byte in b'"\\' else chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in data
        )
        shown.append(f'"{escaped}"')
    return f"+1764244800.000000 [0 lua] {' '.join(shown)}\r\n".encode()


def answer(**more: object) -> bytes:
    return b"A" + bytes(32) + json.dumps({"decision": "live", "score": 0.9, **more}).encode()


def test_what_belongs_there_passes() -> None:
    lines = [
        line("SET", "adsn:nonce:" + "1" * 40, "0123456789abcdef", "NX", "PX", "600000"),
        line("SET", KEY, answer(), "PX", "600000"),
        line("HSET", "adsn:ledger", "beat", "1764244800000"),
        line("PEXPIRE", "adsn:ledger", "3600000"),
    ]
    assert inspect(lines) == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("SET", KEY, answer(explain={"rgb": "text"}), "PX", "1"), "explain"),
        (("SET", KEY, answer(picture="text"), "PX", "1"), "picture"),
        (("SET", KEY, b"A" + bytes(32) + rgb_file(), "PX", "1"), "holds a picture"),
        (("SET", KEY, answer(session_id=base64.b64encode(ir_file()).decode()), "PX", "1"), "holds a picture"),
        (("SET", "adsn:nonce:" + "1" * 40, "0.97", "NX", "PX", "1"), "nonce"),
        (("SET", "adsn:nonce:" + "1" * 40, "0123456789abcdef", "NX"), "no expiry"),
        (("SET", "adsn:nonce:gate-3", "0123456789abcdef", "PX", "1"), "unknown key"),
        (("HSET", "adsn:ledger", "score", "0.97"), "score"),
        (("HSET", "adsn:ledger", "beat", "somebody"), "beat"),
        (("LPUSH", "adsn:ledger", "1"), "unknown command"),
        (("EVALSHA", "0" * 40, "1", "adsn:ledger", rgb_file()), "carries a picture"),
    ],
)
def test_what_does_not_is_found(words: tuple[str | bytes, ...], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        inspect([line(*words)])
