"""The sample wiki's server as a browser meets it (the API is held to MediaWiki's own in the contract test)."""

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from selectolax.lexbor import LexborHTMLParser

from samples.wiki.server import serve


@pytest.fixture(scope="module")
def browser() -> Iterator[httpx.Client]:
    with serve() as wiki, httpx.Client(base_url=wiki.url) as client:
        yield client


def test_every_link_and_picture_of_front_category_and_file_page_works(browser):
    for start in ("/", "/wiki/Category:Site_files", "/wiki/Category:Animals", "/wiki/File:Koala.jpg"):
        page = browser.get(start)
        assert page.headers["Content-Type"].startswith("text/html")
        tree = LexborHTMLParser(page.text)
        addresses = {n.attributes["href"] for n in tree.css("a")} | {n.attributes["src"] for n in tree.css("img")}
        own = sorted(str(a) for a in addresses if str(a).startswith("/"))
        assert len(own) > 15
        assert {a: browser.head(a).status_code for a in own} == dict.fromkeys(own, 200)


def test_an_original_comes_whole_and_only_when_it_changed(browser):
    (link,) = LexborHTMLParser(browser.get("/wiki/File:Koala.jpg").text).css("div.fullImageLink a")
    address = link.attributes["href"]
    answer = browser.get(str(address))
    assert answer.headers["Content-Type"] == "image/png"  # by content, whatever its name
    assert answer.content.startswith(b"\x89PNG")
    again = browser.get(str(address), headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/wiki/Nobody", "/wiki/File:Nobody.png", "/images/0/00/Koala.jpg", "/images/x"])
def test_what_is_not_there_is_a_404(browser, path):
    assert browser.get(path).status_code == 404


def test_a_category_of_more_than_200_files_has_a_next_page(monkeypatch):
    monkeypatch.setattr("samples.wiki.pages.PER_PAGE", 10)
    with serve() as wiki, httpx.Client(base_url=wiki.url) as client:
        seen, address = 0, "/wiki/Category:Birds"
        while address:
            tree = LexborHTMLParser(client.get(address).text)
            seen += len(tree.css("li.gallerybox"))
            following = [a for a in tree.css("a") if a.text() == "next page"]
            address = str(following[0].attributes["href"]) if following else ""
    assert seen == 11


def test_the_command_serves_until_it_is_stopped():
    command = [sys.executable, "-m", "samples.wiki.server", "--port", "0", "--second-wave"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().split()[2]
            assert "398 files" in httpx.get(url).text
        finally:
            process.terminate()
