"""One real server for the tests of the store, and what must be true of everything they wrote to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service.redis_server import RedisServer, redis_server, require_redis
from tests.support.service.store_contents import inspect


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that keeps its data in memory, and is inspected at the end."""
    binary = require_redis()
    folder: Path = tmp_path_factory.mktemp("redis")
    with redis_server(folder, binary) as server:
        server.watch()
        yield server
    inspect(server.written.end())
