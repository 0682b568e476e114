"""The list of what the application is made of. A module with routes offers ``mount(app, state)`` and stands here."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from service import trust
from service.console import login
from service.console import page as console
from service.console import reference as page
from service.liveness import route as liveness
from service.monitoring import events, status
from service.oip import route as v2
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
