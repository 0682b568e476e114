"""The asynchronous client."""

from __future__ import annotations

import time
from functools import partial
from types import TracebackType

import anyio
import anyio.to_thread
import httpx

from adsn.client.answers import Answer, Info, Modality, Readiness
from adsn.client.attempts import Attempts
from adsn.client.endpoint import endpoint
from adsn.client.replies import Reply, answer_of, info_of, readiness_of, require_size
from adsn.client.requests import Image, Meta, PreparedRequest, capture, get, upload


class AsyncClient:
    """`Client` for asynchronous programs, with the same parameters; ``http`` is an ``httpx.AsyncClient``.

    ``timeout_s`` limits the whole call, even if the server sends its response slowly.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = 10.0,
        retries: int = 2,
        plaintext: bool = False,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._endpoint = endpoint(url, api_key, plaintext=plaintext)
        self._timeout_s, self._retries, self._owned = timeout_s, retries, http is None
        self._http = httpx.AsyncClient() if http is None else http

    def __repr__(self) -> str:
        return f"<AsyncClient {self._endpoint.url}>"

    async def assess(
        self,
        rgb: Image | None = None,
        ir: Image | None = None,
        depth: Image | None = None,
        *,
        meta: Meta | None = None,
        explain: bool = False,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Assess one pair of images; see `Client.assess`. Files are read in a thread."""
        images: dict[Modality, Image | None] = {"rgb": rgb, "ir": ir, "depth": depth}
        prepare = partial(upload, images, meta, explain=explain, idempotency_key=idempotency_key)
        return await self._exchange(await anyio.to_thread.run_sync(prepare))

    async def assess_camera(
        self,
        *,
        timeout_ms: int = 1500,
        session_id: str | None = None,
        nonce: str | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Assess the next pair from the cameras of the service; see `Client.assess_camera`."""
        return await self._exchange(capture(timeout_ms, session_id, nonce, idempotency_key))

    async def ready(self) -> Readiness:
        """Return whether pairs can be assessed, and the current problems."""
        request = get("/readyz")
        attempts = self._attempts(request, retries=0)
        try:
            reply = await self._once(request, attempts.remaining_s())
        except (httpx.TransportError, TimeoutError) as error:
            raise attempts.failure(error) from error
        return readiness_of(reply)

    async def info(self) -> Info:
        """Return contract version, model, capabilities and limits of the service."""
        return info_of(await self._call(get("/info")))

    async def close(self) -> None:
        """Close the connections."""
        if self._owned:
            await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _exchange(self, request: PreparedRequest) -> Answer:
        return answer_of(await self._call(request), request)

    def _attempts(self, request: PreparedRequest, retries: int) -> Attempts:
        return Attempts(request, retries=retries, timeout_s=self._timeout_s, clock=time.monotonic)

    async def _call(self, request: PreparedRequest) -> Reply:
        attempts = self._attempts(request, self._retries)
        while True:
            try:
                reply = await self._once(request, attempts.remaining_s())
            except (httpx.TransportError, TimeoutError) as error:
                wait_s = attempts.after_failure(error)
            else:
                found = attempts.after_reply(reply)
                if found is None:
                    return reply
                wait_s = found
            await anyio.sleep(wait_s)

    async def _once(self, request: PreparedRequest, timeout_s: float) -> Reply:
        made = self._http.build_request(
            request.method,
            self._endpoint.url_of(request),
            content=request.content,
            headers=self._endpoint.headers_of(request),
            timeout=timeout_s,
        )
        with anyio.fail_after(timeout_s):
            response = await self._http.send(made, stream=True, follow_redirects=False)
            try:
                body = bytearray()
                async for chunk in response.aiter_raw():
                    body += chunk
                    require_size(len(body))
            finally:
                await response.aclose()
        return Reply(response.status_code, dict(response.headers), bytes(body))
