"""The runs' folder as pages of the server of `wikistyle up`, so that the UI can link to a run's gallery.

For reading alone, under the server's password, which a browser asks for once. What a link of the folder points to
outside of it is not there. The files are no pages of the UI: they may not use what the UI may, its password least.
"""

import base64
import os
import secrets

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/wikistyle/runs"
HEADERS = {
    # An origin of their own: a page that a wiki's captions or names got a script into could else act as the UI does.
    "Content-Security-Policy": "sandbox allow-scripts allow-downloads allow-popups; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class RunFiles(StaticFiles):
    """Files under a folder, with HEADERS; those that links lead out of it to are not found."""

    def file_response(self, *arguments: object, **named: object) -> Response:
        response = super().file_response(*arguments, **named)  # type: ignore[arg-type]
        response.headers.update(HEADERS)
        return response

    async def get_response(self, path: str, scope: Scope) -> Response:
        if "\0" in path:
            raise HTTPException(404)
        return await super().get_response(path, scope)


class WithRuns:
    """An ASGI app around another that answers below PATH itself. `password`: `user:password`; empty: none is asked."""

    def __init__(self, app: ASGIApp, folder: str | os.PathLike[str], password: str):
        self.app = app
        self.files = Starlette(routes=[Mount(PATH, RunFiles(directory=folder))])
        self.expected = f"Basic {base64.b64encode(password.encode()).decode()}" if password else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(f"{PATH}/"):
            await self.app(scope, receive, send)
        elif self.expected and not self._known(Headers(scope=scope).get("authorization", "")):
            asked = {"WWW-Authenticate": 'Basic realm="wikistyle"'}
            await PlainTextResponse("user and password, please\n", 401, asked)(scope, receive, send)
        else:
            await self.files(scope, receive, send)

    def _known(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.expected.encode())
