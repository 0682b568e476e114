"""The synchronous client."""

from __future__ import annotations

import time
from types import TracebackType

import httpx

from adsn.client.answers import Answer, Info, Modality, Readiness
from adsn.client.attempts import Attempts
from adsn.client.endpoint import endpoint
from adsn.client.replies import Reply, answer_of, info_of, readiness_of, require_size
from adsn.client.requests import Image, Meta, PreparedRequest, capture, get, upload


class Client:
    """Client that requests decisions from a service. Thread-safe. As a context manager it closes its connections.

    Args:
        url: Address of the service. ``http://`` is for this machine only.
        api_key: API key of the caller, if the service requires one.
        timeout_s: Time limit for one call including all attempts. Each network wait ends by then, but a server that
            sends the head of its response byte by byte can take longer.
        retries: Maximum number of attempts after the first.
        plaintext: Allow ``http://`` to other machines, for networks that another layer encrypts.
        http: Your own httpx client, with the certificates or proxies that you need. You must close it.

    Raises:
        ConfigError: The address or the key cannot be used.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = 10.0,
        retries: int = 2,
        plaintext: bool = False,
        http: httpx.Client | None = None,
    ) -> None:
        self._endpoint = endpoint(url, api_key, plaintext=plaintext)
        self._timeout_s, self._retries, self._owned = timeout_s, retries, http is None
        self._http = httpx.Client() if http is None else http

    def __repr__(self) -> str:
        return f"<Client {self._endpoint.url}>"

    def assess(
        self,
        rgb: Image | None = None,
        ir: Image | None = None,
        depth: Image | None = None,
        *,
        meta: Meta | None = None,
        explain: bool = False,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Assess one pair of images of the same moment.

        Args:
            rgb: The RGB image: the path of a JPEG, PNG, WebP or BMP file, or its bytes.
            ir: The IR image, in the same form.
            depth: The depth image: a 16-bit PNG.
            meta: Face boxes, timestamps, session and nonce.
            explain: Request images that show where the network looked.
            idempotency_key: Your own key, to repeat the call after your program has restarted. By default each call has
                a new key, or none with ``explain``.

        Raises:
            RequestRefused: The service refused, for example because there is no face; see ``problem_code``.
            ConnectionFailed: There was no answer in time.
            InvalidAnswer: The response is not an answer.
            InputError: A file cannot be read, or ``meta`` cannot be encoded as JSON.
        """
        images: dict[Modality, Image | None] = {"rgb": rgb, "ir": ir, "depth": depth}
        return self._exchange(upload(images, meta, explain=explain, idempotency_key=idempotency_key))

    def assess_camera(
        self,
        *,
        timeout_ms: int = 1500,
        session_id: str | None = None,
        nonce: str | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Assess the next pair from the cameras of the service. Wait for it at most ``timeout_ms``.

        Raises:
            RequestRefused, ConnectionFailed, InvalidAnswer: As `assess`.
        """
        return self._exchange(capture(timeout_ms, session_id, nonce, idempotency_key))

    def ready(self) -> Readiness:
        """Return whether pairs can be assessed, and the current problems.

        Raises:
            RequestRefused, ConnectionFailed, InvalidAnswer: As `assess`.
        """
        request = get("/readyz")
        attempts = self._attempts(request, retries=0)
        try:
            reply = self._once(request, attempts.remaining_s())
        except httpx.TransportError as error:
            raise attempts.failure(error) from error
        return readiness_of(reply)

    def info(self) -> Info:
        """Return contract version, model, capabilities and limits of the service.

        Raises:
            RequestRefused, ConnectionFailed, InvalidAnswer: As `assess`.
        """
        return info_of(self._call(get("/info")))

    def close(self) -> None:
        """Close the connections."""
        if self._owned:
            self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, request: PreparedRequest) -> Answer:
        return answer_of(self._call(request), request)

    def _attempts(self, request: PreparedRequest, retries: int) -> Attempts:
        return Attempts(request, retries=retries, timeout_s=self._timeout_s, clock=time.monotonic)

    def _call(self, request: PreparedRequest) -> Reply:
        attempts = self._attempts(request, self._retries)
        while True:
            try:
                reply = self._once(request, attempts.remaining_s())
            except httpx.TransportError as error:
                wait_s = attempts.after_failure(error)
            else:
                found = attempts.after_reply(reply)
                if found is None:
                    return reply
                wait_s = found
            time.sleep(wait_s)

    def _once(self, request: PreparedRequest, timeout_s: float) -> Reply:
        deadline = time.monotonic() + timeout_s
        made = self._http.build_request(
            request.method,
            self._endpoint.url_of(request),
            content=request.content,
            headers=self._endpoint.headers_of(request),
            timeout=timeout_s,
        )
        response = self._http.send(made, stream=True, follow_redirects=False)
        try:
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                require_size(len(body))
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer arrives too slowly", request=made)
        finally:
            response.close()
        return Reply(response.status_code, dict(response.headers), bytes(body))
