"""What a person does in Prefect's UI, in a real browser: start the pipeline by the form, watch it, look, retry."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from flows.common.form import ESSENTIALS
from flows.common.settings import Settings
from samples.wiki.server import serve
from tests.e2e.ports import free_port
from tests.e2e.stack import Stack, Wiki

pytestmark = pytest.mark.e2e
SECOND = 1000.0
DESKTOP, PHONE, SCREEN = 1280, 390, 900  # px: widths, and a height


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """A browser whose user types the password when a page of the server asks for it."""
    user, _, password = stack.password.partition(":")
    context = browser.new_context(
        viewport={"width": DESKTOP, "height": SCREEN}, http_credentials={"username": user, "password": password}
    )
    opened = context.new_page()
    opened.set_default_timeout(300 * SECOND)  # a page does not say whether it moves
    yield opened
    context.close()


def enter(page: Page, stack: Stack, path: str) -> None:
    """Open a page of the UI, after giving it the password. It is the V2 interface that one comes to."""
    page.goto(stack.url)
    field = page.locator("input[type=password]")
    field.fill(stack.password)
    field.press("Enter")
    page.wait_for_url(lambda url: urlsplit(url).path == "/v2/dashboard")
    page.goto(f"{stack.url}/v2{path}")


def shoot(page: Page, folder: Path, name: str) -> None:
    """Screenshots to look at, as on a desktop and as on a telephone."""
    for width in (PHONE, DESKTOP):
        page.set_viewport_size({"width": width, "height": SCREEN})
        page.screenshot(path=str(folder / f"{name}-{width}.png"))


def asked_for(page: Page, name: str) -> Locator:
    """A field of the form that asks for one of the essentials."""
    _, title = ESSENTIALS[name]
    label = page.get_by_text(f"{title} (Optional)", exact=True)
    return page.locator(".group").filter(has=label).last.get_by_role("spinbutton" if name == "epochs" else "textbox")


def pictures_are_seen(page: Page) -> None:
    picture = page.locator("img[src^='data:']").first
    for width in (DESKTOP, PHONE):
        page.set_viewport_size({"width": width, "height": SCREEN})
        expect(picture).to_be_visible()
        assert picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") > 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing to scroll sideways
    page.set_viewport_size({"width": DESKTOP, "height": SCREEN})


def test_the_pipeline_run_is_started_by_the_form_and_its_pictures_are_seen(
    stack: Stack, wiki: Wiki, page: Page, tmp_path: Path
):
    deployment = stack.deployment("wikistyle/tiny")["id"]
    before = {run["id"] for run in stack.runs_of("wikistyle")}
    enter(page, stack, f"/deployments/deployment/{deployment}")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    expect(asked_for(page, "api_url").first).to_have_value(wiki.url)
    for name in ESSENTIALS:  # all are filled in and on the first screen
        box = asked_for(page, name).first.bounding_box()
        assert box
        assert box["y"] + box["height"] <= SCREEN, name
    expect(asked_for(page, "epochs").first).to_have_value("1")
    asked_for(page, "prompts").first.fill("a red house")
    shoot(page, tmp_path, "form")
    page.get_by_role("button", name="Submit").click()

    started = stack.until(lambda: {r["id"] for r in stack.runs_of("wikistyle")} - before, "the run that was asked for")
    run = stack.completed(started.pop())
    settings = Settings.model_validate(run["parameters"]["settings"])
    assert (settings.sample.prompts, settings.finetune.epochs) == (("a red house",), 1)
    page.goto(f"{stack.url}/v2/runs/flow-run/{run['id']}")
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
    shoot(page, tmp_path, "run")

    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("gallery", exact=True).first.wait_for()
    shoot(page, tmp_path, "artifacts")
    for key in ("pipeline-run", "films"):
        page.goto(f"{stack.url}/v2/artifacts/artifact/{artifact_of(stack, run['id'], key)}")
        pictures_are_seen(page)
        shoot(page, tmp_path, key)


def artifact_of(stack: Stack, run: str, key: str) -> str:
    """The id of an artifact of the run itself: not of a child run of it."""
    found = stack.post("/artifacts/filter", artifacts={"key": {"any_": [key]}, "flow_run_id": {"any_": [run]}})
    (artifact,) = found
    return artifact["id"]


def test_the_gallery_is_a_link_that_opens(stack: Stack, page: Page, tmp_path: Path):
    run = stack.completed(stack.start("wikistyle/tiny"))
    enter(page, stack, f"/artifacts/artifact/{artifact_of(stack, run['id'], 'gallery')}")
    page.get_by_role("link", name="The gallery").click()
    page.wait_for_url("**/gallery/index.html")
    pictures_are_seen(page)
    shoot(page, tmp_path, "gallery")
    assert page.evaluate("origin") == "null"  # what the UI keeps in the browser is not for it
    assert httpx.get(page.url).status_code == 401
    assert httpx.get(page.url, headers={"origin": "https://cats.example"}).status_code == 403


def test_nothing_is_advertised(stack: Stack, page: Page):
    assert stack.get("/admin/settings")["server"]["ui"]["show_promotional_content"] is False
    enter(page, stack, "/deployments")
    page.get_by_text("sample-pipeline", exact=True).wait_for()
    for words in ("Upgrade", "Ready to scale", "Join the community"):
        expect(page.get_by_text(words)).to_have_count(0)


def test_a_failed_run_is_retried_by_its_button(stack: Stack, wiki: Wiki, page: Page, tmp_path: Path):
    port = free_port()
    run = stack.start("collect/tiny", scrape={"api_url": f"http://127.0.0.1:{port}/api.php"})
    assert stack.wait(run)["state"]["type"] == "FAILED"
    enter(page, stack, f"/runs/flow-run/{run}")
    page.get_by_text("Failed", exact=True).first.wait_for()
    page.get_by_role("button", name="Open menu").click()
    page.get_by_role("menuitem", name="Retry").click()
    confirm = page.get_by_role("alertdialog").or_(page.get_by_role("dialog")).get_by_role("button", name="Retry")
    confirm.wait_for()
    page.screenshot(path=str(tmp_path / "retry.png"))
    with serve(port=port, wiki=wiki.content):
        confirm.click()
        stack.completed(run)
    assert stack.run(run)["run_count"] == 2
