"""What a user can set about the dataset and where it is published."""

from pydantic import Field

from tasks.common.settings import StageSettings, working


class DatasetSettings(StageSettings):
    """How the dataset is cut and described, and the hub repository it goes to, if any."""

    title: str = Field(
        default="Drawings of a wiki with captions",
        min_length=1,
        max_length=200,
        title="Title",
        description="The dataset's name for people, at the head of its card.",
    )
    license: str = Field(
        default="other",
        title="Licence",
        description="The hub's id of the licence of the whole, such as cc-by-sa-4.0. “other”, because a wiki's files "
        "may have many; each row names its own.",
        pattern=r"^[a-z0-9.\-]+$",
    )
    takedown_contact: str = Field(
        default="",
        max_length=200,
        title="Take-down contact",
        description="An address that someone reads, for people who want their picture removed. Needed to publish.",
    )
    shard_rows: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        title="Rows per file",
        description="Mean rows of a parquet file, about 100 MB at 1000 rows. New pictures make new files and the rest "
        "needn't be uploaded again; a picture that goes makes one file new.",
    )
    repo_id: str = working(
        "",
        title="Hub repository",
        description="owner/name of the dataset repository to publish to. Empty: don't publish.",
        pattern=r"^([\w.\-]+/[\w.\-]+)?$",
    )
    private: bool = working(
        True,
        title="Private",
        description="Whether a newly made repository is private. True, because publishing is hard to take back.",
    )
    replace: bool = working(
        False,
        title="Replace what is published",
        description="Publish even where that takes away more than a fifth of the rows in the repository, or where they "
        "came from another wiki: without it such a dataset is refused, as it is nearly always a slip.",
    )
