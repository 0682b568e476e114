"""`Engine` on a remote scoring server, reached by the Open Inference Protocol v2.

The server must meet the same conditions as a local engine: it must run a model that the local manifest names by
SHA-256, and it must reproduce the golden vectors before the first pair and after every lost connection. Every failure
raises an error; no failure produces a score.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.manifest import Bundle, FileRole
from runtime.core.errors import AdsnError, EngineError, EngineUnavailable, GoldenMismatch, InferenceFailed, InvalidBatch
from runtime.engines.base import OUTPUTS, Batch, EngineInfo, InputSpec, Precision, Scores, check_batch, check_scores
from runtime.engines.golden import GoldenVectors, check_golden, read_golden
from runtime.engines.remote.connection import HttpReply, RemoteConnection, Unreachable
from runtime.engines.remote.oip import DTYPES, HEADER_LENGTH, datatype, pack, parse_object, unpack

log = logging.getLogger(__name__)
MAX_DESCRIPTION_BYTES = 1 << 20
MAX_ANSWER_BYTES = 16 << 20
MODEL_ROLES: tuple[FileRole, ...] = ("model-fp32", "model-int8-cpu", "model-int8-trt", "model-int8-trt11")
UNPRINTABLE = re.compile(r"[^ -~]")


class RemoteEngine:
    """`Engine` on the scoring server at the other end of ``connection``, which the engine owns.

    ``model``: name of the model on the server. ``digests``: SHA-256 → role, for the models that may run.

    Raises:
        EngineUnavailable: the server cannot be reached, does not have the model, runs a different one, or does not
            reproduce the golden vectors.
    """

    def __init__(
        self,
        connection: RemoteConnection,
        model: str,
        inputs: tuple[InputSpec, ...],
        digests: dict[str, FileRole],
        golden: GoldenVectors,
    ) -> None:
        self._connection = connection
        self._model = model
        self._path = f"/v2/models/{quote(model, safe='')}"
        self._inputs = inputs
        self._digests = digests
        self._golden = golden
        # Reentrant: the thread that verifies the server calls `infer` with the golden vectors.
        self._lock = threading.RLock()
        self._closed = False
        self._trusted = False
        self._verifying = False
        self._sent_as: dict[str, np.dtype[Any]] = {}
        self._sha256 = ""
        self._version = ""
        self._info: EngineInfo | None = None
        try:
            self._verify_golden()
        except BaseException:
            self._connection.close()
            raise

    @property
    def info(self) -> EngineInfo:
        assert self._info is not None
        return self._info

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return self._inputs

    def infer(self, batch: Batch) -> Scores:
        count = check_batch(batch, self._inputs)
        if self._closed:
            raise InferenceFailed("the engine is closed.")
        if not self._trusted:
            with self._lock:
                if not self._trusted and not self._verifying:
                    self._verify_golden_again()
        sent: dict[str, NDArray[Any]] = {n: batch[n].astype(t, copy=False) for n, t in self._sent_as.items()}
        header = {"outputs": [{"name": name, "parameters": {"binary_data": True}} for name in OUTPUTS]}
        body, length = pack("inputs", header, sent)
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(length)}
        try:
            reply = self._connection.exchange("POST", f"{self._path}/infer", body, headers, limit=MAX_ANSWER_BYTES)
        except Unreachable as error:
            # A different server may answer at this address next, so the golden vectors must be verified again.
            self._trusted = False
            raise InferenceFailed(f"the scoring server {self._where} did not respond: {error}.") from error
        if reply.status != 200:
            raise InferenceFailed(f"the scoring server {self._where} refused the batch: {_refusal_text(reply)}.")
        return check_scores(self._scores(reply), count)

    def warm_up(self) -> None:
        self.infer({spec.name: np.zeros((1, *spec.shape), spec.dtype) for spec in self._inputs})

    def close(self) -> None:
        self._closed = True
        self._connection.close()

    @property
    def _where(self) -> str:
        return f"{self._connection.host}:{self._connection.port}"

    def _scores(self, reply: HttpReply) -> Scores:
        given = reply.headers.get(HEADER_LENGTH.lower())
        try:
            head, found = unpack("outputs", reply.body, int(given) if given and given.isdecimal() else None)
        except InvalidBatch as error:
            raise InferenceFailed(f"the response of {self._where} cannot be read: {error.message}") from error
        stated = (head.get("parameters") or {}).get("model_sha256", self._sha256)
        if stated != self._sha256 or head.get("model_version", self._version) != self._version:
            self._trusted = False
            raise InferenceFailed(
                f"the scoring server {self._where} now runs another model and will be verified again."
            )
        missing = [name for name in OUTPUTS if name not in found or found[name].dtype != np.float32]
        if missing:
            raise InferenceFailed(f"the response of {self._where} lacks {', '.join(missing)} as FP32.")
        # Copied, because arrays over bytes are read-only, and all other engines return writable arrays.
        return Scores(*(found[name].astype(np.float32) for name in OUTPUTS))

    def _verify_golden_again(self) -> None:
        try:
            self._verify_golden()
        except EngineError as error:
            raise InferenceFailed(f"the scoring server has not been verified again yet: {error.message}") from error
        log.info("the scoring server %s has been verified again", self._where)

    def _verify_golden(self) -> None:
        """Read the description of the model, and require that the server reproduces the golden vectors."""
        described = self._describe(self._path)
        parameters = described.get("parameters")
        if not isinstance(parameters, dict) or "model_sha256" not in parameters:
            # Triton returns the parameters of a model as part of its configuration.
            found = self._describe(f"{self._path}/config").get("parameters") or {}
            parameters = {k: v.get("string_value") for k, v in found.items() if isinstance(v, dict)}
        sha256 = parameters.get("model_sha256")
        role = self._digests.get(sha256) if isinstance(sha256, str) else None
        if not isinstance(sha256, str) or role is None:
            known = ", ".join(f"{digest[:12]} ({name})" for digest, name in self._digests.items())
            said = f"has the SHA-256 {sha256[:12]!r}" if isinstance(sha256, str) else "does not state its SHA-256"
            raise EngineUnavailable(
                f"{self._where}: the model {self._model} {said}; the local manifest has {known}. Install the same "
                "bundle on both machines."
            )
        self._sent_as = self._checked_inputs(described)
        versions = described.get("versions")
        self._version = str(versions[-1]) if isinstance(versions, list) and versions else "1"
        self._sha256 = sha256
        precision: Precision = "fp32" if role == "model-fp32" else "int8"
        self._info = EngineInfo(
            backend="remote",
            precision=precision,
            device=self._where,
            versions={
                "model": self._version,
                "artifact": role,
                "backend": _plain(parameters.get("backend", "unknown")),
            },
            threads=1,
            degraded=parameters.get("degraded") is True,
        )
        recorded = role.removeprefix("model-") if role in ("model-int8-trt", "model-int8-trt11") else ""
        self._verifying = True
        try:
            check_golden(self, self._golden, recorded)
        except (InferenceFailed, GoldenMismatch) as error:
            raise EngineUnavailable(f"{self._where}: {error.message}") from error
        finally:
            self._verifying = False
        self._trusted = True

    def _describe(self, path: str) -> dict[str, Any]:
        try:
            reply = self._connection.exchange("GET", path, limit=MAX_DESCRIPTION_BYTES)
            if reply.status != 200:
                raise EngineUnavailable(f"{self._where} refused {path}: {_refusal_text(reply)}.")
            return parse_object(reply.body)
        except Unreachable as error:
            raise EngineUnavailable(f"the scoring server {self._where} cannot be reached: {error}.") from error
        except InvalidBatch as error:
            raise EngineUnavailable(f"{self._where}: {path} is not a model description: {error.message}") from error

    def _checked_inputs(self, described: dict[str, Any]) -> dict[str, np.dtype[Any]]:
        """Return the dtype to send for each input: the input's own, or float32 if the server expects that."""
        found: dict[str, np.dtype[Any]] = {}
        listed = described.get("inputs")
        for entry in listed if isinstance(listed, list) else []:
            if isinstance(entry, dict) and entry.get("datatype") in DTYPES:
                found[str(entry.get("name"))] = DTYPES[entry["datatype"]]
                shape = entry.get("shape")
                spec = next((s for s in self._inputs if s.name == entry.get("name")), None)
                if spec is None or not isinstance(shape, list) or tuple(shape[1:]) != spec.shape:
                    raise EngineUnavailable(
                        f"{self._where}: the input {_plain(entry.get('name'))} does not match the manifest."
                    )
        outputs = {e.get("name") for e in described.get("outputs") or [] if isinstance(e, dict)}
        fits = all(found.get(s.name) in (np.dtype(s.dtype), np.dtype("<f4")) for s in self._inputs)
        if not fits or len(found) != len(self._inputs) or not outputs.issuperset(OUTPUTS):
            wanted = ", ".join(f"{s.name} {datatype(s.dtype)}" for s in self._inputs)
            raise EngineUnavailable(
                f"{self._where}: {self._model} must take {wanted} and return {', '.join(OUTPUTS)}, but does not."
            )
        return found


def open_remote(bundle: Bundle, connection: RemoteConnection, model: str = "") -> RemoteEngine:
    """Return an engine on the server at the other end of ``connection``. ``model``: name of the model on the server; by
    default the name in the bundle.

    Raises:
        BundleError: the bundle's golden vectors cannot be trusted. For other errors see `RemoteEngine`.
    """
    manifest = bundle.manifest
    inputs = []
    for entry in manifest.inputs:
        height, width, channels = entry.shape
        inputs.append(InputSpec(entry.name, entry.dtype, (height, width, channels)))
    digests: dict[str, FileRole] = {entry.sha256: entry.role for entry in manifest.files if entry.role in MODEL_ROLES}
    return RemoteEngine(connection, model or manifest.name, tuple(inputs), digests, read_golden(bundle.read("golden")))


def _refusal_text(reply: HttpReply) -> str:
    """Return the status and error text from the server in a form that is safe to log."""
    try:
        found = parse_object(reply.body)
    except AdsnError:
        found = {}
    return f"{reply.status} {_plain(found.get('error') or found.get('detail') or '')}".strip()


def _plain(text: object) -> str:
    return UNPRINTABLE.sub("?", str(text))[:200]
