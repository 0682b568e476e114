"""``adsn-doctor``'s checks of the store that replicas share."""

from __future__ import annotations

import statistics
import time
from typing import Any

from runtime.cli.doctor.report import Diagnosis
from runtime.config.store import StoreSettings, connection_options
from runtime.core.errors import ConfigError

SUBJECT = "store"
TIMEOUT_S = 2.0
PINGS = 20
LEAST_VERSION = 6


def store_diagnoses(settings: StoreSettings) -> list[Diagnosis]:
    """Query the store, and check that it answers in time, evicts no keys, and persists its data."""
    try:
        import redis
    except ModuleNotFoundError:
        return [Diagnosis("fail", SUBJECT, "store.url needs the package redis: pip install 'adsn[redis]'")]
    try:
        settings.check_files()
    except ConfigError as error:
        return [Diagnosis("fail", SUBJECT, str(error))]
    times: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
    client: Any = redis.Redis(**connection_options(settings), **times)
    try:
        with client:
            return _check(client, settings)
    except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError):
        told = "it refuses this user. Correct store.username, store.password, or the user's permissions."
    except redis.exceptions.TimeoutError:
        told = f"no answer within {TIMEOUT_S:g} s. Check its load and the network."
    except (redis.exceptions.RedisError, OSError) as error:
        # Print only the type of the error. Its text may repeat the address together with the password.
        told = f"cannot be reached ({type(error).__name__}). Start it, or correct store.url and the certificates."
    return [Diagnosis("fail", SUBJECT, f"{settings.address}: {told}")]


def _check(client: Any, settings: StoreSettings) -> list[Diagnosis]:
    took = []
    for _ in range(PINGS):
        began = time.perf_counter()
        client.ping()
        took.append((time.perf_counter() - began) * 1000)
    middle, info = statistics.median(took), client.info()
    server = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version", info.get("redis_version", "0")))
    told = f"{server} {version} at {settings.address}, {middle:.1f} ms for an answer"
    diagnoses = [_answer(told, middle, int(version.partition(".")[0]), settings)]
    policy = str(info.get("maxmemory_policy", ""))
    if info.get("maxmemory") and policy != "noeviction":
        detail = f"forgets keys to make room (maxmemory-policy {policy}): no nonce is accepted. Set it to noeviction."
        diagnoses.append(Diagnosis("fail", SUBJECT, detail))
    if info.get("role") not in (None, "master"):
        detail = "is a replica, which accepts no writes. Set store.url to the primary."
        diagnoses.append(Diagnosis("fail", SUBJECT, detail))
    if not info.get("aof_enabled"):
        detail = "keeps no append-only file: after a restart no nonce is accepted for limits.replay_s. Set appendonly."
        diagnoses.append(Diagnosis("warn", SUBJECT, detail))
    return diagnoses


def _answer(told: str, middle_ms: float, version: int, settings: StoreSettings) -> Diagnosis:
    if version < LEAST_VERSION:
        return Diagnosis("fail", SUBJECT, f"{told}; Redis {LEAST_VERSION} or newer is needed.")
    if middle_ms > settings.timeout_ms:
        return Diagnosis("fail", SUBJECT, f"{told}, and store.timeout_ms is {settings.timeout_ms:g}. Move it closer.")
    if middle_ms > settings.timeout_ms / 5:
        return Diagnosis("warn", SUBJECT, f"{told}: little is left of the {settings.timeout_ms:g} allowed.")
    return Diagnosis("ok", SUBJECT, told)
