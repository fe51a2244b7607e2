"""The Prefect server for this machine alone: `python -m deployments.serve --port N`, which `wikistyle up` starts.

`prefect server start` answers whoever reaches its port, by whatever name: any web page that a browser on this machine
shows can open its websockets, and, by letting a name of its own point to 127.0.0.1, use all of it as if it were the UI.
This one lets in what comes under one of this machine's names, and, from a web page, only from its own.
"""

import argparse
import os
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.access import SERVER
from deployments.run_files import WithRuns
from tasks.common.environment import environment

HERE = ("127.0.0.1", "localhost", "::1")


class OwnOriginOnly:
    """An ASGI app around another that answers other names (421) and other origins (403) itself, websockets included."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, reason = refusal(Headers(scope=scope)) if scope["type"] in ("http", "websocket") else (0, "")
        if not status:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await PlainTextResponse(reason, status)(scope, receive, send)
        else:
            await receive()  # its opening, which is then answered with 403
            await send({"type": "websocket.close", "code": 1008})


def refusal(headers: Headers) -> tuple[int, str]:
    """(HTTP status, reason) for which a request is not let in; (0, "") when it is."""
    host, origin = headers.get("host", "").lower(), headers.get("origin")
    if _part(f"//{host}", "hostname") not in HERE:
        return 421, f"this server is for this machine alone; open it as http://{HERE[0]}\n"
    if origin is not None and _part(origin.lower(), "netloc") != host:
        return 403, f"pages of {origin} may not use this server\n"
    return 0, ""


def _part(url: str, part: str) -> str | None:
    try:
        return getattr(urlsplit(url), part)
    except ValueError:
        return None


def main() -> None:
    """As `prefect server start` does it, on 127.0.0.1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port

    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    server, runs = get_current_settings().server, environment().runs
    runs.mkdir(parents=True, exist_ok=True)
    uvicorn.run(
        OwnOriginOnly(WithRuns(create_app(final=True), runs, os.environ.get(SERVER, ""))),
        host=HERE[0],
        port=port,
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
        log_level=server.logging_level.lower(),
    )


if __name__ == "__main__":
    main()
