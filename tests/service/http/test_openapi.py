"""The OpenAPI document: every operation against a real server by schemathesis, a generated client, docs/errors.md."""

from __future__ import annotations

import importlib
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok

from service.config.settings import LimitSettings, Settings
from service.http.problem_catalogue import PROBLEMS, error_classes, errors_page
from service.http.problems import STATUS, status_of
from tests.support.images import ir_file, rgb_file
from tests.support.service.liveness_requests import meta
from tests.support.service.running_service import RunningService, running

ROOT = Path(__file__).resolve().parents[3]
ENDLESS = {"/events"}
"""Streams that never end; other tests cover them."""


@pytest.fixture(scope="module")
def served() -> Iterator[RunningService]:
    with running(Settings(limits=LimitSettings(body_bytes=1_000_000))) as found:
        yield found


def operations(service: RunningService) -> Iterator[Any]:
    whole = service.client.get("/openapi.json").json()
    whole["servers"] = [{"url": str(service.client.base_url)}]
    for result in schemathesis.openapi.from_dict(whole).get_all_operations():
        assert isinstance(result, Ok), result
        yield result.ok()


def test_no_request_that_the_document_allows_or_forbids_breaks_it(served: RunningService) -> None:
    """Run a few examples; ``pytest -m hostile`` and test_hostile.py send thousands."""
    chosen = (
        checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    )
    base = str(served.client.base_url).rstrip("/")
    seen: set[str] = set()
    wrong: list[str] = []
    for operation in operations(served):
        if operation.path in ENDLESS:
            continue
        seen.add(operation.path)

        @settings(
            max_examples=12,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def call(case: Any) -> None:
            response = case.call(base_url=base)
            # A valid request to a ready service may still get a 503: there is no rig.
            expected = tuple(c for c in chosen if not (response.status_code == 503 and c is checks.not_a_server_error))
            try:
                case.validate_response(response, checks=expected)
            except FailureGroup as failures:
                raise AssertionError(f"{case.method} {case.path}: {failures.exceptions}") from None

        try:
            call()
        except AssertionError as error:
            wrong.append(str(error))
    assert wrong == []
    assert {"/liveness", "/livez", "/readyz", "/info"} <= seen


def test_the_document_is_openapi_3_1_and_whole(served: RunningService) -> None:
    whole = served.client.get("/openapi.json").json()
    assert whole["openapi"].startswith("3.1")
    text = json.dumps(whole)
    for name in set(re.findall(r"#/components/schemas/(\w+)", text)):
        assert name in whole["components"]["schemas"], name
    declared = set(whole["paths"]["/liveness"]["post"]["responses"])
    assert declared == {"200", *(str(n) for n in (400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503, 504))}
    names = [op["operationId"] for methods in whole["paths"].values() for op in methods.values()]
    assert len(set(names)) == len(names)
    assert whole["components"]["schemas"]["LivenessResponse"]["properties"]["contract_version"]["const"] == "1.0"


def test_every_parameter_of_a_path_is_declared(served: RunningService) -> None:
    whole = served.client.get("/openapi.json").json()
    braced = 0
    for path, methods in whole["paths"].items():
        names = set(re.findall(r"{(\w+)}", path))
        braced += len(names)
        for method, operation in methods.items():
            declared = [entry for entry in operation.get("parameters", []) if entry["in"] == "path"]
            assert {entry["name"] for entry in declared} == names, f"{method} {path}"
            for entry in declared:
                # A path parameter is never optional: generators leave out an operation with a nullable one.
                assert entry["required"] is True
                assert entry["schema"]["type"] == "string", f"{method} {path}: {entry}"
            queries = {entry["name"] for entry in operation.get("parameters", []) if entry["in"] == "query"}
            assert not queries & {"name", "version"}, f"{method} {path}"
    assert braced == 10


def test_every_operation_with_a_body_says_what_it_is(served: RunningService) -> None:
    whole = served.client.get("/openapi.json").json()
    posts = {path: methods["post"] for path, methods in whole["paths"].items() if "post" in methods}
    assert set(posts) == {"/liveness", "/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"}
    for path, operation in posts.items():
        assert operation["requestBody"]["required"] is True, path


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the generator needs Python 3.11")
def test_a_generated_client_speaks_with_a_real_server(
    served: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = pytest.importorskip("openapi_python_client", reason="no client generator is installed")
    from openapi_python_client.config import Config, ConfigFile, MetaType

    source = tmp_path / "openapi.json"
    source.write_bytes(served.client.get("/openapi.json").content)
    config = Config.from_sources(
        # The generator does not know image types and would leave them out, so it treats them as bytes.
        ConfigFile(post_hooks=[], content_type_overrides={"image/jpeg": "application/octet-stream"}),
        MetaType.NONE,
        source,
        "utf-8",
        overwrite=True,
        output_path=tmp_path / "generated_client",
    )
    assert [(c.header, c.detail) for c in generator.generate(config=config)] == []
    monkeypatch.syspath_prepend(str(tmp_path))
    client_module: Any = importlib.import_module("generated_client")
    judge: Any = importlib.import_module("generated_client.api.liveness.judge")
    models: Any = importlib.import_module("generated_client.models")
    types: Any = importlib.import_module("generated_client.types")
    client = client_module.Client(base_url=str(served.client.base_url))

    def file(data: bytes, name: str) -> Any:
        return types.File(payload=io.BytesIO(data), file_name=name)

    body = models.JudgeFilesBody(
        rgb=file(rgb_file(), "rgb.jpg"), ir=file(ir_file(), "ir.png"), meta=models.Meta.from_dict(json.loads(meta()))
    )
    answer = judge.sync(client=client, body=body)
    assert isinstance(answer, models.LivenessResponse)
    assert answer.decision == "live"
    assert answer.face.bbox == [200.0, 120.0, 200.0, 200.0]
    refused = judge.sync(client=client, body=models.CameraRequest(source="camera"))
    assert isinstance(refused, models.Problem)
    assert refused.code == "no_rig"
    client.get_httpx_client().close()


def test_the_errors_page_is_what_the_code_says() -> None:
    written = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert written == errors_page(), "run: python -m service.http > docs/errors.md"


def test_every_code_that_is_raised_is_listed() -> None:
    raised = set()
    for path in (ROOT / "service").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        raised |= set(re.findall(r'RequestError\(\s*\d+,\s*"(\w+)"', text))
        raised |= set(re.findall(r'_refuse\(\s*\d+,\s*"(\w+)"', text))
        raised |= set(re.findall(r'problem\(\s*\d+,\s*"(\w+)"', text))
    assert raised <= set(PROBLEMS)
    known = {kind.code for kind in error_classes()} | raised | {"not_found", "method_not_allowed", "body_too_large"}
    assert set(PROBLEMS) <= known, "nothing raises these any more"


def test_the_catalogue_agrees_with_the_tree() -> None:
    for kind in error_classes():
        status = status_of(kind("x"))
        if kind.code in PROBLEMS:
            entry = PROBLEMS[kind.code]
            assert status in entry.statuses, kind
            assert entry.retryable == kind.retryable, kind
        else:
            # Codes without an entry never occur over HTTP. They are about bundles, settings, cameras and tokens.
            assert any(base in STATUS for base in kind.__mro__)


def test_the_reference_page_explains_every_code(served: RunningService) -> None:
    page = served.client.get("/docs").text
    assert all(f'id="{code}"' in page for code in PROBLEMS)
