"""Text of strangers inside Markdown."""

import re


def cell(text: str) -> str:
    """A stranger's words (titles, names) as plain text in one line: a table's cell, a picture's label."""
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", " ".join(text.split())).replace("<", "&lt;").replace(">", "&gt;")
