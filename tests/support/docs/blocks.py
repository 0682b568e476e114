"""All blocks in README and docs, and the mistakes in a block of settings."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from tests.support.docs.pages import PAGES, Block, blocks_of

READ = [page for page in PAGES if page.startswith(("docs/", "examples/")) or page in ("README.md", "CONTRIBUTING.md")]
BLOCKS = [block for page in READ for block in blocks_of(page)]


def ids(block: Block) -> str:
    """Return the location of a block, which is the name of its test."""
    return block.where


def mistakes(model: type[BaseModel], values: dict[str, object]) -> list[str]:
    """Return the mistakes in a part of a settings file. Missing entries, and … in place of a value, are not
    mistakes."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        wrong = [e for e in error.errors() if e["type"] != "missing" and "…" not in str(e["input"])]
        return [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in wrong]
    return []
