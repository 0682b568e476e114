"""Client for ``POST /liveness``, synchronous and asynchronous. Needs httpx (extra ``client``).

::

    from adsn.client import Client

    with Client("http://127.0.0.1:8000") as client:
        answer = client.assess("rgb.jpg", "ir.png")
        if answer.is_live:
            ...

The client loads neither NumPy nor OpenCV nor any model.
"""

from __future__ import annotations

try:
    # Imported before the modules that use it, so that there is one message if it is missing.
    import httpx as _httpx  # noqa: F401  # only to check that it is installed
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("adsn.client needs httpx: pip install 'adsn[client]'", name="httpx") from error

from adsn.client.answers import (
    Answer,
    Condition,
    Face,
    Info,
    IrScore,
    Modalities,
    ModalityScore,
    Model,
    OperatingPoint,
    PairInfo,
    Problem,
    QualityCheck,
    Readiness,
)
from adsn.client.async_client import AsyncClient
from adsn.client.errors import ClientError, ConnectionFailed, InvalidAnswer, RequestRefused
from adsn.client.requests import Meta, new_nonce
from adsn.client.sync_client import Client

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "ClientError",
    "Condition",
    "ConnectionFailed",
    "Face",
    "Info",
    "InvalidAnswer",
    "IrScore",
    "Meta",
    "Modalities",
    "ModalityScore",
    "Model",
    "OperatingPoint",
    "PairInfo",
    "Problem",
    "QualityCheck",
    "Readiness",
    "RequestRefused",
    "new_nonce",
]
