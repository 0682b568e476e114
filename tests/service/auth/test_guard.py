"""Access control: keys and roles, wrong keys, certificates, and no secrets in any log."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import HTTPConnection
from starlette.routing import Route
from starlette.types import Message

from runtime.core.errors import ConfigError
from service.app import create_app
from service.auth.guard import RELOAD_S, Guard, Identification
from service.auth.keys import CALLER_ROLES, CallerRole, new_key, toml_of
from service.auth.middleware import OPEN_PATHS
from service.config.settings import Settings, TlsSettings, read_settings
from service.config.trust import AuthSettings
from tests.support.fakes import FakeEngine, loaded
from tests.support.service.certificates import Authority
from tests.support.service.keyed import FILES, SINGLE, Keyed
from tests.support.service.running_service import running

MATRIX: dict[str, set[CallerRole]] = {
    "/info": {"score", "admin"},
    "/metrics": {"metrics", "admin"},
    "/v2": {"infer", "admin"},
    "/v2/models/fake": {"infer", "admin"},
    "/openapi.json": set(CALLER_ROLES),
    "/docs": set(CALLER_ROLES),
}


@pytest.mark.parametrize("path", sorted(MATRIX))
@pytest.mark.parametrize("role", CALLER_ROLES)
def test_each_role_may_do_its_own(keyed: Keyed, path: str, role: CallerRole) -> None:
    response = keyed.get(path, role)
    assert response.status_code == (200 if role in MATRIX[path] else 403), response.text
    if response.status_code == 403:
        assert response.json()["code"] == "forbidden"
        assert f"it has {role}" in response.json()["detail"]


@pytest.mark.parametrize("path", sorted(MATRIX))
def test_nobody_may_do_anything(keyed: Keyed, path: str) -> None:
    response = keyed.get(path)
    assert response.status_code == 401
    assert response.json()["code"] == "unauthorized"
    assert response.headers["www-authenticate"] == "Bearer"


def test_uploads_and_cameras_take_their_own_roles(keyed: Keyed) -> None:
    for role in CALLER_ROLES:
        headers = {"X-API-Key": keyed.keys[role]}
        upload = keyed.service.judge(FILES, headers=headers)
        camera = keyed.service.client.post("/liveness", json={"source": "camera"}, headers=headers)
        assert (upload.status_code == 200) == (role in ("score", "admin"))
        assert (camera.status_code == 403) == (role not in ("camera", "admin"))


def test_the_single_key_may_do_everything(keyed: Keyed) -> None:
    for path in MATRIX:
        assert keyed.get(path, headers={"Authorization": f"Bearer {SINGLE}"}).status_code == 200
    assert keyed.get("/info", headers={"Authorization": f"Bearer {SINGLE}x"}).status_code == 401


def test_every_route_is_closed_unless_it_is_listed_as_open(keyed: Keyed) -> None:
    app = create_app(Settings(api_key=SecretStr(SINGLE)), lambda: loaded(FakeEngine()))
    paths = {route.path for route in app.routes if isinstance(route, Route)} | {"/what/a/later/version/adds"}
    assert paths >= {"/liveness", "/metrics", "/info", "/openapi.json", "/login", "/v2/models/{name}/infer"}
    for path in sorted(paths):
        for method in ("GET", "POST", "DELETE"):
            status = keyed.service.client.request(method, path).status_code
            assert (status == 401) == (path not in OPEN_PATHS), f"{method} {path}: {status}"


@pytest.mark.parametrize("host", ["x/livez?", "localhost/livez?", "x/livez#", "x:80/login?a=", "@/livez?"])
def test_a_host_header_does_not_change_what_is_asked_for(keyed: Keyed, host: str) -> None:
    with socket.create_connection(("127.0.0.1", keyed.service.port), 20) as raw:
        raw.sendall(f"GET /openapi.json HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        status = raw.makefile("rb").readline()
    assert status.split()[1] in (b"401", b"400")


def test_websockets_are_turned_away(keyed: Keyed) -> None:
    import asyncio

    app = create_app(Settings(api_key=SecretStr(SINGLE)), lambda: loaded(FakeEngine()))
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    asyncio.run(app({"type": "websocket", "path": "/events", "headers": [], "query_string": b""}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


# Added, removed and wrong keys.


def write(file: Path, text: str) -> None:
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.chmod(0o600)
    os.replace(beside, file)


def guard_of(file: Path, now: list[float], **settings: object) -> Guard:
    return Guard(Settings(auth=AuthSettings(keys=file, failures=3), **settings), now_s=lambda: now[0])  # type: ignore[arg-type]


def presented(guard: Guard, key: str) -> Identification:
    """Return the guard's result for a request with ``key``."""
    headers = [(b"x-api-key", key.encode())]
    return asyncio.run(
        guard.identify(HTTPConnection({"type": "http", "headers": headers, "client": ("192.0.2.1", 5000)}))
    )


def test_a_revoked_key_is_refused_without_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, now = tmp_path / "keys.toml", [0.0]
    (old, old_entry), (new, new_entry) = new_key(["score"]), new_key(["score"])
    write(file, toml_of(old_entry))
    guard = guard_of(file, now)
    assert presented(guard, old).caller
    write(file, toml_of(new_entry))
    now[0] += RELOAD_S
    assert presented(guard, old).caller is None
    assert presented(guard, new).caller
    write(file, "[[keys]")
    now[0] += RELOAD_S
    assert presented(guard, new).caller
    assert "the key file is invalid" in caplog.text
    file.unlink()
    now[0] += RELOAD_S
    assert presented(guard, new).caller
    write(file, "")
    now[0] += RELOAD_S
    assert guard.keyed
    assert presented(guard, new).caller is None


