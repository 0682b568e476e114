"""The HTTP application as a Ray Serve deployment: one process, one model and one worker per replica.

``deploy/ray/serve.yaml`` refers to `build`. Only the functions called by Ray need the extra ``ray``; the replica itself
is a plain class. Each replica reads its settings from the file and environment of its node, so that no secret passes
through Ray's control store.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from runtime.core.errors import ConfigError
from runtime.liveness.open import LoadedModel
from service.app import AppComponents, components_of, create_app
from service.config.settings import Settings, read_settings
from service.liveness.loading import open_model
from service.process.logs import set_up_logging
from service.process.memory import keep_freed_memory

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application, Deployment

POLL_S = 0.02
FATAL = ("engine_failed", "engine_stuck")
"""Conditions that a new process can fix. Others, such as a full disk or a missing server, would affect the next replica
too."""
ONGOING = 4
"""Maximum number of requests per replica: one is being scored while the others are parsed, decoded or waiting."""


class Arguments(BaseModel):
    """``args`` of the application."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: Path | None = Field(default=None, description="Settings file on each node; default: ADSN_CONFIG there.")


class UserConfig(BaseModel):
    """``user_config`` of the deployment: what changes while replicas run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: Path | None = Field(default=None, description="Model folder on each node; default: the settings'.")


class BundleChoice:
    """Choice of the bundle that a replica loads. The first load waits for the choice."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known = threading.Event()
        self._bundle: Path | None = None

    def first(self) -> LoadedModel:
        """Wait for the choice, then load and return the first model."""
        self._known.wait()
        return open_model(self._settings, self._bundle)

    def settle(self, bundle: Path | None) -> Callable[[], LoadedModel] | None:
        """Choose ``bundle``. If a different one was chosen before, return a function that loads the new one, otherwise
        None."""
        if not self._known.is_set():
            self._bundle = bundle
            self._known.set()
            return None
        if bundle == self._bundle:
            return None

        def load() -> LoadedModel:
            loaded = open_model(self._settings, bundle)
            self._bundle = bundle
            return loaded

        return load

    def settle_if_open(self) -> None:
        """Choose the bundle in the settings if none has been chosen."""
        if not self._known.is_set():
            self.settle(None)


class Replica:
    """Methods of a replica that Ray calls, in addition to the routes of the application. Ray's ingress sets
    ``_asgi_app``."""

    _asgi_app: FastAPI

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Switch to the bundle in ``user_config`` once it has reproduced its golden vectors.

        Requests continue meanwhile. An exception, if the bundle cannot be loaded, makes Ray treat the roll-out as
        failed.
        """
        wanted = UserConfig.model_validate(user_config)
        load = self._choice.settle(wanted.bundle)
        if load is not None:
            await asyncio.to_thread(self._parts.model.replace, load)

    async def check_health(self) -> None:
        """Raise an exception if the replica must be replaced by a new process. Waits while the replica is starting."""
        self._choice.settle_if_open()
        model, vitals = self._parts.model, self._parts.vitals
        # Poll, because the loading thread sets these attributes and has no event loop.
        while model.loaded is None and model.failure is None:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        vitals.refresh()
        for condition in vitals.health.conditions:
            if condition.name in FATAL:
                raise RuntimeError(f"{condition.detail} {model.failure or ''}".rstrip())

    @property
    def _choice(self) -> BundleChoice:
        choice: BundleChoice = self._asgi_app.state.choice
        return choice

    @property
    def _parts(self) -> AppComponents:
        return components_of(self._asgi_app)


def replica_settings(arguments: Arguments, replica: str, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings for one replica on this node. ``replica``: name of the replica, which is recorded in its
    audit log.

    Raises:
        ConfigError: the settings are invalid, or request something that a replica behind Ray's proxy cannot provide.
    """
    settings = read_settings(
        arguments.config, environ=environ, options={"host": "127.0.0.1", "workers": 1, "profile": "throughput"}
    )
    if settings.api_key is None and settings.auth.keys is None:
        # The address on which Ray's proxies listen is not known here.
        raise ConfigError("a Ray Serve deployment always needs keys. Set ADSN_AUTH__KEYS or ADSN_API_KEY.")
    if settings.tls.certificate is not None:
        raise ConfigError(
            "[tls] is set, but Ray's proxies accept connections without TLS. Remove it, and terminate TLS before them."
        )
    if settings.rig.configured:
        raise ConfigError(
            "[rig] is set, but cameras belong to one process on one machine. Remove it; use adsn-kiosk for cameras."
        )
    if settings.audit.path is not None:
        path = settings.audit.path
        named = {"path": path.with_name(f"{path.stem}-{replica}{path.suffix}"), "replica": replica}
        own = settings.audit.model_copy(update=named)
        settings = settings.model_copy(update={"audit": own})
    return settings


def make_app(settings: Settings) -> FastAPI:
    """Return the application of one replica."""
    set_up_logging(settings.log)
    keep_freed_memory()
    choice = BundleChoice(settings)
    app = create_app(settings, choice.first)
    app.state.choice = choice
    return app


def deployment(arguments: Arguments) -> Deployment:
    """Return the deployment, not yet bound, so that its options can be set.

    Raises:
        ConfigError: Ray is not installed.
    """
    try:
        from ray import serve
    except ModuleNotFoundError as error:
        raise ConfigError("Ray Serve is not installed: pip install 'adsn[cpu,ray]'") from error

    # A function that Ray calls in each replica, because the application itself cannot be pickled.
    def application() -> FastAPI:
        return make_app(replica_settings(arguments, serve.get_replica_context().replica_id.unique_id))

    made: Deployment = serve.deployment(
        name="adsn",
        ray_actor_options={"num_cpus": 1},
        max_ongoing_requests=ONGOING,
        graceful_shutdown_timeout_s=15,
    )(serve.ingress(application)(Replica))
    return made


def build(args: dict[str, Any]) -> Application:
    """Return the application for ``import_path`` in Ray Serve's configuration. ``args``: see `Arguments`. Raises the
    same errors as `deployment`."""
    bound: Application = deployment(Arguments.model_validate(args)).bind()
    return bound
