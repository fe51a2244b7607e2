"""Names of originals from gallery HTML as MediaWiki and Fandom write it."""

import pytest

from samples.wiki.content import SampleWiki
from samples.wiki.pages import page
from tasks.scrape.gallery import file_names, name_in_address

PIXEL = "data:image/gif;base64,R0lGODlhAQABAIABAAAAAP///yH5BAEAAAEALAAAAAABAAEAQAICTAEAOw%3D%3D"


def test_the_sample_wikis_category_pages():
    wiki = SampleWiki()
    for category in ("Category:Birds", "Category:Site files"):
        names = file_names(page(wiki, category) or "")
        assert names == [f.title.removeprefix("File:") for f in wiki.files_in(category)]


def test_lazy_images_text_links_and_chrome():
    html = f"""
    <img src="/resources/assets/a/ab/wiki.png"><ul class="gallery">
    <li class="gallerybox"><a class="image" href="/wiki/File:A.png"><img src="{PIXEL}"
      data-src="/images/thumb/0/0f/Homer_(1).png/120px-Homer_(1).png"></a>
      <p>with <a href="/wiki/Marge">Marge</a></p></li>
    <li class="gallerybox"><img src="/images/1/1a/Homer_%28small%29.gif"></li>
    <li class="gallerybox"><a class="image" href="/wiki/Datei:Kein_Bild.pdf">
      <img src="/resources/icons/file.png"></a></li>
    <li class="gallerybox"><div class="thumb">Missing.png</div></li>
    <li class="gallerybox"><img src="/images/1/1a/Homer_%28small%29.gif"></li></ul>
    """
    assert file_names(html) == ["Homer (1).png", "Homer (small).gif", "Kein Bild.pdf"]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/images/thumb/a/ab/Name.svg/120px-Name.svg.png", "Name.svg"),
        ("https://w.example/images/a/ab/%C3%91and%C3%BA.png?1a2b3", "Ñandú.png"),
        ("https://static.w.example/show/images/a/ab/N.png/revision/latest/scale-to-width-down/185?cb=2024", "N.png"),
        ("/skins/Vector/images/search.svg", None),
        ("/images/thumb/a/xb/Name.svg/120px-Name.svg.png", None),
    ],
)
def test_addresses(address, name):
    assert name_in_address(address) == name
