"""A service with a key for each role."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import httpx

from service.auth.keys import CallerRole
from tests.support.images import ir_file, rgb_file
from tests.support.service.running_service import RunningService

SINGLE = "a single key of the smallest set-up"
FILES = {"rgb": rgb_file(), "ir": ir_file(), "meta": json.dumps({"face_box": [200, 120, 200, 200]}).encode()}


@dataclass(slots=True)
class Keyed:
    service: RunningService
    keys: dict[CallerRole, str]
    file: Path

    def get(self, path: str, role: CallerRole | None = None, headers: dict[str, str] | None = None) -> httpx.Response:
        own = {"Authorization": f"Bearer {self.keys[role]}"} if role else {}
        return self.service.client.get(path, headers={**own, **(headers or {})})
