"""The list of what the application is made of. A module with routes offers ``mount(app, state)`` and stands here."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from service import trust
from service.console import login, page, reference
from service.liveness import route as liveness
from service.monitoring import events, status
from service.oip import route as oip
from service.state import State

MOUNTS: tuple[Callable[[FastAPI, State], None], ...] = (
    liveness.mount,
    status.mount,
    page.mount,
    events.mount,
    trust.mount,
    oip.mount,
    login.mount,
    reference.mount,
)
