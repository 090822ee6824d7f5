"""One session with the fake heavy side, server and client on the same machine; prints how many driven frames came back. For a machine without a network."""

from __future__ import annotations

import asyncio

from tests.serving import client, serving


async def main() -> None:
    async with serving() as server:
        report = await client(server.url, "--seconds", "3")
    print(len([stamp for _, _, stamp, _ in report["received"] if stamp is not None]))


if __name__ == "__main__":
    asyncio.run(main())
