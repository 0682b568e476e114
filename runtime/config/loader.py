"""Load the settings of a program from a TOML file, secrets, environment variables and command-line options.

A pydantic model validates the settings, and every mistake is reported with its file, line and key.

Precedence, lowest to highest: the model's defaults, the file, secrets, environment variables, options. Sections are
nested models. In the names of variables and secrets, section and key are separated by two underscores
(``ADSN_KIOSK_MQTT__HOST``). In names of secrets a dot works too (``mqtt.password``), as is usual for systemd
credentials.

pydantic-settings merges its sources before it validates them, so a mistake could not name its file and line, and it
ignores variables that name no setting. That is why this module reads the sources itself.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from runtime.config.toml_lines import KeyPath, key_lines
from runtime.core.errors import ConfigError
from runtime.core.file_names import files_in
from runtime.core.user_text import ENCODING, closest_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Model = TypeVar("Model", bound=BaseModel)
MAX_FILE_BYTES = 1 << 20
MAX_SECRET_BYTES = 64 << 10
log = logging.getLogger(__name__)
SCALARS = (str, int, float, bool, Path, SecretStr, type(None))


@dataclass(frozen=True, slots=True)
class EnvironmentPrefix:
    """Prefix of the environment variables that are settings.

    ``strict``: whether an unknown variable with this prefix is a mistake. If not, it is ignored, because it may be
    meant for a different program.
    """

    text: str
    strict: bool = True


@dataclass(frozen=True, slots=True)
class ConfigMistake:
    """One mistake in the settings. ``where``: a position such as ``kiosk.toml:12``, the name of a variable, or the file
    of a secret."""

    where: str
    key: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.message}" if self.key else f"{self.where}: {self.message}"


class InvalidConfig(ConfigError):
    """The settings have mistakes. The error lists all of them."""

    def __init__(self, mistakes: Sequence[ConfigMistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("these settings are wrong:\n" + "\n".join(f"  {mistake}" for mistake in self.mistakes))


def load_config(
    model: type[Model],
    path: Path | None = None,
    *,
    prefixes: Sequence[EnvironmentPrefix] = (),
    environ: Mapping[str, str] | None = None,
    secrets: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Model:
    """Return the settings, validated by ``model``.

    ``path``: TOML file. ``prefixes``: later ones take precedence over earlier ones. ``environ``: environment, by
    default ``os.environ``. ``secrets``: folder with one file for each secret, by default systemd's
    ``CREDENTIALS_DIRECTORY`` if set. ``options``: dotted key → value from the command line; None means not given.

    Raises:
        InvalidConfig: there are mistakes. The error lists each one with its file and line. ConfigError: the file cannot
            be read.
    """
    environ = os.environ if environ is None else environ
    if secrets is None and environ.get("CREDENTIALS_DIRECTORY"):
        secrets = Path(environ["CREDENTIALS_DIRECTORY"])
    draft = _Draft(model)
    if path is not None:
        draft.read_file(path)
    if secrets is not None:
        draft.read_secrets(secrets)
    for prefix in prefixes:
        draft.read_environment(prefix, environ)
    for dotted, value in (options or {}).items():
        if value is not None:
            draft.set(tuple(dotted.split(".")), value, "--" + dotted.rpartition(".")[2].replace("_", "-"))
    try:
        settings = model.model_validate(draft.data)
    except ValidationError as error:
        draft.mistakes += (draft.mistake(entry) for entry in error.errors(include_input=False, include_url=False))
    else:
        if not draft.mistakes:
            return settings
    raise InvalidConfig(sorted(draft.mistakes, key=lambda mistake: (mistake.line is None, mistake.line or 0)))


class _Draft:
    """Settings while they are collected: nested mappings, and the origin of each value."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model
        self.data: dict[str, Any] = {}
        self.origins: dict[KeyPath, str] = {}
        self.mistakes: list[ConfigMistake] = []
        self._file = "the settings"
        self._lines: dict[KeyPath, int] = {}

    def read_file(self, path: Path) -> None:
        self._file = str(path)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}. Name another file.") from error
        if len(content) > MAX_FILE_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; this is not a settings file.")
        try:
            text = content.decode(ENCODING).replace("\r\n", "\n")
            self.data = tomllib.loads(text)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise InvalidConfig([ConfigMistake(f"{path}:{line}", "", "not UTF-8 text.", line)]) from error
        except tomllib.TOMLDecodeError as error:
            message, _, place = str(error).partition(" (at line ")
            line = int(place.partition(",")[0]) if place else text.count("\n") + 1
            raise InvalidConfig([ConfigMistake(f"{path}:{line}", "", f"not valid TOML: {message}.", line)]) from error
        self._lines = key_lines(text)

    def read_secrets(self, folder: Path) -> None:
        known = list(_leaves(self.model))
        try:
            files = [entry for entry in files_in(folder) if entry.is_file()]
        except OSError as error:
            raise ConfigError(f"{folder}: the secrets cannot be read: {error.strerror}.") from error
        for file in files:
            keys = tuple(file.name.lower().replace("__", ".").split("."))
            if keys not in known:
                # Folders of secrets also contain key files and certificates, so an unknown name is a mistake only if it
                # resembles the name of a setting.
                near = closest_name(".".join(keys), [".".join(path) for path in known], cutoff=0.85)
                if near:
                    self.mistakes.append(ConfigMistake(str(file), file.name, f"there is no such setting; {near}"))
                continue
            with file.open("rb") as stream:
                value = stream.read(MAX_SECRET_BYTES).decode(ENCODING, "replace").strip("\r\n")
            self.set_text(keys, value, str(file))

    def read_environment(self, prefix: EnvironmentPrefix, environ: Mapping[str, str]) -> None:
        known = list(_leaves(self.model))
        for name in sorted(environ):
            if not name.startswith(prefix.text):
                continue
            keys = tuple(name[len(prefix.text) :].lower().split("__"))
            if keys in known:
                self.set_text(keys, self._secret(keys, environ[name], name), name)
            elif prefix.strict:
                names = [prefix.text + "__".join(path).upper() for path in known]
                near = closest_name(name, names) or "see --print-config."
                self.mistakes.append(ConfigMistake(name, "", f"there is no such setting; {near}"))

    def _secret(self, keys: tuple[str, ...], text: str, name: str) -> str:
        """Return the text of a variable or a secret. The line break at the end of a secret is removed, because editors
        and ``echo`` add one."""
        if SecretStr not in _members(_annotation(self.model, keys)) or not text.endswith(("\r", "\n")):
            return text
        log.warning("%s ends in a line break, which is taken for no part of it.", name)
        return text.rstrip("\r\n")

    def set_text(self, keys: tuple[str, ...], text: str, origin: str) -> None:
        """Set a value given as text. Numbers and booleans are parsed by the model later; lists and tables are parsed as
        JSON here."""
        value: Any = text
        if not _is_scalar(_annotation(self.model, keys)):
            try:
                value = json.loads(text)
            except ValueError:
                self.mistakes.append(ConfigMistake(origin, "", 'give this as JSON, e.g. ["one", "two"].'))
                return
        self.set(keys, value, origin)

    def set(self, keys: tuple[str, ...], value: Any, origin: str) -> None:
        table = self.data
        for key in keys[:-1]:
            inner = table.get(key)
            if not isinstance(inner, dict):
                inner = table[key] = {}
            table = inner
        table[keys[-1]] = value
        self.origins[keys] = origin

    def mistake(self, entry: ErrorDetails) -> ConfigMistake:
        """Convert an error from pydantic to a readable mistake."""
        path, models = self._walk(entry["loc"])
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        message = entry["msg"].removeprefix("Value error, ")
        if entry["type"] == "extra_forbidden":
            fields = [name for model in models for name in model.model_fields]
            message = "there is no such setting; " + (
                closest_name(str(path[-1]), fields) or f"the settings are {', '.join(fields)}."
            )
        elif entry["type"] == "missing":
            message = "is required but not set."
        where, line = self._origin(path)
        return ConfigMistake(where, key, message, line)

    def _walk(self, loc: tuple[int | str, ...]) -> tuple[KeyPath, list[type[BaseModel]]]:
        """Return the location from pydantic without the names of union members, and the models of its section."""
        path: KeyPath = ()
        value: Any = self.data
        inner: list[type[BaseModel]] = [self.model]
        models = inner
        for part in loc:
            if isinstance(part, int):
                if isinstance(value, list) and part < len(value):
                    path, value = (*path, part), value[part]
                continue
            fields = [model.model_fields[part] for model in inner if part in model.model_fields]
            if fields or (isinstance(value, dict) and part in value):
                path, models = (*path, part), inner
                inner = [model for field in fields for model in _models(field.annotation)]
                value = value.get(part) if isinstance(value, dict) else None
        return path, models

    def _origin(self, path: KeyPath) -> tuple[str, int | None]:
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]], None
            if path[:length] in self._lines:
                line = self._lines[path[:length]]
                return f"{self._file}:{line}", line
        return self._file, None


