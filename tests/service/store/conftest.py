"""One real server for the store's tests, and checks of everything they wrote to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service.redis_server import BINARIES, RedisServer, binaries, redis_server, require_redis
from tests.support.service.store_contents import inspect


@pytest.fixture(scope="session", params=binaries() or BINARIES[:1])
def redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Yield a server that keeps its data in memory and is inspected at the end: each kind installed on this machine."""
    require_redis()
    binary: str = request.param
    folder: Path = tmp_path_factory.mktemp("redis")
    with redis_server(folder, binary) as server:
        server.watch()
        yield server
    inspect(server.written.end())
