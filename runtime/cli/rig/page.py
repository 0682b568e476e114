"""Local web page that shows a rig's images while ``adsn-rig view --page`` runs.

The server listens only on loopback, its address contains a random token, and images are kept in memory only. The page
is a tool for technicians; operators use the console of the service.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.core.values import MODALITIES, Frame, Modality
from runtime.pairing.feed import CapturedPair, PairFeed

FAR_MM = 1500.0
HTML = """<!doctype html><meta charset=utf-8><title>rig</title>
<style nonce=NONCE>body{font:14px system-ui;background:#111;color:#ddd;margin:1em}img{max-width:48%;background:#000}
pre{white-space:pre-wrap}</style>
<div id=pictures></div><pre id=status></pre>
<script nonce=NONCE>
const names=MODALITIES, box=document.getElementById("pictures");
const images=names.map(n=>{const i=document.createElement("img");i.alt=n;box.append(i);return i});
let turn=0;
async function round(){
  try{
    const status=await (await fetch("status.json")).json();
    document.getElementById("status").textContent=status;
    turn+=1;
    await Promise.all(images.map((i,k)=>new Promise(done=>{i.onload=i.onerror=done;i.src=names[k]+".jpg?"+turn})));
  }catch(e){document.getElementById("status").textContent="the rig is closed"}
  setTimeout(round,100);
}
round();
</script>"""


class RigPage:
    """Observer of a rig that serves its newest images; see `runtime.pairing.rig.RigObserver`."""

    recording = ""

    def __init__(self) -> None:
        self._token = secrets.token_urlsafe(24)
        self._newest: dict[Modality, Frame] = {}
        self._feed: PairFeed | None = None
        handler = type("Handler", (_Handler,), {"page": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="rig-page", daemon=True)

    @property
    def url(self) -> str:
        """Return the address of the page."""
        return f"http://127.0.0.1:{self._server.server_port}/{self._token}/"

    def start(self, feed: PairFeed) -> None:
        """Start the server."""
        self._feed = feed
        self._thread.start()

    def on_frame(self, frame: Frame) -> None:
        self._newest[frame.modality] = frame

    def on_pair(self, captured: CapturedPair) -> None: ...

    def close(self) -> None:
        """Stop the server and discard the images."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(2)
        self._server.server_close()
        self._newest.clear()

    def answer(self, path: str, host: str) -> tuple[int, str, bytes, str]:
        """Return the response to a request: status, content type, body, and the nonce of the page."""
        nothing = (404, "text/plain", b"nothing is here\n", "")
        # Prevents DNS rebinding, where a page of another origin makes its host name resolve to this address.
        if host.partition(":")[0] not in ("127.0.0.1", "localhost"):
            return nothing
        token, _, name = path.lstrip("/").partition("/")
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return nothing
        name = name.partition("?")[0]
        if name == "":
            nonce = secrets.token_urlsafe(12)
            text = HTML.replace("NONCE", nonce).replace(
                "MODALITIES", json.dumps([m for m in MODALITIES if m in self._newest] or MODALITIES)
            )
            return 200, "text/html; charset=utf-8", text.encode(), nonce
        if name == "status.json" and self._feed is not None:
            status = json.dumps(asdict(self._feed.status()), indent=1)
            return 200, "application/json", json.dumps(status).encode(), ""
        frame = next((self._newest.get(m) for m in MODALITIES if f"{m}.jpg" == name), None)
        if frame is None:
            return nothing
        return 200, "image/jpeg", _jpeg(frame), ""


def _jpeg(frame: Frame) -> bytes:
    image: NDArray[Any] = frame.image
    if frame.modality == "depth":
        near = np.clip(255 - image * (255 / FAR_MM), 0, 255)
        image = np.where(image > 0, near, 0).astype(np.uint8)
    good, data = cv2.imencode(
        ".jpg", image[:, :, ::-1] if image.shape[2] == 3 else image, [cv2.IMWRITE_JPEG_QUALITY, 80]
    )
    return data.tobytes() if good else b""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of a connection: a browser that disconnects is not a problem."""


class _Handler(BaseHTTPRequestHandler):
    page: ClassVar[RigPage]
    timeout = 5
    server_version = "adsn-rig"
    sys_version = ""

    def do_GET(self) -> None:
        status, kind, body, nonce = self.page.answer(self.path, self.headers.get("Host", ""))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        allowed = f"; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'" if nonce else ""
        self.send_header("Content-Security-Policy", f"default-src 'none'; img-src 'self'; connect-src 'self'{allowed}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because the address contains the token."""
