"""Access by browsers: the login form, sessions, other sites and host names."""

from __future__ import annotations

import httpx
import pytest

from service.auth.keys import CallerRole
from service.config.settings import Settings
from service.config.trust import AuthSettings
from tests.support.service.keyed import FILES, Keyed
from tests.support.service.running_service import RunningService, running


def log_in(keyed: Keyed, role: CallerRole, then: str = "/docs", **headers: str) -> httpx.Response:
    origin = str(keyed.service.client.base_url).rstrip("/")
    return keyed.service.client.post(
        "/login", data={"key": keyed.keys[role], "next": then}, headers={"Origin": origin, **headers}
    )


def session(keyed: Keyed, role: CallerRole) -> dict[str, str]:
    response = log_in(keyed, role)
    keyed.service.client.cookies.clear()
    return {"Cookie": response.headers["set-cookie"].partition(";")[0]}


def test_a_page_leads_to_the_form_and_a_program_gets_an_error(keyed: Keyed) -> None:
    page = keyed.get("/docs", headers={"Accept": "text/html,*/*"})
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Fdocs")
    assert keyed.get("/docs", headers={"Accept": "application/json"}).status_code == 401
    assert keyed.get("/info", headers={"Accept": "text/html"}).status_code == 401
    form = keyed.get("/login?next=/docs")
    assert form.status_code == 200
    assert 'value="/docs"' in form.text
    assert "script" not in form.text
    assert "style-src 'sha256-" in form.headers["content-security-policy"]


def test_logging_in_gives_a_session_that_scripts_and_other_sites_do_not_get(keyed: Keyed) -> None:
    response = log_in(keyed, "score")
    keyed.service.client.cookies.clear()
    assert (response.status_code, response.headers["location"]) == (303, "/docs")
    cookie = response.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=28800"))
    assert keyed.keys["score"] not in cookie
    own = {"Cookie": cookie.partition(";")[0]}
    assert keyed.get("/info", headers=own).status_code == 200
    assert keyed.get("/metrics", headers=own).status_code == 403


def test_logging_out_ends_the_session(keyed: Keyed) -> None:
    own = session(keyed, "score")
    assert keyed.service.client.post("/logout", headers={**own, "Sec-Fetch-Site": "same-origin"}).status_code == 303
    assert keyed.get("/info", headers=own).status_code == 401


@pytest.mark.parametrize(
    "then", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", ""]
)
def test_the_form_leads_nowhere_else(keyed: Keyed, then: str) -> None:
    response = log_in(keyed, "score", then)
    keyed.service.client.cookies.clear()
    assert response.headers["location"] == "/docs"
    assert then == "" or then not in keyed.service.client.get("/login", params={"next": then}).text


def test_a_wrong_key_in_the_form(keyed: Keyed) -> None:
    response = keyed.service.client.post("/login", data={"key": "<b>wrong"}, headers={"Sec-Fetch-Site": "same-origin"})
    assert response.status_code == 401
    assert "set-cookie" not in response.headers
    assert "wrong</" not in response.text
    assert "<b>" not in response.text


def test_the_form_takes_forms_only(keyed: Keyed) -> None:
    client = keyed.service.client
    assert client.post("/login", json={"key": keyed.keys["score"]}).status_code == 415
    assert client.post("/login", data={"key": "k" * 5000}).status_code == 413


def test_a_cookie_acts_only_for_this_services_own_pages(keyed: Keyed) -> None:
    own = session(keyed, "score")
    client = keyed.service.client
    origin = str(client.base_url).rstrip("/")
    for headers, status in (
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": origin}, 200),
        ({}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": origin.replace("http:", "https:")}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": origin}, 403),
    ):
        response = client.post("/liveness", files=FILES, headers={**own, **headers})
        assert response.status_code == status, headers


def test_a_page_of_another_site_reads_nothing(keyed: Keyed) -> None:
    own, foreign = session(keyed, "score"), {"Sec-Fetch-Site": "cross-site"}
    assert keyed.get("/info", headers={**own, **foreign, "Sec-Fetch-Mode": "cors"}).status_code == 403
    assert keyed.get("/docs", headers={**own, **foreign, "Sec-Fetch-Mode": "navigate"}).status_code == 200
    response = keyed.get("/info", "score", {"Origin": str(keyed.service.client.base_url).rstrip("/")})
    assert "access-control-allow-origin" not in response.headers
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    preflight = keyed.service.client.options(
        "/liveness", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert preflight.status_code in (401, 403)
    assert "access-control-allow-origin" not in preflight.headers


def test_a_service_without_keys_answers_to_this_machines_names_only(service: RunningService) -> None:
    for host, status in (
        ("localhost", 200),
        ("localhost:8000", 200),
        ("[::1]:8000", 200),
        ("127.0.0.1", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
        ("", 421),
    ):
        assert service.client.get("/info", headers={"Host": host}).status_code == status, host
    assert service.client.post("/liveness", files=FILES, headers={"Origin": "https://evil.example"}).status_code == 403


def test_another_name_can_be_allowed() -> None:
    with running(Settings(auth=AuthSettings(hosts=("Kiosk.Local",)))) as service:
        assert service.client.get("/info", headers={"Host": "kiosk.local:8000"}).status_code == 200
        assert service.client.get("/info", headers={"Host": "other.local"}).status_code == 421
