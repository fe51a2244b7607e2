"""The dataset's card: README.md with the front matter that the hub and `datasets` read."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import DatasetCardData

from tasks.common.markdown import cell
from tasks.common.records import CaptionedImage, Reject
from tasks.dataset.records import DatasetSource
from tasks.dataset.settings import DatasetSettings
from tasks.dataset.shards import NUMBER_COLUMNS, TEXT_COLUMNS

LISTED_AT_MOST = 200
CHANGES = re.compile(r"(?<=<!-- changes -->\n).*(?=<!-- /changes -->)", re.DOTALL)
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render(
    *,
    rows: Sequence[CaptionedImage],
    rejects: Sequence[Reject],
    source: DatasetSource,
    settings: DatasetSettings,
    fingerprint: str,
    memory_bytes: int,
    file_bytes: int,
) -> str:
    """The card of these rows. It holds no date but the newest upload's, so the same rows give the same card."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters["cell"] = cell
    images = [row.jpeg.original.image for row in rows]
    return environment.from_string(Path(__file__).with_name("card.md.j2").read_text(encoding="utf-8")).render(
        front_matter=_front_matter(len(rows), settings, memory_bytes, file_bytes),
        title=settings.title,
        contact=settings.takedown_contact,
        fingerprint=fingerprint,
        source=source,
        rows=len(rows),
        newest=max(image.timestamp for image in images),
        rejects=sorted(rejects, key=lambda r: (r.stage, r.title, r.sha1)),
        rejects_by_stage=_counts(reject.stage for reject in rejects),
        licenses=_counts(image.license for image in images),
        uploaders=_counts(image.uploader for image in images),
        listed_at_most=LISTED_AT_MOST,
    )


def with_changes(card: str, changes: str) -> str:
    """The card with its section on what changed since the revision before."""
    return CHANGES.sub(lambda _: changes.strip() + "\n", card)


def is_ours(card: str) -> bool:
    return CHANGES.search(card) is not None


def _counts(names: Any) -> list[tuple[str, int]]:
    """Most frequent first, then by name."""
    return sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))


def _front_matter(rows: int, settings: DatasetSettings, memory_bytes: int, file_bytes: int) -> str:
    columns = [{"name": "image", "dtype": "image"}]
    columns += [{"name": name, "dtype": "string"} for name in TEXT_COLUMNS]
    columns += [{"name": name, "dtype": "int32"} for name in NUMBER_COLUMNS]
    card = DatasetCardData(
        pretty_name=settings.title,
        license=settings.license,
        license_name="of-each-file" if settings.license == "other" else None,
        language=["en"],
        task_categories=["text-to-image"],
        annotations_creators=["machine-generated"],
        source_datasets=["original"],
        size_categories=[next((name for limit, name in SIZES if rows < limit), "1M<n<10M")],
        tags=["wikistyle"],
        dataset_info={
            "features": columns,
            # `load_dataset` compares these with what it finds, so card and shards go up in one commit
            "splits": [{"name": "train", "num_bytes": memory_bytes, "num_examples": rows}],
            "download_size": file_bytes,
            "dataset_size": memory_bytes,
        },
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
    )
    return card.to_yaml() + "\n"
