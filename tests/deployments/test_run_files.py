"""The runs' folder as the server of `wikistyle up` gives it: nothing beyond it, nothing without the password."""

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from deployments.run_files import PATH, WithRuns
from deployments.serve import OwnOriginOnly

PASSWORD = "wikistyle:secret"
PAGE = f"{PATH}/first/gallery/index.html"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "runs" / "first" / "gallery").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "gallery" / "index.html").write_text("<p>pictures")
    (tmp_path / "password").write_text("out of bounds")
    (tmp_path / "runs-of-others").mkdir()
    (tmp_path / "runs-of-others" / "file").write_text("out of bounds")
    return tmp_path / "runs"


def client(runs: Path, password: str = PASSWORD) -> TestClient:
    app = Starlette(routes=[Route("/{rest:path}", lambda request: PlainTextResponse("the UI"))])
    return TestClient(OwnOriginOnly(WithRuns(app, runs, password)), base_url="http://127.0.0.1:4200")


def test_a_browser_is_asked_for_the_servers_password_and_then_shown_the_page(runs):
    asked = client(runs).get(PAGE)
    assert (asked.status_code, asked.headers["www-authenticate"]) == (401, 'Basic realm="wikistyle"')
    assert "pictures" not in asked.text
    assert client(runs).get(PAGE, auth=("wikistyle", "wrong")).status_code == 401
    assert client(runs).get(PAGE, headers={b"authorization": "Basic é".encode()}).status_code == 401
    shown = client(runs).get(PAGE, auth=("wikistyle", "secret"))
    assert (shown.status_code, shown.text) == (200, "<p>pictures")
    assert client(runs, "").get(PAGE).status_code == 200  # --no-password


def test_a_page_of_a_run_is_no_page_of_the_ui(runs):
    """It has an origin of its own: what the UI keeps in the browser, and what it may do, is not for it."""
    policy = client(runs, "").get(PAGE).headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts ")
    assert "allow-same-origin" not in policy


def test_other_origins_and_names_are_refused_here_too(runs):
    assert client(runs, "").get(PAGE, headers={"origin": "https://cats.example"}).status_code == 403
    assert client(runs, "").get(PAGE, headers={"host": "cats.example"}).status_code == 421


@pytest.mark.parametrize(
    "path",
    [
        "/../password", "/%2e%2e/password", "/first/..%2f..%2fpassword", "/first/gallery/../../../password",
        "//password", "/%2fetc/passwd", "/..%5cpassword", "/../runs-of-others/file", "/out", "/folder/password",
        "/first", "/", "/first/gallery/", "/%00", "/first/gallery/index.html/x",
    ],
)  # fmt: skip
def test_nothing_beyond_the_folder_is_given_nor_a_list_of_it(runs, path):
    (runs / "out").symlink_to(runs.parent / "password")
    (runs / "folder").symlink_to(runs.parent)
    answer = client(runs, "").get(f"http://127.0.0.1:4200{PATH}{path}", follow_redirects=False)
    assert "out of bounds" not in answer.text
    assert answer.status_code == 404 or answer.text == "the UI"  # a path that a client shortens is another one


def test_a_link_within_the_folder_is_followed(runs):
    (runs / "latest").symlink_to("first")
    assert client(runs, "").get(f"{PATH}/latest/gallery/index.html").text == "<p>pictures"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_is_for_reading(runs, method):
    assert client(runs, "").request(method, PAGE).status_code == 405
    assert (runs / "first" / "gallery" / "index.html").read_text() == "<p>pictures"


def test_everything_else_is_the_servers(runs):
    assert client(runs).get("/runs").text == "the UI"
    assert client(runs).get(f"{PATH}-of-others/file").text == "the UI"
