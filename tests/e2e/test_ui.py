"""What a person does in Prefect's UI, in a real browser: start the pipeline by the form, watch it, look, retry."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from samples.wiki.server import serve
from tests.e2e.ports import free_port
from tests.e2e.stack import Stack, Wiki

pytestmark = pytest.mark.e2e
SECOND = 1000.0
DESKTOP, PHONE = 1280, 390  # px


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": DESKTOP, "height": 900})
    opened.set_default_timeout(300 * SECOND)  # a page does not say whether it moves
    yield opened
    opened.close()


def enter(page: Page, stack: Stack, path: str) -> None:
    """Open a page of the UI, after giving it the password."""
    page.goto(f"{stack.url}/login?redirect={path}")
    field = page.locator("input[type=password]")
    field.fill(stack.password)
    field.press("Enter")
    page.wait_for_url(lambda url: urlsplit(url).path.endswith(path))
    page.reload()  # without the UI's messages of what it could not do before


def shoot(page: Page, folder: Path, name: str) -> None:
    """Screenshots to look at, as on a desktop and as on a telephone."""
    for width in (PHONE, DESKTOP):
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=str(folder / f"{name}-{width}.png"))


def test_the_pipeline_run_is_started_by_the_form_and_its_pictures_are_seen(stack: Stack, page: Page, tmp_path: Path):
    deployment = stack.deployment("wikistyle/tiny")["id"]
    enter(page, stack, f"/deployments/deployment/{deployment}")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    prompts = page.locator(".schema-form-property").filter(has=page.get_by_text("Prompts (Optional)", exact=True)).last
    prompts.get_by_role("textbox").first.fill("a red house")
    shoot(page, tmp_path, "form")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("View run").last.click()

    page.wait_for_url("**/runs/flow-run/*")
    run = stack.completed(page.url.split("/")[-1].partition("?")[0])
    expect(page.locator(".page-heading").get_by_text("Completed")).to_be_visible()
    assert (run["state"]["type"], run["parameters"]["settings"]["sample"]["prompts"]) == ("COMPLETED", ["a red house"])
    shoot(page, tmp_path, "run")

    page.locator(".p-tab").get_by_text("Artifacts", exact=True).click()
    page.locator(".p-tabs").get_by_text("pipeline-run", exact=True).click()
    picture = page.locator("article img").first
    for width in (DESKTOP, PHONE):
        page.set_viewport_size({"width": width, "height": 900})
        expect(picture).to_be_visible()
        assert picture.evaluate("picture => picture.complete && picture.naturalWidth > 0")
        assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing to scroll sideways
    shoot(page, tmp_path, "pipeline-run")


def test_a_failed_run_is_retried_by_its_button(stack: Stack, wiki: Wiki, page: Page, tmp_path: Path):
    port = free_port()
    run = stack.start("collect/tiny", scrape={"api_url": f"http://127.0.0.1:{port}/api.php"})
    assert stack.wait(run)["state"]["type"] == "FAILED"
    enter(page, stack, f"/runs/flow-run/{run}")
    page.get_by_role("button", name="Retry").click()
    confirm = page.locator(".p-modal").get_by_role("button", name="Retry")
    confirm.wait_for()
    page.screenshot(path=str(tmp_path / "retry.png"))
    with serve(port=port, wiki=wiki.content):
        confirm.click()
        stack.completed(run)
    assert stack.run(run)["run_count"] == 2
