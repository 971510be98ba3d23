"""What Autobahn's suite talks to: an application that sends back what it gets, on the servers that we run on.

``python -m tests.adversaries.echo --server uvicorn --port 9001``; ends with SIGTERM.
"""

import argparse
import os
from collections.abc import Awaitable, Callable
from typing import Any

import django
import uvicorn
from daphne.server import Server as Daphne

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "quickim.settings")
django.setup()

# Only now: these import models, which need the apps that the line above has set up.
from gateway.server.frames import FramesProtocol  # noqa: E402
from gateway.wire import websocket_frame  # noqa: E402

MAX_BYTES = 32 * 1024 * 1024
"""The suite sends up to 16 MiB."""

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def echo(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """One WebSocket; text goes back over our own frames where the server offers them."""
    if scope["type"] != "websocket":
        return
    writer = (scope.get("extensions") or {}).get("quickim.frames")
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        text = event.get("text")
        if text is not None and writer is not None:
            writer.write(websocket_frame(text.encode()))
        else:
            await send({"type": "websocket.send", "text": text, "bytes": event.get("bytes")})


def main() -> None:
    """Serve until the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=["uvicorn", "daphne"], default="uvicorn")
    parser.add_argument("--port", type=int, default=9001)
    arguments = parser.parse_args()
    if arguments.server == "daphne":
        Daphne(echo, endpoints=[f"tcp:port={arguments.port}:interface=127.0.0.1"]).run()
        return
    config = uvicorn.Config(
        echo,
        port=arguments.port,
        ws=FramesProtocol,
        ws_per_message_deflate=False,
        ws_max_size=MAX_BYTES,
        loop="uvloop",
        lifespan="off",
        log_level="warning",
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