def _members(annotation: Any) -> Iterator[Any]:
    """Yield the members of a union, or a type that is not a union. Annotated aliases are unwrapped."""
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _members(member)
    elif origin is typing.Annotated:
        yield from _members(typing.get_args(annotation)[0])
    else:
        yield annotation


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that may be the type of a field or of the elements of its list."""
    matches: list[type[BaseModel]] = []
    for member in _members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            matches.append(member)
        elif typing.get_origin(member) in (list, tuple):
            matches += [model for argument in typing.get_args(member) for model in _models(argument)]
    return matches


def section_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a field that is a section, or None for other fields."""
    for member in _members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return None


def _is_scalar(annotation: Any) -> bool:
    return all(
        typing.get_origin(member) is Literal or (isinstance(member, type) and issubclass(member, SCALARS))
        for member in _members(annotation)
    )


def _leaves(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the key paths of all settings that are not sections."""
    for name, field in model.model_fields.items():
        inner = section_model(field.annotation)
        if inner is None:
            yield (*above, name)
        else:
            yield from _leaves(inner, (*above, name))


def _annotation(model: type[BaseModel], keys: tuple[str, ...]) -> Any:
    field = model.model_fields[keys[0]]
    inner = section_model(field.annotation)
    return field.annotation if inner is None or len(keys) == 1 else _annotation(inner, keys[1:])
