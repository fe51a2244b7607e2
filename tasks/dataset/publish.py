"""The dataset on the hub: one commit for what changed, none when nothing did."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from tasks.common.errors import WikistyleError
from tasks.common.records import DatasetRef, StoredFile
from tasks.common.store import Store, StoreError
from tasks.dataset.card import cell, is_ours, with_changes
from tasks.dataset.guard import facts_of, reason_to_refuse
from tasks.dataset.settings import DatasetSettings
from tasks.dataset.shards import NUMBER_COLUMNS, TEXT_COLUMNS

SHARDS = "data/train-*.parquet"
CARD = "README.md"
COLUMNS = [*TEXT_COLUMNS, *NUMBER_COLUMNS]  # all but the pictures
NAMED_AT_MOST = 50
ATTEMPTS = 3


class PublishError(WikistyleError):
    """The dataset can't be published; the message names the repository, the reason and a remedy, in one line."""


@dataclass(frozen=True)
class Published:
    """A repository as it is: its head commit, the content hash of each file, and its card ("" if it has none)."""

    head: str
    files: dict[str, str]
    card: str


def check_publishable(settings: DatasetSettings, token: str | None, endpoint: str | None = None) -> None:
    """Raise PublishError when `publish` would fail for want of a token, permission, connection or contact address.

    To be called before the first stage runs. Makes nothing on the hub; does nothing when there is no `repo_id`.
    """
    repo = settings.repo_id
    if not repo:
        return
    if not token:
        raise PublishError(f"no token to publish to {repo}; set HF_TOKEN to one that may write, or empty repo_id")
    if not settings.takedown_contact:
        raise PublishError(f"no take-down contact for {repo}; set takedown_contact to an address that someone reads")
    api = HfApi(endpoint=endpoint, token=token)
    with _in_one_line(repo, token):
        try:
            api.auth_check(repo, repo_type="dataset", write=True)
        except RepositoryNotFoundError:
            me = api.whoami()
            may_create = me.get("auth", {}).get("accessToken", {}).get("role") != "read"
            names = [me["name"], *(org["name"] for org in me.get("orgs", []))]
            if not may_create or repo.partition("/")[0] not in names:
                raise PublishError(
                    f"this token can't make {repo} (it is {me['name']}'s); use one that may write, or another repo_id"
                ) from None


def publish(
    ref: DatasetRef, settings: DatasetSettings, token: str | None, store: Store, endpoint: str | None = None
) -> DatasetRef:
    """Bring the repository to the state of `ref` in one commit and tag it v1, v2, …; returns `ref` with its revision.

    Only new shards are uploaded and vanished ones deleted; other files in the repository stay. When another writer
    commits in between, look again and retry. Without changes there is no commit. Raises PublishError.
    """
    repo = settings.repo_id
    if not repo:
        return ref
    check_publishable(settings, token, endpoint)
    assert token, "checked above"
    api = HfApi(endpoint=endpoint, token=token)
    with _in_one_line(repo, token):
        for _ in range(ATTEMPTS):
            published = _look(api, settings)
            if _is_same(published, ref, store):
                _tag(api, repo, published.head)
                return ref.model_copy(update={"repo_id": repo, "revision": published.head})
            head = _commit(api, settings, published, ref, store)
            if head:
                _tag(api, repo, head)
                return ref.model_copy(update={"repo_id": repo, "revision": head})
    raise PublishError(f"{repo} was changed by another writer {ATTEMPTS} times while publishing; run again later")


@contextmanager
def _in_one_line(repo: str, token: str) -> Iterator[None]:
    """Whatever the hub's client raises, as one PublishError that never shows the token."""
    try:
        yield
    except PublishError:
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code if getattr(error, "response", None) is not None else None
        if status is None:  # a file that is neither in the cache nor, without network, on the hub
            raise _unreachable(repo, error, token) from None
        if status in (401, 403):
            why, remedy = "the hub refuses the token", "use one that may write there"
        elif status == 404:
            why, remedy = "not found on the hub", "check repo_id"
        else:
            why, remedy = f"the hub answered {status}: {' '.join(str(error).split())[:200]}", "run again later"
        raise PublishError(f"can't publish {repo}: {why}; {remedy}".replace(token, "…")) from None
    except StoreError:
        raise
    except Exception as error:  # offline mode is a ConnectionError, a failed request is the HTTP library's own
        if isinstance(error, ConnectionError) or type(error).__module__.startswith(("httpx", "httpcore")):
            raise _unreachable(repo, error, token) from None
        if isinstance(error, (RuntimeError, OSError)):  # what the client makes of an upload that failed or was cut off
            causes = " ".join(f"{error} {error.__cause__ or ''}".split())[:300]
            text = f"can't publish {repo}: {causes or type(error).__name__}; nothing was changed there, run again later"
            raise PublishError(text.replace(token, "…")) from None
        raise


def _unreachable(repo: str, error: Exception, token: str) -> PublishError:
    why = " ".join(str(error).split())[:200] or type(error).__name__
    text = f"can't publish {repo}: the hub can't be reached ({why}); check the network, or empty repo_id"
    return PublishError(text.replace(token, "…"))


