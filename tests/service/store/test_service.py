"""Two services that share a real store, over HTTP and with a fake engine: the behaviour that callers see."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from runtime.config.store import StoreSettings
from runtime.core.errors import ConfigError
from service.app import create_app
from service.cli.check import check
from service.config.settings import LimitSettings, Settings
from service.config.trust import AuthSettings
from service.store.memory import MemoryStore
from service.store.open import open_store
from tests.support.fakes import FakeEngine, loaded
from tests.support.service.liveness_requests import check_problem, pair
from tests.support.service.redis_server import RedisServer, redis_server, require_redis
from tests.support.service.running_service import RunningService, running
from tests.support.service.shared_stores import PATIENT_MS, PREFIXES, SETTLE_S
from tests.support.waiting import until

KEY = "the-single-key-of-both"
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(autouse=True)
def _settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    require_redis()
    monkeypatch.setattr("service.store.shared.SETTLE_S", SETTLE_S)
    monkeypatch.setattr("service.store.shared.BEAT_S", SETTLE_S / 4)


def shared(server: RedisServer, **settings: Any) -> StoreSettings:
    found = StoreSettings(**{"url": server.url, "prefix": next(PREFIXES), **settings})
    # Longer than the settings allow, because tests that are not about time must not fail on a busy machine.
    return found.model_copy(update={"timeout_ms": PATIENT_MS})


def conditions(service: RunningService) -> set[str]:
    answer = service.client.get("/readyz")
    assert answer.status_code == 200
    return {one["name"] for one in answer.json()["conditions"] if one["name"].startswith("store_")}


def wait_for(service: RunningService, *names: str) -> None:
    until(lambda: conditions(service) == set(names), f"the conditions are not {', '.join(names) or 'none'}")


@contextlib.contextmanager
def two(settings: Settings) -> Iterator[list[RunningService]]:
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(running(settings)) for _ in range(2)]
        for service in made:
            service.client.headers["X-API-Key"] = KEY
            wait_for(service)
        yield made


def ask(service: RunningService, nonce: str | None = None, **kwargs: Any) -> httpx.Response:
    entries: dict[str, Any] = {"nonce": nonce} if nonce else {}
    headers = {"Content-Type": "multipart/form-data; boundary=between-the-parts", **kwargs.pop("headers", {})}
    return service.judge(pair(**entries), headers=headers, **kwargs)


def test_wrong_keys_and_rates_are_counted_together(tmp_path: Path) -> None:
    with redis_server(tmp_path, require_redis()) as server:
        settings = Settings(
            api_key=SecretStr(KEY),
            auth=AuthSettings(failures=4),
            limits=LimitSettings(rate_per_s=0.01, burst=3),
            store=shared(server),
        )
        with two(settings) as made:
            found = [ask(made[number % 2]) for number in range(6)]
            assert [answer.status_code for answer in found] == [200] * 3 + [429] * 3
            assert 1 <= int(found[-1].headers["retry-after"]) <= 100
            wrong = {"X-API-Key": "a-guess"}
            found = [made[number % 2].client.get("/info", headers=wrong) for number in range(6)]
            assert [answer.status_code for answer in found] == [401] * 4 + [429] * 2
            # The right key from a locked-out address gets the same response, even if the store becomes unreachable.
            assert [service.client.get("/info").status_code for service in made] == [429, 429]
            server.kill()
            for service in made:
                wait_for(service, "store_unavailable")
                assert service.client.get("/info").status_code == 429


def test_a_login_is_not_unlimited_while_the_store_is_away(tmp_path: Path) -> None:
    with redis_server(tmp_path, require_redis()) as server:
        settings = Settings(api_key=SecretStr(KEY), auth=AuthSettings(failures=4), store=shared(server))
        with two(settings) as (one, _):
            server.kill()
            wait_for(one, "store_unavailable")
            # Even with the right key there is no session if it cannot be stored.
            form = one.client.post("/login", data={"key": KEY}, headers=OWN_PAGE)
            check_problem(form, 503, "store_unavailable")
            assert "set-cookie" not in form.headers
            guesses = [one.client.post("/login", data={"key": "a-guess"}, headers=OWN_PAGE) for _ in range(8)]
            assert [answer.status_code for answer in guesses] == [401] * 4 + [429] * 4
            one.client.headers.pop("X-API-Key")
            check_problem(
                one.client.get("/info", headers={"Cookie": "adsn_session=somebody"}), 503, "store_unavailable"
            )
            # Refusing a request without credentials needs no store.
            check_problem(one.client.get("/info"), 401, "unauthorized")


def test_a_session_does_not_outlive_its_key(tmp_path: Path) -> None:
    with redis_server(tmp_path, require_redis()) as server:
        store = shared(server)
        with running(Settings(api_key=SecretStr(KEY), store=store)) as before:
            wait_for(before)
            before.client.post("/login", data={"key": KEY}, headers=OWN_PAGE)
            cookie = {"Cookie": f"adsn_session={before.client.cookies['adsn_session']}"}
        with running(Settings(api_key=SecretStr(KEY), store=store)) as same:
            wait_for(same)
            assert same.client.get("/info", headers=cookie).status_code == 200
        # In-process sessions end with a restart. In a shared store they end if the key is changed.
        with running(Settings(api_key=SecretStr("another-key-for-all"), store=store)) as after:
            wait_for(after)
            assert after.client.get("/info", headers=cookie).status_code == 401


def test_an_answer_is_repeated_by_the_other_replica_without_pictures(redis: RedisServer) -> None:
    with two(Settings(api_key=SecretStr(KEY), store=shared(redis))) as (one, other):
        headers, further = {"Idempotency-Key": "k"}, {"Idempotency-Key": "l"}
        first, again = ask(one, headers=headers), ask(other, headers=headers)
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.headers["idempotent-replayed"] == "true"
        assert "idempotent-replayed" not in first.headers
        assert again.json() == first.json()
        check_problem(ask(other, headers=headers, params={"explain": "true"}), 409, "idempotency_conflict")
        explained = ask(one, headers=further, params={"explain": "true"})
        repeated = ask(other, headers=further, params={"explain": "true"})
        assert repeated.headers["idempotent-replayed"] == "true"
        assert explained.json()["explain"]
        assert repeated.json() == {name: value for name, value in explained.json().items() if name != "explain"}


def test_a_session_is_both_replicas_and_ends_at_both(redis: RedisServer) -> None:
    with two(Settings(api_key=SecretStr(KEY), store=shared(redis))) as made:
        for service in made:
            service.client.headers.pop("X-API-Key")
        one, other = (service.client for service in made)
        assert one.post("/login", data={"key": KEY}, headers=OWN_PAGE).status_code == 303
        # A proxy sends the requests of one browser to either replica.
        other.cookies = one.cookies
        assert other.get("/info").status_code == 200
        kept = {"Cookie": f"adsn_session={one.cookies['adsn_session']}"}
        assert other.post("/logout", headers=OWN_PAGE).status_code == 303
        for client in (one, other):
            client.cookies.clear()
            assert client.get("/info", headers=kept).status_code == 401


def test_a_failed_request_gives_its_nonce_and_its_key_back(redis: RedisServer) -> None:
    with two(Settings(api_key=SecretStr(KEY), store=shared(redis))) as (one, other):
        broken = {**pair(nonce="nonce-of-both"), "rgb": b"no picture"}
        for service in (one, other):
            check_problem(service.judge(broken, headers={"Idempotency-Key": "k"}), 415, "not_an_image")
        assert ask(one, "nonce-of-both", headers={"Idempotency-Key": "k"}).status_code == 200
        again = ask(other, "nonce-of-both", headers={"Idempotency-Key": "k"})
        assert again.headers["idempotent-replayed"] == "true"
        check_problem(ask(other, "nonce-of-both"), 409, "replayed_nonce")


def test_too_many_keys_of_one_caller_are_said(redis: RedisServer) -> None:
    settings = Settings(api_key=SecretStr(KEY), limits=LimitSettings(replays=2), store=shared(redis))
    with two(settings) as (one, other):
        for number, service in enumerate((one, other)):
            assert ask(service, f"nonce-number-{number}", headers={"Idempotency-Key": str(number)}).status_code == 200
        for headers, nonce in (({"Idempotency-Key": "2"}, None), ({}, "nonce-number-2")):
            refused = ask(one, nonce, headers=headers)
            check_problem(refused, 429, "rate_limited")
            assert int(refused.headers["retry-after"]) >= 1


def test_an_answer_that_could_not_be_kept_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        redis_server(tmp_path, require_redis()) as server,
        two(Settings(api_key=SecretStr(KEY), store=shared(server))) as (one, _),
    ):
        score = one.engine.infer

        def stop_the_store_meanwhile(*given: Any) -> Any:
            server.kill()
            return score(*given)

        monkeypatch.setattr(one.engine, "infer", stop_the_store_meanwhile)
        check_problem(ask(one, headers={"Idempotency-Key": "k"}), 503, "store_unavailable")
        metrics = one.client.get("/metrics").text
        assert 'adsn_problems_total{code="store_unavailable"} 1.0' in metrics
        assert 'adsn_requests_total{decision="live"} 0.0' in metrics


def test_a_wrong_password_and_a_full_store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    right, wrong = "correct-horse-battery", "wrong-horse-battery"
    with redis_server(tmp_path, require_redis(), requirepass=right) as server:
        settings = Settings(store=shared(server, password=wrong))
        with running(settings) as one:
            wait_for(one, "store_unavailable")
            refused = ask(one, "nonce-1234")
            check_problem(refused, 503, "store_unavailable")
            assert "refuses this user" in refused.json()["detail"]
            assert ask(one).status_code == 200
            # The mistake is corrected on the server. The service is not restarted.
            server.ask("CONFIG", "SET", "requirepass", wrong)
            server.options["requirepass"] = wrong
            wait_for(one)
            assert ask(one, "nonce-1234").status_code == 200
            server.ask("CONFIG", "SET", "maxmemory", "1")
            check_problem(ask(one, "nonce-5678"), 503, "store_unavailable")
            assert "full" in one.client.get("/readyz").text
            assert ask(one).status_code == 200
            server.ask("CONFIG", "SET", "maxmemory", "0")
            wait_for(one)
            assert ask(one, "nonce-5678").status_code == 200
            shown = one.client.get("/readyz").text + one.client.get("/metrics").text + one.client.get("/info").text
    assert "horse-battery" not in caplog.text + shown


def test_a_missing_package_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    settings = Settings(store=StoreSettings(url="redis://127.0.0.1"))
    for attempt in (lambda: check(settings), lambda: create_app(settings, lambda: loaded(FakeEngine()))):
        with pytest.raises(ConfigError, match=r"pip install 'adsn\[redis\]'") as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_without_an_address_nothing_is_shared_and_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    assert isinstance(open_store(Settings()), MemoryStore)
    with running(Settings()) as service:
        assert ask(service, "nonce-1234").status_code == 200
        check_problem(ask(service, "nonce-1234"), 409, "replayed_nonce")
        assert conditions(service) == set()
        assert "adsn_store" not in service.client.get("/metrics").text
