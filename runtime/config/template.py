"""Generate a commented settings file from a pydantic model: every key with its description, limits and default.

All keys are commented out, so that the file keeps following the defaults of later versions.
"""

from __future__ import annotations

import json
import textwrap
import types
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from runtime.config.loader import section_model

WIDTH = 100
LIMITS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}


def config_text(model: type[BaseModel], title: str) -> str:
    """Return the text of the settings file. Users set a key by removing the ``#`` before it."""
    lines = [*_comment(title), *_comment("Keys are shown with their defaults. Remove the # before one to set it."), ""]
    lines += _body(model, (), optional=False)
    return "\n".join(lines).rstrip() + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH - 2, break_on_hyphens=False)]


def _body(model: type[BaseModel], path: tuple[str, ...], optional: bool) -> Iterator[str]:
    """Yield the lines of a section. Plain keys come first and then sections, as TOML requires."""
    sections: list[tuple[str, FieldInfo, type[BaseModel], bool]] = []
    for name, field in model.model_fields.items():
        inner = section_model(field.annotation)
        kind = inner or _listed(field.annotation)
        if kind is not None:
            sections.append((name, field, kind, inner is None))
            continue
        yield from _comment(_describe(field))
        yield f"#{name} = {_value(field)}"
        yield ""
    for name, field, kind, many in sections:
        below = (*path, name)
        # The header of a section that is off by default is commented out too: writing the header switches the section
        # on.
        off = optional or many or (field.default is None and not field.is_required())
        header = f"[[{'.'.join(below)}]]" if many else f"[{'.'.join(below)}]"
        yield from _comment(field.description or kind.__doc__ or name)
        if off and not optional:
            yield from _comment("Disabled unless this section is present.")
        yield ("#" if off else "") + header
        yield from _body(kind, below, off)


def _listed(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a field that is a list of sections."""
    if typing.get_origin(annotation) in (list, tuple):
        return section_model(typing.get_args(annotation)[0])
    return None


def _describe(field: FieldInfo) -> str:
    notes = []
    choices = [c for m in _flat(field.annotation) if typing.get_origin(m) is Literal for c in typing.get_args(m)]
    if choices:
        notes.append("one of " + ", ".join(map(str, choices)))
    for entry in field.metadata:
        for name, phrase in LIMITS.items():
            limit = getattr(entry, name, None)
            if limit is not None:
                notes.append(phrase.format(limit))
    if field.is_required():
        notes.append("needed")
    elif _default(field) is None:
        notes.append("not set by default")
    text = (field.description or "").strip()
    return f"{text} ({'; '.join(notes)})" if notes else text or "(no description)"


def _flat(annotation: Any) -> Iterator[Any]:
    if typing.get_origin(annotation) in (Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _flat(member)
    else:
        yield annotation


def _default(field: FieldInfo) -> Any:
    if field.default_factory is not None:
        return field.default_factory()  # type: ignore[call-arg]  # no factory in this project uses other fields
    return None if field.default is PydanticUndefined else field.default


def _value(field: FieldInfo) -> str:
    value = _default(field)
    if value is None:
        value = field.examples[0] if field.examples else _placeholder(field.annotation)
    return toml_value(value)


def _placeholder(annotation: Any) -> Any:
    for member in _flat(annotation):
        if isinstance(member, type) and issubclass(member, bool):
            return False
        if isinstance(member, type) and issubclass(member, (int, float)):
            return 0
        if typing.get_origin(member) in (list, tuple):
            return []
    return ""


def toml_value(value: Any) -> str:
    """Return ``value`` in TOML syntax. Secrets are never written."""
    if isinstance(value, SecretStr):
        return '""'
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(entry) for entry in value) + "]"
    if isinstance(value, (str, Path)):
        # The escape sequences of JSON are a subset of those of TOML.
        return json.dumps(str(value), ensure_ascii=False)
    raise TypeError(f"{type(value).__name__} has no TOML form here.")