def _look(api: HfApi, settings: DatasetSettings) -> Published:
    """The repository as it is now, made first if it isn't there."""
    repo = settings.repo_id
    try:
        head = api.dataset_info(repo).sha
    except RepositoryNotFoundError:
        api.create_repo(repo, repo_type="dataset", private=settings.private, exist_ok=True)
        head = api.dataset_info(repo).sha
    assert head, "the hub always names the head commit"
    tree = api.list_repo_tree(repo, repo_type="dataset", revision=head, recursive=True)
    files = {e.path: e.lfs.sha256 if e.lfs else e.blob_id for e in tree if isinstance(e, RepoFile)}
    card = ""
    if CARD in files:
        card = Path(api.hf_hub_download(repo, CARD, repo_type="dataset", revision=head)).read_text(encoding="utf-8")
    foreign = sorted(set(files) - {CARD, ".gitattributes"})
    if foreign and not is_ours(card):
        raise PublishError(f"{repo} holds {foreign[0]} and no card of wikistyle's; choose another repo_id")
    return Published(head, files, card)


def _has(published: Published, file: StoredFile, store: Store) -> bool:
    """Whether the repository has these bytes at this path: by sha256 for large files, else by git's own hash."""
    there = published.files.get(file.path)
    if there is None or there == file.key:
        return there is not None
    data = store.read(file.key)
    return there == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _vanished(published: Published, ref: DatasetRef) -> list[str]:
    return sorted(path for path in published.files if fnmatch(path, SHARDS) and path not in {f.path for f in ref.files})


def _is_same(published: Published, ref: DatasetRef, store: Store) -> bool:
    card = store.read(next(file.key for file in ref.files if file.path == CARD)).decode()
    shards = [file for file in ref.files if file.path != CARD]
    return (
        with_changes(published.card, "") == with_changes(card, "")
        and not _vanished(published, ref)
        and all(_has(published, shard, store) for shard in shards)
    )


def _commit(api: HfApi, settings: DatasetSettings, published: Published, ref: DatasetRef, store: Store) -> str | None:
    """Commit the difference on top of what was looked at; returns the new head, or None if another was faster."""
    repo = settings.repo_id
    fresh = [file for file in ref.files if file.path != CARD and not _has(published, file, store)]
    gone = _vanished(published, ref)
    card = store.read(next(file.key for file in ref.files if file.path == CARD)).decode()
    summary = f"{ref.rows} drawings"
    if is_ours(published.card):
        replaced = [shard.path for shard in fresh if shard.path in published.files]
        before = _remote_facts(api, repo, published.head, [*gone, *replaced])
        after = _facts(pq.read_table(store.path(s.key), columns=COLUMNS) for s in fresh)
        reason = reason_to_refuse(facts_of(published.card), facts_of(card), len(before.keys() - after.keys()))
        if reason and not settings.replace:
            raise PublishError(
                f"can't publish {repo}: {reason}; choose another repo_id, or set dataset.replace to do it all the same"
            )
        summary, changes = describe_changes(before, after)
        card = with_changes(card, f"Since revision `{published.head[:12]}`: {changes}")
    operations = [CommitOperationAdd(shard.path, str(store.path(shard.key))) for shard in fresh]
    operations += [CommitOperationAdd(CARD, card.encode())]
    operations += [CommitOperationDelete(path) for path in gone]
    try:
        commit = api.create_commit(
            repo, operations, commit_message=summary, repo_type="dataset", parent_commit=published.head
        )
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code == 412:
            return None
        raise
    return commit.oid


def _remote_facts(api: HfApi, repo: str, head: str, paths: list[str]) -> dict[str, dict]:
    """`_facts` of published shards; only these columns are downloaded, not the pictures."""
    files = HfFileSystem(endpoint=api.endpoint, token=api.token, skip_instance_cache=True)

    def tables() -> Iterator[pa.Table]:
        for path in paths:
            with files.open(f"datasets/{repo}@{head}/{path}", block_size=1 << 16) as file:
                yield pq.read_table(file, columns=COLUMNS)

    return _facts(tables())


def _facts(tables: Iterable[pa.Table]) -> dict[str, dict]:
    """title → row, without the picture"""
    return {row["title"]: row for table in tables for row in table.to_pylist()}


def describe_changes(before: dict[str, dict], after: dict[str, dict]) -> tuple[str, str]:
    """A commit message and the card's list of what changed, from the rows of the shards that did."""
    groups = {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": sorted(title for title in after.keys() & before.keys() if after[title] != before[title]),
    }
    counts = ", ".join(f"{len(titles)} {what}" for what, titles in groups.items())
    lines = [f"{counts}.", ""]
    for what, titles in groups.items():
        if titles:
            more = f" and {len(titles) - NAMED_AT_MOST} more" if len(titles) > NAMED_AT_MOST else ""
            lines.append(f"- {what}: {', '.join(cell(title) for title in titles[:NAMED_AT_MOST])}{more}")
    return f"{counts} drawings", "\n".join(lines)


def _tag(api: HfApi, repo: str, head: str) -> None:
    """v1, v2, …: the next number, unless this commit has one (a run that died between commit and tag is made good).

    Another publisher may take that number first: then it is the next after it.
    """
    for _ in range(ATTEMPTS):
        tags = api.list_repo_refs(repo, repo_type="dataset").tags
        ours = [tag for tag in tags if tag.name[:1] == "v" and tag.name[1:].isdecimal()]
        if any(tag.target_commit == head for tag in ours):
            return
        number = 1 + max((int(tag.name[1:]) for tag in ours), default=0)
        try:
            api.create_tag(repo, tag=f"v{number}", revision=head, repo_type="dataset")
        except HfHubHTTPError as error:
            if error.response is None or error.response.status_code != 409:
                raise
        else:
            return
    raise PublishError(
        f"{repo} is published as {head[:12]}, but others took its tag {ATTEMPTS} times; run again to tag it"
    )
