"""Ask a service for many answers at once, and say what came: for any number of replicas behind one address."""

from __future__ import annotations

import argparse
import time
from collections import Counter

import anyio

from adsn.client import AsyncClient, ClientError


async def ask(options: argparse.Namespace, counts: Counter[str]) -> None:
    """Send ``options.requests`` requests over ``options.clients`` tasks and count what they bring."""
    left = iter(range(options.requests))

    async def work(client: AsyncClient) -> None:
        for _ in left:
            try:
                answer = await client.assess(options.rgb, options.ir)
            except ClientError as error:
                counts[error.code] += 1
            else:
                counts[answer.decision] += 1

    async with AsyncClient(options.url, api_key=options.key, retries=4) as client, anyio.create_task_group() as tasks:
        for _ in range(options.clients):
            tasks.start_soon(work, client)


def main() -> None:
    """Parse the options, ask, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rgb")
    parser.add_argument("ir")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--key")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    began = time.monotonic()
    anyio.run(ask, options, counts)
    seconds = time.monotonic() - began
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())), f"in {seconds:.1f} s")


if __name__ == "__main__":
    main()
