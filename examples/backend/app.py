"""A backend that admits a visitor when a liveness service says that somebody is there.

Browsers and devices send two pictures here; this program asks adsn-serve and answers with yes or no. Whatever goes
wrong is a no.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, File, HTTPException, Request, UploadFile
from pydantic import BaseModel

from adsn.client import AsyncClient, ClientError, RequestRefused, new_nonce

SERVICE = os.environ.get("LIVENESS_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("LIVENESS_KEY")


class Admission(BaseModel):
    """Whether the visitor may come in. ``request_id``: finds the request in the log of adsn-serve."""

    admitted: bool
    reasons: list[str]
    request_id: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # Keep one client for the life of the program, because it reuses its connections.
    async with AsyncClient(SERVICE, api_key=KEY, timeout_s=5) as client:
        app.state.client = client
        yield


app = FastAPI(title="Check-in", lifespan=lifespan)


@app.post("/check-in")
async def check_in(
    request: Request, rgb: Annotated[UploadFile, File()], ir: Annotated[UploadFile, File()]
) -> Admission:
    """Admit a visitor."""
    client: AsyncClient = request.app.state.client
    try:
        # A new nonce for each request: the service accepts each nonce only once.
        answer = await client.assess(await rgb.read(), await ir.read(), meta={"nonce": new_nonce()})
    except RequestRefused as error:
        if error.problem is not None and error.status == 422:
            # The images are unusable: no face, damaged, the wrong kind. The visitor may try again.
            return Admission(admitted=False, reasons=[error.problem_code], request_id=error.problem.request_id)
        raise HTTPException(503, "Liveness cannot be checked now.") from error
    except ClientError as error:
        raise HTTPException(503, "Liveness cannot be checked now.") from error
    return Admission(admitted=answer.is_live, reasons=list(answer.reasons), request_id=answer.request_id)
