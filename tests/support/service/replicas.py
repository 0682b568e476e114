"""Two ``adsn-serve`` processes that share a store, and clients that call both at the same moment."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx

from runtime.capture.simulated.rig import SyntheticRig
from tests.support.images import encode
from tests.support.service.serving_process import serving

KEY = "the-key-of-two-replicas"
NONCE = "n" * 24


@dataclass(slots=True)
class Replica:
    """One process: its address and its log."""

    address: str
    log: Path
    client: httpx.Client

    def ask(self, **kwargs: Any) -> httpx.Response:
        """Send a pair with the given ``nonce``, ``headers`` and ``params``."""
        nonce, headers = kwargs.pop("nonce", None), kwargs.pop("headers", {})
        files = {**person()[0], "meta": meta(nonce)}
        # Use the same boundary for all requests, so that the same pair gives the same bytes.
        headers = {"Content-Type": "multipart/form-data; boundary=between-the-parts", **headers}
        return self.client.post("/liveness", files=files, headers=headers, **kwargs)

    def conditions(self) -> set[str]:
        """Return the conditions in ``/readyz``. The service must be ready."""
        answer = self.client.get("/readyz")
        assert answer.status_code == 200, answer.text
        return {condition["name"] for condition in answer.json()["conditions"]}


def meta(nonce: str | None) -> bytes:
    return json.dumps({"face_box": person()[1]} | ({"nonce": nonce} if nonce else {})).encode()


@functools.cache
def person() -> tuple[dict[str, bytes], list[float]]:
    """Return a small pair and its face box, so that a thousand races test the store and not decoding."""
    made, size = SyntheticRig(seed=107, subject=9000).next(), (160, 120)
    small = {name: cv2.resize(made.pair.image(name), size, interpolation=cv2.INTER_AREA) for name in ("rgb", "ir")}
    scale, box = size[0] / made.pair.image("rgb").shape[1], made.face_box
    files = {"rgb": encode(small["rgb"][:, :, ::-1]), "ir": encode(small["ir"])}
    return files, [value * scale for value in (box.x, box.y, box.w, box.h)]


class Line:
    """A keep-alive connection to a replica. Its requests differ only in their nonce."""

    def __init__(self, replica: Replica) -> None:
        request = replica.client.build_request("POST", "/liveness", files={**person()[0], "meta": meta(NONCE)})
        body = request.read()
        lines = [b"POST /liveness HTTP/1.1", *(b"%s: %s" % header for header in request.headers.raw)]
        self._request = b"\r\n".join([*lines, b"", body])
        host, port = request.url.host, request.url.port
        self._socket = socket.create_connection((host, port or 80), 20)

    def send(self, nonce: str) -> None:
        assert len(nonce) == len(NONCE)
        self._socket.sendall(self._request.replace(NONCE.encode(), nonce.encode()))

    def status(self) -> int:
        answer = http.client.HTTPResponse(self._socket, method="POST")
        answer.begin()
        answer.read()
        return answer.status

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def lines(*replicas: Replica) -> Iterator[list[Line]]:
    made = [Line(replica) for replica in replicas]
    try:
        yield made
    finally:
        for line in made:
            line.close()


@contextlib.contextmanager
def replicas(folder: Path, url: str, count: int = 2, **environment: str) -> Iterator[list[Replica]]:
    """Run replicas with the single key `KEY`."""
    settings = {"ADSN_STORE__URL": url, "ADSN_API_KEY": KEY, "ADSN_WORKERS": "1", **environment}
    with contextlib.ExitStack() as stack:
        made = []
        for number in range(count):
            log = folder / f"replica-{number}.log"
            _, address = stack.enter_context(serving(log, **settings))
            client = httpx.Client(base_url=address, timeout=30, headers={"X-API-Key": KEY})
            made.append(Replica(address, log, stack.enter_context(client)))
        yield made


def wait_for(replica: Replica, *conditions: str, seconds: float = 120) -> None:
    """Wait until exactly these conditions of the store are reported."""
    deadline = time.monotonic() + seconds
    while (found := {name for name in replica.conditions() if name.startswith("store_")}) != set(conditions):
        assert time.monotonic() < deadline, f"{found} after {seconds} s; {replica.log.read_text()[-2000:]}"
        time.sleep(0.02)
