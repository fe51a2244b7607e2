"""The sample wiki as a person sees it: front page, category galleries and file pages in MediaWiki's HTML structure."""

from html import escape
from urllib.parse import quote

from samples.wiki.content import SampleWiki, WikiFile, underscored

PER_PAGE = 200
STYLE = """
body{margin:0;background:#f6f6f6;color:#202122;font:15px/1.6 sans-serif}
#mw-panel{float:left;width:11em;padding:1.5em 1em}#mw-panel ul{list-style:none;padding:0;font-size:13px}
#content{margin-left:12.5em;min-height:100vh;padding:1.2em 2em 3em;background:#fff;border-left:1px solid #a7d7f9}
h1,h2{font-family:'Linux Libertine',Georgia,serif;font-weight:normal;border-bottom:1px solid #a2a9b1;margin:.2em 0 .5em}
a{color:#0645ad;text-decoration:none}a:hover{text-decoration:underline}
ul.gallery{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:6px}
.gallerybox{text-align:center;font-size:12px;line-height:1.35}
.gallerybox .thumb{display:flex;align-items:center;justify-content:center;height:150px;border:1px solid #c8ccd1;
background:#f8f9fa}
.gallerytext{padding:2px 4px 6px;overflow-wrap:anywhere}
.catlinks,.licence{border:1px solid #a2a9b1;background:#f8f9fa;padding:5px 10px;margin-top:1.5em;font-size:13px}
.fullImageLink img{max-width:100%;height:auto;background:#fff}
table.filehistory{border-collapse:collapse;font-size:13px}.filehistory td,.filehistory th{border:1px solid #a2a9b1;
padding:4px 10px}
"""


def _link(title: str, text: str | None = None) -> str:
    address = f"/wiki/{quote(underscored(title), safe='/:')}"
    return f'<a href="{address}" title="{escape(title)}">{escape(text or title)}</a>'


def page(wiki: SampleWiki, title: str, start: str = "") -> str | None:
    """The HTML of a page by its title, or None where the wiki has none. `start` is a category's next file."""
    if title in ("", "Main Page"):
        return _frame(wiki, wiki.site["name"], _front(wiki))
    if title in wiki.parents:
        return _frame(wiki, title, _category(wiki, title, start))
    file = wiki.by_name.get(underscored(title.removeprefix("File:"))) if title.startswith("File:") else None
    return _frame(wiki, title, _file(wiki, file)) if file else None


def _frame(wiki: SampleWiki, heading: str, body: str) -> str:
    menu = "".join(f"<li>{_link(name, name.removeprefix('Category:'))}</li>" for name in sorted(wiki.parents))
    return (
        f'<!DOCTYPE html>\n<html class="client-nojs" lang="en" dir="ltr">\n<head><meta charset="UTF-8">'
        f'<title>{escape(heading)}</title><meta name="generator" content="MediaWiki 1.39.0 (sample)">'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f'<body class="mediawiki ltr sitedir-ltr skin-vector"><div id="mw-panel">'
        f'<a class="mw-wiki-logo" href="/"><img src="/resources/assets/wiki.svg" width="120" height="120" alt="Home">'
        f"</a><ul>{menu}</ul></div>\n"
        f'<div id="content" class="mw-body" role="main"><h1 id="firstHeading" class="firstHeading">{escape(heading)}'
        f'</h1>\n<div id="mw-content-text" class="mw-body-content"><div class="mw-parser-output">\n{body}\n</div></div>'
        f'\n<p id="footer-info-copyright">Content is available under <a href="{wiki.site["rights_url"]}">'
        f"{escape(wiki.site['rights_text'])}</a>. {escape(wiki.site['credit'])}</p></div></body></html>\n"
    )


def _front(wiki: SampleWiki) -> str:
    newest = sorted(wiki.files, key=lambda f: (f.row["timestamp"], f.name), reverse=True)[:16]
    return (
        f"<p>A small wiki of <b>{len(wiki.files)} files</b>: flat colours, black outlines, yellow people. It "
        f"speaks the part of MediaWiki&#39;s "
        f'<a href="/api.php?action=query&amp;meta=siteinfo&amp;formatversion=2">API</a> which '
        f"a scraper needs. Start at {_link('Category:Drawings', 'all drawings')}.</p>\n<h2>Newest files</h2>\n"
        + _gallery([f for f in newest if f.row["width"]])
    )


