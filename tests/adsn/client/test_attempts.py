"""Which requests are retried."""

from __future__ import annotations

import json
import random
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from adsn.client import ConnectionFailed, RequestRefused
from adsn.client.attempts import FIRST_PAUSE_S, Attempts
from adsn.client.replies import Reply
from adsn.client.requests import PreparedRequest, capture, upload
from runtime.core.errors import InputError
from service.http.problem_document import problem_body

PLAIN = PreparedRequest("POST", "/liveness", b"", {}, nonce=False, keyed=False, session_id=None)
KEYED = replace(PLAIN, keyed=True)
NONCE = replace(PLAIN, nonce=True)
LOST = (httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("gone"), httpx.WriteError("gone"), TimeoutError())


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def attempts(request: PreparedRequest, retries: int = 2, timeout_s: float = 10, clock: Clock | None = None) -> Attempts:
    return Attempts(request, retries=retries, timeout_s=timeout_s, clock=clock or Clock(), rng=random.Random(1))


def refused(status: int, code: str | None, after: str | None = "1") -> Reply:
    headers = {} if after is None else {"retry-after": after}
    if code is None:
        return Reply(status, headers, b"<html>")
    body = problem_body(status, code, "why", "r-1", "/liveness")
    return Reply(status, headers | {"content-type": "application/problem+json"}, json.dumps(body).encode())


@pytest.mark.parametrize("request_", [PLAIN, KEYED, NONCE])
def test_what_was_not_sent_is_sent_again(request_: PreparedRequest) -> None:
    made = attempts(request_)
    first, second = (made.after_failure(httpx.ConnectError("refused")) for _ in range(2))
    assert FIRST_PAUSE_S / 2 <= first <= FIRST_PAUSE_S < second * 2
    with pytest.raises(ConnectionFailed) as caught:
        made.after_failure(httpx.ConnectTimeout("slow"))
    assert not caught.value.sent


@pytest.mark.parametrize("error", LOST)
@pytest.mark.parametrize("request_", [PLAIN, NONCE])
def test_a_request_whose_answer_was_lost_is_not_sent_again_without_a_key(error: Any, request_: PreparedRequest) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        attempts(request_).after_failure(error)
    assert caught.value.sent
    assert caught.value.retryable


@pytest.mark.parametrize("error", LOST)
def test_with_a_key_it_is_and_its_own_conflict_is_waited_for(error: Any) -> None:
    made = attempts(replace(NONCE, keyed=True), retries=2)
    assert made.after_failure(error) > 0
    # The service is still assessing the first attempt.
    assert made.after_reply(refused(409, "idempotency_conflict", None))
    with pytest.raises(ConnectionFailed) as caught:
        made.after_failure(httpx.ConnectError("refused"))
    assert caught.value.sent


def test_a_conflict_that_is_not_its_own_is_an_error() -> None:
    with pytest.raises(RequestRefused) as caught:
        attempts(KEYED).after_reply(refused(409, "idempotency_conflict", None))
    assert caught.value.problem_code == "idempotency_conflict"


@pytest.mark.parametrize(("status", "code"), [(429, "rate_limited"), (503, "overloaded"), (503, "not_ready")])
@pytest.mark.parametrize("request_", [PLAIN, KEYED, NONCE])
def test_what_the_service_refuses_for_now_is_sent_again_when_it_says(
    request_: PreparedRequest, status: int, code: str
) -> None:
    made = attempts(request_)
    assert made.after_reply(refused(status, code, "3")) == 3
    with pytest.raises(RequestRefused) as caught:
        made.after_reply(refused(status, code, "30"))
    assert (caught.value.status, caught.value.problem_code, caught.value.retry_after_s) == (status, code, 30)


@pytest.mark.parametrize(
    "reply",
    [
        refused(503, "overloaded", None),
        refused(503, "no_rig"),
        refused(503, "engine_error"),
        refused(422, "no_face", None),
        refused(409, "replayed_nonce"),
        refused(504, "capture_timeout"),
        refused(500, "internal_error"),
        refused(503, "overloaded", "Fri, 31 Dec 1999 23:59:59 GMT"),
        refused(302, None),
        refused(502, None),
    ],
)
def test_nothing_else_is(reply: Reply) -> None:
    with pytest.raises(RequestRefused) as caught:
        attempts(KEYED).after_reply(reply)
    assert caught.value.status == reply.status


def test_a_proxy_may_have_passed_the_nonce_on() -> None:
    busy = refused(503, None)
    with pytest.raises(RequestRefused, match="something other than adsn-serve"):
        attempts(NONCE).after_reply(busy)
    assert attempts(PLAIN).after_reply(busy) == 1
    made = attempts(replace(NONCE, keyed=True))
    assert made.after_reply(busy) == 1
    assert made.after_reply(refused(409, "idempotency_conflict", None))


def test_nothing_is_sent_after_the_deadline() -> None:
    clock = Clock()
    made = attempts(KEYED, timeout_s=2, clock=clock)
    clock.now += 1.5
    assert made.remaining_s() == pytest.approx(0.5)
    with pytest.raises(RequestRefused):
        made.after_reply(refused(503, "overloaded", "1"))
    clock.now += 1
    with pytest.raises(ConnectionFailed, match="no answer within 2 s"):
        made.remaining_s()


def test_a_refused_certificate_is_not_tried_again() -> None:
    error = httpx.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("certificate verify failed")
    with pytest.raises(ConnectionFailed):
        attempts(KEYED).after_failure(error)


def test_the_same_pair_is_the_same_body_and_each_call_has_a_key_of_its_own() -> None:
    images: Any = {"rgb": b"one", "ir": b"two", "depth": None}
    first, second = (upload(images, {"nonce": "n" * 8}, explain=False, idempotency_key=None) for _ in range(2))
    assert first.content == second.content
    assert first.headers["Content-Type"] == second.headers["Content-Type"]
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]
    assert first.nonce
    assert first.keyed
    other = upload(images | {"ir": b"2"}, None, explain=False, idempotency_key="mine")
    assert other.headers["Content-Type"] != first.headers["Content-Type"]
    assert other.headers["Idempotency-Key"] == "mine"


def test_with_pictures_in_the_answer_the_service_is_not_asked_to_keep_it() -> None:
    request = upload({"rgb": b"one", "ir": b"two"}, None, explain=True, idempotency_key=None)
    assert not request.keyed
    assert request.path == "/liveness?explain=true"


def test_what_cannot_be_sent_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ir: .*absent\.png cannot be read: No such file"):
        upload({"ir": tmp_path / "absent.png"}, None, explain=False, idempotency_key=None)
    array: Any = [[0, 1]]
    with pytest.raises(InputError, match=r"rgb: list; expected the path"):
        upload({"rgb": array}, None, explain=False, idempotency_key=None)
    with pytest.raises(InputError, match="idempotency_key"):
        capture(100, None, None, "two words")
    meta: Any = {"face_box": {1, 2}}
    with pytest.raises(InputError, match="meta: "):
        upload({"rgb": b"one"}, meta, explain=False, idempotency_key=None)
