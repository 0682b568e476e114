"""Write the sample response in README.md: the response of the shipped model to the sample pair, shortened.

Run ``python -m docs.make.answer`` after a change of the weights. The test that compares the sample with a running
service uses `shortened` too.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import httpx

from docs.make.serving import serving
from runtime.cli.rig.sample import sample

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"(<!-- printed[^>]*-->\n```json\n)(.*?)(```\n)", re.DOTALL)


def shortened(shape: Any, answer: Any) -> Any:
    """Return the part of ``answer`` that is in ``shape``: the same keys, and of lists the objects with the same names.

    Raises:
        KeyError: ``answer`` lacks a key or an object.
    """
    if isinstance(shape, dict):
        return {key: shortened(value, answer[key]) for key, value in shape.items()}
    if isinstance(shape, list) and shape and isinstance(shape[0], dict):
        by_name = {one["name"]: one for one in answer}
        return [shortened(one, by_name[one["name"]]) for one in shape]
    return answer


def rounded(value: Any) -> Any:
    """Return a JSON value with its numbers rounded, for people."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return round(value, 1 if abs(value) >= 10 else 2) if isinstance(value, float) else value


def lines(answer: dict[str, Any]) -> str:
    """Return JSON text with one line for each member of the answer."""
    members = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in answer.items()]
    return "{\n" + ",\n".join(members) + "\n}\n"


def sample_answer(folder: Path) -> dict[str, Any]:
    """Return the complete response to README.md's sample pair, which is made in ``folder``."""
    sample(folder, species=["bona_fide"])
    names = {"rgb": "bona_fide-0-rgb.jpg", "ir": "bona_fide-0-ir.png"}
    with serving() as address:
        files = {part: (folder / name).read_bytes() for part, name in names.items()}
        response = httpx.post(f"{address}/liveness", files=files, timeout=60)
    answer: dict[str, Any] = response.raise_for_status().json()
    return answer


def main() -> None:
    """Write the response into README.md."""
    text = README.read_text(encoding="utf-8")
    found = BLOCK.search(text)
    if found is None:
        raise SystemExit(f"error: {README} has no JSON block that is marked as printed.")
    with tempfile.TemporaryDirectory() as folder:
        answer = sample_answer(Path(folder))
    block = lines(rounded(shortened(json.loads(found[2]), answer)))
    README.write_text(text[: found.start(2)] + block + text[found.end(2) :], encoding="utf-8")


if __name__ == "__main__":
    main()
