"""All blocks of README and docs, and the errors in a block of settings."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from tests.support.docs.pages import PAGES, Block, blocks_of

READ = [page for page in PAGES if page.startswith(("docs/", "examples/")) or page in ("README.md", "CONTRIBUTING.md")]
BLOCKS = [block for page in READ for block in blocks_of(page)]


def ids(block: Block) -> str:
    """Return a block's location, which is the name of its test."""
    return block.where


def mistakes(model: type[BaseModel], values: dict[str, object]) -> list[str]:
    """Return the errors in a part of a file; missing entries, and … in place of a value, do not count."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        wrong = [e for e in error.errors() if e["type"] != "missing" and "…" not in str(e["input"])]
        return [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in wrong]
    return []