def _gallery(files: list[WikiFile]) -> str:
    return '<ul class="gallery mw-gallery-traditional">\n' + "\n".join(map(_gallery_box, files)) + "\n</ul>"


def _gallery_box(file: WikiFile) -> str:
    """One box as MediaWiki 1.39 writes it: thumbnail in a link to the file's page, and its name below."""
    name = file.title.removeprefix("File:")
    address = f"/wiki/{quote(underscored(file.title), safe='/:')}"
    if file.row["width"]:
        scale = min(1.0, 120 / max(file.row["width"], file.row["height"]))
        width, height = (max(1, round(file.row[side] * scale)) for side in ("width", "height"))
        thumb = (
            f'<a href="{address}" class="image"><img alt="{escape(name)}" src="{file.thumb(120)}" decoding="async" '
            f'width="{width}" height="{height}" loading="lazy" /></a>'
        )
    else:
        thumb = f'<a href="{address}">{escape(name)}</a>'  # not an image: nothing to show
    return (
        f'\t\t<li class="gallerybox" style="width: 155px"><div style="width: 155px">\n'
        f'\t\t\t<div class="thumb" style="width: 150px;"><div>{thumb}</div></div>\n'
        f'\t\t\t<div class="gallerytext">\n<a href="{address}" class="galleryfilename galleryfilename-truncate" '
        f'title="{escape(file.title)}">{escape(name)}</a><br />{file.row["width"]} × {file.row["height"]}; '
        f"{file.row['size'] / 1024:.0f} KB\n\t\t\t</div>\n\t\t</div></li>"
    )


def _category(wiki: SampleWiki, title: str, start: str) -> str:
    name = title.removeprefix("Category:")
    parts = []
    if subcategories := wiki.subcategories(title):
        items = "".join(f"<li>{_link(s, s.removeprefix('Category:'))}</li>" for s in subcategories)
        parts.append(f'<div id="mw-subcategories"><h2>Subcategories</h2><ul>{items}</ul></div>')
    files = wiki.files_in(title)
    rest = [f for f in files if f.name >= start]
    if files:
        more = ""
        if len(rest) > PER_PAGE:
            address = f"/wiki/{quote(underscored(title), safe=':')}?filefrom={quote(rest[PER_PAGE].name)}"
            more = f'(<a href="{address}#mw-category-media">next page</a>)'
        parts.append(
            f'<div id="mw-category-media"><h2>Media in category "{escape(name)}"</h2>\n<p>The following '
            f"{len(rest[:PER_PAGE])} files are in this category, out of {len(files)} total.</p>{more}\n"
            f"{_gallery(rest[:PER_PAGE])}{more}</div>"
        )
    above = wiki.parents[title]
    return "\n".join(parts) + (_category_links(above) if above else "")


def _category_links(names: list[str]) -> str:
    links = "".join(f"<li>{_link(n, n.removeprefix('Category:'))}</li>" for n in names)
    return f'<div id="catlinks" class="catlinks"><div id="mw-normal-catlinks">Categories: <ul>{links}</ul></div></div>'


def _file(wiki: SampleWiki, file: WikiFile) -> str:
    row, name = file.row, escape(file.title.removeprefix("File:"))
    facts = f"{row['width']} × {row['height']} pixels, file size: {row['size'] / 1024:.0f} KB, MIME type: {row['mime']}"
    shown = f'<img alt="File:{name}" src="{file.path}" width="{row["width"]}" height="{row["height"]}" />'
    return (
        f'<div class="fullImageLink" id="file"><a href="{file.path}">{shown if row["width"] else name}</a></div>\n'
        f'<div class="fullMedia"><p><a href="{file.path}" class="internal" title="{name}">Original file</a> '
        f'<span class="fileInfo">({facts})</span></p></div>\n<h2>Summary</h2><p>{escape(row["description"])}</p>\n'
        f'<div class="licence licensetpl">This file is licensed under <a href="{wiki.site["rights_url"]}">'
        f'{escape(wiki.site["rights_text"])}</a> ({escape(row["template"])}).</div>\n<h2 id="filehistory">File history'
        f'</h2><table class="wikitable filehistory"><tr><th>Date/Time</th><th>Dimensions</th><th>User</th></tr><tr>'
        f"<td>{row['timestamp']}</td><td>{row['width']} × {row['height']}</td><td>{escape(row['uploader'])}</td></tr>"
        f"</table>{_category_links(row['categories'])}"
    )
