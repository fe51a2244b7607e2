"""Who is let in to the server of one machine, and who is not."""

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from deployments.serve import OwnOriginOnly, refusal


@pytest.mark.parametrize("host", ["127.0.0.1:4200", "localhost:4200", "LOCALHOST:8080", "[::1]:4200", "localhost"])
def test_this_machines_names_are_let_in_with_pages_of_their_own(host):
    assert refusal(Headers({"host": host})) == (0, "")
    assert refusal(Headers({"host": host, "origin": f"http://{host}"})) == (0, "")


@pytest.mark.parametrize(
    "host",
    ["", "cats.example:4200", "127.0.0.1.cats.example", "localhost@cats.example", "192.168.0.7:4200", "[", "::1"],
)
def test_other_names_are_not(host):
    assert refusal(Headers({"host": host}))[0] == 421


@pytest.mark.parametrize(
    "origin",
    ["http://127.0.0.1:8000", "http://localhost:4200", "https://cats.example", "null", "", "http://[", "file://"],
)
def test_pages_of_other_origins_are_not(origin):
    assert refusal(Headers({"host": "127.0.0.1:4200", "origin": origin}))[0] == 403


async def _echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("in")
    await socket.close()


def test_websockets_are_judged_like_requests():
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("in")), WebSocketRoute("/socket", _echo)])
    client = TestClient(OwnOriginOnly(app), base_url="http://127.0.0.1:4200")
    assert client.get("/").text == "in"
    assert client.get("/", headers={"origin": "http://127.0.0.1:8000"}).status_code == 403
    with client.websocket_connect("/socket", headers={"host": "127.0.0.1:4200"}) as socket:
        assert socket.receive_text() == "in"
    other = {"host": "127.0.0.1:4200", "origin": "http://127.0.0.1:8000"}
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/socket", headers=other):
        pass
