"""The Open Inference Protocol, used through NVIDIA's own client."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from pydantic import SecretStr
from tritonclient.utils import InferenceServerException

from runtime.core.errors import InferenceFailed
from runtime.engines.remote.oip import HEADER_LENGTH, pack
from service.auth.keys import CallerRole, new_key, toml_of
from service.config.settings import LimitSettings, Settings
from service.config.trust import AuthSettings
from service.oip.route import MAX_BATCH
from tests.support.fakes import SIZE
from tests.support.service.running_service import RunningService, running


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{service.port}") as made:
        yield made


def arrays(count: int = 2) -> dict[str, NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    return {
        "rgb": rng.integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8),
        "ir": rng.integers(0, 256, (count, SIZE, SIZE, 1)).astype(np.uint8),
    }


def inputs(tensors: dict[str, NDArray[Any]], binary: bool = True) -> list[Any]:
    made = []
    for name, array in tensors.items():
        kind = {"uint8": "UINT8", "float32": "FP32", "int64": "INT64"}[str(array.dtype)]
        entry = triton.InferInput(name, list(array.shape), kind)
        entry.set_data_from_numpy(array, binary_data=binary)
        made.append(entry)
    return made


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("fake")
    assert client.is_model_ready("fake", "1")
    assert not client.is_model_ready("other")
    assert not client.is_model_ready("fake", "2")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    found = client.get_model_metadata("fake", "1")
    assert found["versions"] == ["1"]
    assert found["inputs"] == [
        {"name": "rgb", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 3]},
        {"name": "ir", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 1]},
    ]
    assert [output["name"] for output in found["outputs"]] == ["score", "stream_scores", "attention"]
    assert found["parameters"]["model_sha256"] == "0" * 64


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("version", ["", "1"])
def test_scores(client: Any, binary_in: bool, binary_out: bool, version: str) -> None:
    sent = arrays(2)
    wanted = [triton.InferRequestedOutput(n, binary_data=binary_out) for n in ("score", "stream_scores")]
    found = client.infer("fake", inputs(sent, binary_in), version, outputs=wanted, request_id="r-9")
    expected = sent["ir"].mean((1, 2, 3)) / 255
    assert np.allclose(found.as_numpy("score"), expected, atol=1e-6)
    assert found.as_numpy("stream_scores").shape == (2, 2)
    assert found.as_numpy("attention") is None
    response = found.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("r-9", "fake", "1")
    assert response["parameters"] == {"model_sha256": "0" * 64}


def test_without_a_list_all_outputs_come(client: Any) -> None:
    found = client.infer("fake", inputs(arrays(1)))
    assert found.as_numpy("score").dtype == np.float32
    assert found.as_numpy("attention").shape == (1, 2, 4, 14, 14)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ir": None}, "inputs"),
        ({"extra": np.zeros((2, 1), np.uint8)}, "inputs"),
        ({"ir": np.zeros((2, SIZE, SIZE, 1), np.float32)}, "must be uint8"),
        ({"ir": np.zeros((2, SIZE, SIZE, 1), np.int64)}, "datatype"),
        ({"ir": np.zeros((2, SIZE, SIZE), np.uint8)}, "must have shape"),
        ({"ir": np.zeros((2, SIZE, SIZE, 3), np.uint8)}, "must have shape"),
        ({"ir": np.zeros((3, SIZE, SIZE, 1), np.uint8)}, "samples"),
    ],
)
def test_wrong_tensors_are_named(client: Any, changes: dict[str, Any], says: str) -> None:
    sent = {name: array for name, array in {**arrays(2), **changes}.items() if array is not None}
    with pytest.raises(InferenceServerException, match=says) as caught:
        client.infer("fake", inputs(sent))
    assert caught.value.status() == "400"


def test_wrong_names(client: Any) -> None:
    for model, version, status in (("other", "", "404"), ("fake", "7", "404")):
        with pytest.raises(InferenceServerException, match="unknown") as caught:
            client.infer(model, inputs(arrays(1)), version)
        assert caught.value.status() == status
    with pytest.raises(InferenceServerException, match="unknown output"):
        client.infer("fake", inputs(arrays(1)), outputs=[triton.InferRequestedOutput("verdict")])
    with pytest.raises(InferenceServerException, match="classification"):
        client.infer("fake", inputs(arrays(1)), outputs=[triton.InferRequestedOutput("score", class_count=2)])


def test_limits(service: RunningService, client: Any) -> None:
    thin = {name: np.zeros((MAX_BATCH + 1, SIZE, SIZE, c), np.uint8) for name, c in (("rgb", 3), ("ir", 1))}
    with pytest.raises(InferenceServerException) as caught:
        client.infer("fake", inputs(thin))
    assert caught.value.status() == "413"  # the body limit applies first here
    with pytest.raises(InferenceServerException, match="Content-Encoding") as caught:
        client.infer("fake", inputs(arrays(1)), request_compression_algorithm="gzip")
    assert caught.value.status() == "415"
    body, _ = pack("inputs", {}, arrays(1))
    for given in ("-1", "x", "9" * 30, "\u0661"):
        response = service.client.post(
            "/v2/models/fake/infer", content=body, headers=[(HEADER_LENGTH.encode(), given.encode())]
        )
        assert response.status_code == 400, given
    assert service.client.post("/v2/models/fake/infer", content=b"").status_code == 400
    assert service.client.post("/v2/models/fake/infer", content=gzip.compress(body)).status_code == 400


def test_a_batch_too_large_for_one_worker() -> None:
    with (
        running(Settings(limits=LimitSettings(body_bytes=8 << 20))) as service,
        triton.InferenceServerClient(f"127.0.0.1:{service.port}") as client,
    ):
        client.infer("fake", inputs(arrays(MAX_BATCH)))
        with pytest.raises(InferenceServerException, match="at most 64 samples"):
            client.infer("fake", inputs(arrays(MAX_BATCH + 1)))


def test_a_failing_engine_gives_no_score(service: RunningService, client: Any) -> None:
    service.engine.error = InferenceFailed("it burnt.")
    try:
        with pytest.raises(InferenceServerException, match="it burnt") as caught:
            client.infer("fake", inputs(arrays(1)))
        assert caught.value.status() == "503"
        service.engine.error, service.engine.nan = None, True
        with pytest.raises(InferenceServerException, match="not a probability"):
            client.infer("fake", inputs(arrays(1)))
    finally:
        service.engine.error, service.engine.nan = None, False


def test_errors_are_problem_documents_too(service: RunningService) -> None:
    found = service.client.get("/v2/models/other").json()
    assert found["error"] == found["detail"]
    assert found["code"] == "not_found"
    assert service.client.get("/v2/nowhere").json()["error"]
    json.dumps(service.client.get("/openapi.json").json()["paths"]["/v2/models/{name}/infer"])


def test_hidden_scores_are_shown_only_to_keys_made_for_them(tmp_path: Any) -> None:
    roles: tuple[tuple[CallerRole, ...], ...] = (("infer",), ("admin",), ("score",))
    made = [new_key(role) for role in roles]
    (tmp_path / "keys.toml").write_text("\n".join(toml_of(entry) for _, entry in made))
    (tmp_path / "keys.toml").chmod(0o600)
    single = SecretStr("s" * 20)
    settings = Settings(auth=AuthSettings(keys=tmp_path / "keys.toml"), expose_score=False, api_key=single)
    with running(settings) as service:
        url = "/v2/models/fake/infer"
        body, length = pack("inputs", {}, arrays(1))
        found = [
            service.client.post(url, content=body, headers={HEADER_LENGTH: str(length), "X-API-Key": key}).status_code
            for key in (*(key for key, _ in made), "s" * 20)
        ]
        assert found == [200, 403, 403, 403]
    with running(Settings(expose_score=False)) as service:
        assert service.client.post(url, content=body, headers={HEADER_LENGTH: str(length)}).status_code == 403


@pytest.mark.parametrize("filler", [b"[],", b"{},", b"0.5,", b'"a",'])
def test_json_that_would_take_much_memory_is_not_parsed(filler: bytes) -> None:
    with running(Settings()) as service:
        body = b'{"inputs": [' + filler * (7_000_000 // len(filler)) + b"0]}"
        response = service.client.post("/v2/models/fake/infer", content=body)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert "binary tensors" in response.json()["detail"]
        body, length = pack("inputs", {}, arrays(8), as_json=("rgb", "ir"))
        assert length is None
        assert service.client.post("/v2/models/fake/infer", content=b"\xef\xbb\xbf" + body).status_code == 200
