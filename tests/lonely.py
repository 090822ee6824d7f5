"""One session with the fake heavy side, server and client on the same machine; prints how long the answer took and how many driven frames came back.

For a machine without a network: `python -m tests.lonely [FLAGS OF THE SERVER]…`
"""

from __future__ import annotations

import asyncio
import json
import sys

from realtime.flags import read_config
from tests.serving import client, serving


async def main() -> None:
    async with serving(config=read_config(["--size", "256", *sys.argv[1:]], {})) as server:
        report = await client(server.url, "--seconds", "3")
    print(json.dumps({"answer_ms": report["answer_ms"], "frames": len([stamp for _, _, stamp, _ in report["received"] if stamp is not None])}))


if __name__ == "__main__":
    asyncio.run(main())
