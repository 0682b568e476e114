"""All blocks of README and docs, and what is wrong with a block of settings."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from tests.support.docs.pages import PAGES, Block, blocks_of

READ = [page for page in PAGES if page.startswith("docs/") or page in ("README.md", "CONTRIBUTING.md")]
BLOCKS = [block for page in READ for block in blocks_of(page)]


def ids(block: Block) -> str:
    """Return a block's place, the name of its test."""
    return block.where


def mistakes(model: type[BaseModel], values: dict[str, object]) -> list[str]:
    """What is wrong with a part of a file; that the rest is missing is not, nor that … stands for a value."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        wrong = [e for e in error.errors() if e["type"] != "missing" and "…" not in str(e["input"])]
        return [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in wrong]
    return []
