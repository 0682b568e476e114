"""The list of what the application is made of. A module with routes offers ``mount(app, state)`` and stands here."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from service import console, events, liveness, login, page, status, trust, v2
from service.state import State

MOUNTS: tuple[Callable[[FastAPI, State], None], ...] = (
    liveness.mount,
    status.mount,
    console.mount,
    events.mount,
    trust.mount,
    v2.mount,
    login.mount,
    page.mount,
)
