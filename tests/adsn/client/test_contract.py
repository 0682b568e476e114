"""The client's types match the service's contract, and importing it loads no serving or training packages."""

from __future__ import annotations

import subprocess
import sys
import typing
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from adsn.client import Answer, Condition, Info, Meta, Problem
from adsn.client.answers import Value
from service.http import parsing
from service.http.problem_document import Problem as ServiceProblem
from service.liveness.contract import LivenessResponse
from service.monitoring.health import ConditionView
from service.monitoring.status import Info as ServiceInfo
from tests.support.service.answers import checked

SAID = {"title", "description", "examples", "default", "additionalProperties"}
"""Schema members to ignore: text for people, and whether unknown members are allowed. The client ignores those."""


def shape(schema: dict[str, Any], defs: dict[str, Any]) -> Any:
    """Return a JSON schema without names, texts and references, so that two schemas that accept the same values are
    equal."""
    if "$ref" in schema:
        return shape(defs[schema["$ref"].rpartition("/")[2]], defs)
    found = {key: value for key, value in schema.items() if key not in SAID and key != "$defs"}
    if "anyOf" in found:
        options = sorted((shape(option, defs) for option in found.pop("anyOf")), key=str)
        return {"anyOf": options, **found}
    if "prefixItems" in found:
        first, *rest = [shape(item, defs) for item in found.pop("prefixItems")]
        assert all(item == first for item in rest)
        found["items"] = first
    elif "items" in found:
        found["items"] = shape(found["items"], defs)
    if "properties" in found:
        found["properties"] = {name: shape(entry, defs) for name, entry in found["properties"].items()}
        found["required"] = sorted(found.get("required", []))
    if isinstance(schema.get("additionalProperties"), dict):
        found["values"] = shape(schema["additionalProperties"], defs)
    return found


def shape_of(kind: Any) -> Any:
    schema = TypeAdapter(kind).json_schema()
    return shape(schema, schema.get("$defs", {}))


def test_an_answer_has_the_members_and_types_of_the_contract() -> None:
    ours, theirs = shape_of(Answer), shape_of(LivenessResponse)
    # The client alone has this member, which comes from a header. It accepts any minor version of 1.
    del ours["properties"]["replayed"]
    assert ours["properties"].pop("contract_version") == {"type": "string", "pattern": r"^1\.\d+$"}
    assert theirs["properties"].pop("contract_version") == {"type": "string", "const": "1.0"}
    assert ours == theirs


def members(ours: type[BaseModel], theirs: Any) -> None:
    own, whole = shape_of(ours), shape_of(theirs)
    for name, entry in own["properties"].items():
        assert entry == whole["properties"][name], name
    assert set(own["required"]) <= set(whole["required"])


def test_a_problem_and_a_condition_have_members_of_the_contract() -> None:
    members(Problem, ServiceProblem)
    members(Condition, ConditionView)


def test_info_has_members_of_the_contract() -> None:
    own, whole = shape_of(Info)["properties"], shape_of(ServiceInfo)["properties"]
    # The type in the service accepts any text because of the OpenAPI document. Only these three values occur.
    assert own["model"]["properties"]["modalities"]["items"].pop("enum") == ["rgb", "ir", "depth"]
    for name, entry in own.items():
        assert entry == whole[name], name


def test_meta_has_the_members_of_the_contract() -> None:
    hints = typing.get_type_hints(Meta)
    assert set(hints) == set(parsing.Meta.model_fields)
    assert hints["clock"] == parsing.Clock
    whole = parsing.Meta(
        face_box=[1, 2, 3, 4], ir_face_box=[1, 2, 3, 4], depth_face_box=[1, 2, 3, 4], rgb_timestamp_ns=1,
        ir_timestamp_ns=2, depth_timestamp_ns=3, clock="unix", session_id="s", nonce="n" * 8,
    )  # fmt: skip
    for name, value in whole.model_dump().items():
        kind = hints[name]
        assert kind == Sequence[float] if isinstance(value, list) else kind in (type(value), parsing.Clock), name


def sample() -> dict[str, Any]:
    answer = {
        "contract_version": "1.0",
        "request_id": "r-1",
        "session_id": None,
        "decision": "live",
        "score": 0.9,
        "threshold": 0.5,
        "operating_point": {"name": "default", "target": "t", "measured_on": "m"},
        "reasons": [],
        "modalities": {
            "rgb": {"score": 0.9, "usable": True},
            "ir": {"score": 0.9, "usable": True, "illuminated": True},
        },
        "face": {"bbox": [1.0, 2.0, 3.0, 4.0], "confidence": None, "count": 1},
        "quality": [{"name": "ir.illumination", "value": 1, "range": [None, 2.5], "status": "pass"}],
        "pair": {"skew_ms": None, "age_ms": None, "clock": "none", "epoch": 0, "source": "upload"},
        "model": {"name": "n", "version": "1", "sha256": "s", "precision": "int8", "backend": "b", "degraded": False},
        "timing_ms": {"total": 1},
        "captured_at": "2026-01-01T00:00:00.000Z",
    }
    checked(answer)
    return answer


def test_an_answer_is_neither_true_nor_false() -> None:
    answer = Answer.model_validate_json(TypeAdapter(dict).dump_json(sample()))
    assert answer.is_live
    with pytest.raises(TypeError, match="is_live"):
        bool(answer)
    with pytest.raises(ValidationError):
        answer.decision = "spoof"


def test_members_of_later_contracts_are_ignored_and_other_contracts_refused() -> None:
    later = sample() | {"contract_version": "1.7", "news": 1}
    assert Answer.model_validate_json(TypeAdapter(dict).dump_json(later)).decision == "live"
    for changed in ({"contract_version": "2.0"}, {"decision": "LIVE"}, {"score": "0.9"}, {"score": 1.5}):
        with pytest.raises(ValidationError):
            Answer.model_validate_json(TypeAdapter(dict).dump_json(sample() | changed))


def test_values_do_not_take_what_is_no_number() -> None:
    class One(Value):
        number: float

    for text in ('{"number": NaN}', '{"number": Infinity}'):
        with pytest.raises(ValidationError):
            One.model_validate_json(text)


def test_importing_the_client_loads_nothing_that_serves_or_trains() -> None:
    code = (
        "import sys, adsn.client\n"
        "heavy = {'torch', 'numpy', 'cv2', 'onnx', 'onnxruntime', 'service', 'fastapi', 'export', 'synthetic'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_httpx_the_message_names_the_extra() -> None:
    code = "import sys\nsys.modules['httpx'] = None\nimport adsn.client\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "adsn.client needs httpx: pip install 'adsn[client]'" in done.stderr