def check(guard: Guard, key: str, address: str) -> Identification:
    return asyncio.run(guard.check(key, address))


def test_wrong_keys_make_an_address_wait_but_not_keys_that_nobody_guesses(tmp_path: Path) -> None:
    file, now = tmp_path / "keys.toml", [0.0]
    right, entry = new_key(["score"])
    write(file, toml_of(entry))
    guard = guard_of(file, now, api_key=SecretStr(SINGLE))
    assert check(guard, SINGLE, "192.0.2.1").caller
    for _ in range(3):
        assert check(guard, "guess", "192.0.2.1").refused == "wrong"
    assert check(guard, "guess", "192.0.2.1").refused == "limited"
    assert check(guard, SINGLE, "192.0.2.1").refused == "limited"
    assert check(guard, SINGLE, "192.0.2.2").caller
    assert check(guard, right, "192.0.2.1").caller
    now[0] += 60
    assert check(guard, SINGLE, "192.0.2.1").caller


def test_over_http_it_is_a_429_with_the_time_to_wait() -> None:
    with running(Settings(api_key=SecretStr(SINGLE), auth=AuthSettings(failures=2))) as service:
        found = [service.client.get("/info", headers={"X-API-Key": "no"}) for _ in range(4)]
        assert [response.status_code for response in found] == [401, 401, 429, 429]
        assert 1 <= int(found[-1].headers["retry-after"]) <= 60
        form = service.client.post("/login", data={"key": SINGLE}, headers={"Sec-Fetch-Site": "same-origin"})
        assert form.status_code == 429
        assert service.client.get("/livez").status_code == 200


def test_no_secret_and_no_wrong_key_is_ever_logged(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    key, entry = new_key(["score"], "gate 3")
    write(tmp_path / "keys.toml", toml_of(entry))
    secrets = [key, key.split("_", 2)[2], SINGLE, "wrong-secret-of-a-person"]
    settings = Settings(auth=AuthSettings(keys=tmp_path / "keys.toml"), api_key=SecretStr(SINGLE))
    with running(settings) as service:
        client = service.client
        for header in ({"X-API-Key": key}, {"Authorization": f"Bearer {SINGLE}"}, {"X-API-Key": secrets[-1]}):
            client.get("/info", headers=header)
            client.post("/liveness", files=FILES, headers=header)
        for given in (key, secrets[-1]):
            entered = client.post("/login", data={"key": given}, headers={"Sec-Fetch-Site": "same-origin"})
            if "set-cookie" in entered.headers:
                secrets.append(entered.headers["set-cookie"].partition("=")[2].partition(";")[0])
        client.cookies.clear()
        metrics = client.get("/metrics", headers={"X-API-Key": SINGLE}).text
    assert len(secrets) == 5
    # Excludes the test's own client, which logs what it receives.
    logged = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore")))
    assert " live" in logged
    for secret in secrets:
        assert secret not in logged
        assert secret not in metrics
        assert secret not in repr(settings)


# Start-up, TLS and certificates.


def test_other_addresses_need_keys_or_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    with pytest.raises(ConfigError, match="ADSN_AUTH__KEYS"):
        read_settings(environ={"ADSN_HOST": "0.0.0.0"})
    with pytest.raises(ConfigError):
        read_settings(
            environ={"ADSN_HOST": "0.0.0.0", "ADSN_TLS__CERTIFICATE": str(certificate), "ADSN_TLS__KEY": str(key)}
        )
    read_settings(environ={"ADSN_HOST": "0.0.0.0", "ADSN_AUTH__KEYS": str(tmp_path / "keys.toml")})
    mutual = {
        "ADSN_HOST": "0.0.0.0",
        "ADSN_TLS__CERTIFICATE": str(certificate),
        "ADSN_TLS__KEY": str(key),
        "ADSN_TLS__CLIENT_CA": str(authority.certificate),
    }
    read_settings(environ=mutual)
    with pytest.raises(ConfigError, match="needs TLS"):
        read_settings(environ={"ADSN_TLS__CLIENT_CA": str(authority.certificate)})


def test_a_file_of_keys_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Guard(Settings(auth=AuthSettings(keys=tmp_path / "none.toml")))


def test_tls_and_who_has_no_certificate_gets_no_connection(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    certificate, key = authority.issue("server")
    tls = TlsSettings(certificate=certificate, key=key, client_ca=authority.certificate)

    def context(issued: tuple[Path, Path] | None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=authority.certificate)
        if issued is not None:
            made.load_cert_chain(*issued)
        return made

    with running(Settings(tls=tls), verify=context(authority.issue("client"))) as service:
        response = service.judge(FILES)
        assert response.json()["decision"] == "live"
        assert response.headers["strict-transport-security"] == "max-age=31536000"
        assert service.client.get("/info", headers={"Host": "door.example"}).status_code == 200
        for stranger in (None, other.issue("stranger")):
            with (
                httpx.Client(base_url=service.client.base_url, verify=context(stranger)) as client,
                pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)),
            ):
                client.get("/livez")


def test_over_tls_the_session_cookie_is_bound_to_this_host(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    settings = Settings(tls=TlsSettings(certificate=certificate, key=key), api_key=SecretStr(SINGLE))
    with running(settings, verify=ssl.create_default_context(cafile=authority.certificate)) as service:
        response = service.client.post("/login", data={"key": SINGLE}, headers={"Sec-Fetch-Site": "same-origin"})
        cookie = response.headers["set-cookie"]
        assert cookie.startswith("__Host-adsn_session=")
        assert "Secure" in cookie
        assert "Domain" not in cookie
        assert service.client.get("/info").status_code == 200
