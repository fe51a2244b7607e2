"""Figures and names as a person says them."""

from pathlib import PurePosixPath

from tasks.animate.labels import epoch_label
from tasks.animate.page import Figure
from tasks.common.files import file_name


def number(value: int) -> str:
    """12345 → "12,345"."""
    return f"{value:,}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: "0.4 s", "41 s", "3m 05s", "2h 10m"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def size(count: int) -> str:
    """Bytes: "830 KB", "2.1 MB", "14.0 GB"."""
    if count < 1_000_000:
        return f"{max(1, round(count / 1000))} KB"
    return f"{count / 1e6:.1f} MB" if count < 1_000_000_000 else f"{count / 1e9:.1f} GB"


def measured(figure: Figure | float | None) -> str:
    """A value with its interval: "2.71 (2.10–3.30)"; a dash where there is none."""
    if figure is None:
        return "–"
    if isinstance(figure, Figure):
        return f"{figure.value:.3g} ({figure.low:.3g}–{figure.high:.3g})"
    return f"{figure:.4g}"


def name(title: str) -> str:
    """A wiki's "File:Red house.png" → "Red house"."""
    return PurePosixPath(title.split(":", 1)[-1].replace("/", "∕")).stem


FILTERS = {
    "number": number,
    "duration": duration,
    "size": size,
    "measured": measured,
    "name": name,
    "epoch": epoch_label,
    "file_name": file_name,
}
