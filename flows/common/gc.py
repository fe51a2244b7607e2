"""`wikistyle gc`: delete from the store what no kept run refers to, and what killed writers left half written."""

import os
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from upath import UPath

from flows.common.run_folder import runs_root
from tasks.common.environment import environment
from tasks.common.garbage.garbage import Found, Garbage, delete, find_garbage, find_temporaries
from tasks.common.garbage.lease import collecting, drop_expired, others
from tasks.common.garbage.references import FOLDER, keys_in, references
from tasks.common.garbage.uploads import Upload, abort, unfinished_uploads
from tasks.common.store import Store

LONGEST_HEADER = 100 << 20  # bytes, of a safetensors file


def gc(min_age_hours: float, dry_run: bool) -> str:
    """Delete, or with `dry_run` only count; returns what to tell, in lines.

    An object stays when a kept run, what a part last handed on, or a training that isn't finished refers to it, or when
    it, or a result of Prefect that names it, was written less than `min_age_hours` ago. While another process uses the
    store only temporary files go: it may be about to use what no kept run refers to.
    """
    store, before = Store(), datetime.now(UTC) - timedelta(hours=min_age_hours)
    if dry_run:
        garbage, left, uploads = _look(store, before)
        return _told(store, garbage, left, uploads, others(store.root), "would go")
    with collecting(store.root):
        users = others(store.root)
        garbage, left, uploads = _look(store, before)
        delete(garbage.temporaries, store.root)
        delete(left, UPath(environment().home))
        abort(uploads, store)
        drop_expired(store.root)
        if not users:
            delete(garbage.objects, store.root)
            for path, reference in references(store).items():
                if reference.is_gone:
                    path.unlink()
    return _told(store, garbage, left, uploads, users, "gone")


def _look(store: Store, before: datetime) -> tuple[Garbage, list[Found], list[Upload]]:
    """Garbage in the store, temporary files at home, and uploads to the store that never ended."""
    home = environment().home
    left = [found for area in ("training", "parts", "cache") for found in find_temporaries(home / area, before)]
    return find_garbage(store, needed(store, before), before), left, unfinished_uploads(store, before)


def needed(store: Store, before: datetime) -> set[str]:
    """The keys of everything that is to stay, however old."""
    keys = {key for reference in references(store).values() if not reference.is_gone for key in reference.keys}
    runs, home = runs_root(), environment().home
    records = [*(home / "parts").rglob("*.json"), *runs.glob("*/summary.json")]
    results = Path(os.environ.get("PREFECT_LOCAL_STORAGE_PATH", home / "results"))
    records += [path for path in results.rglob("*") if path.is_file() and _young(path, before)]
    for path in records:
        keys |= keys_in(path.read_text(errors="replace"))
    return keys.union(*(keys_in(text) for text in _trainings(before)))


def _trainings(before: datetime) -> Iterator[str]:
    """What the parts of trainings say that were worked on lately: snapshots are named by their states.

    While a job is unfinished, all parts do: which of them it will need is the training's to know.
    """
    root = environment().training
    jobs = root.glob("job-*.json")
    unfinished = any(not (root / job.name.replace("job-", "training-", 1)).exists() for job in jobs)
    for part in root.iterdir() if root.is_dir() else ():
        files = [path for path in (part.rglob("*") if part.is_dir() else [part]) if path.is_file()]
        if not unfinished and not any(_young(path, before) for path in files):
            continue
        for path in files:
            if path.suffix == ".json":
                yield path.read_text(errors="replace")
            elif path.suffix == ".safetensors":
                yield _header(path)


def _header(path: Path) -> str:
    """The JSON at the head of a safetensors file."""
    with path.open("rb") as file:
        size = file.read(8)
        length = struct.unpack("<Q", size)[0] if len(size) == 8 else 0
        return file.read(min(length, LONGEST_HEADER)).decode(errors="replace")


def _young(path: Path, before: datetime) -> bool:
    return path.stat().st_mtime >= before.timestamp()


def _told(
    store: Store, garbage: Garbage, left: list[Found], uploads: list[Upload], users: list[str], verb: str
) -> str:  # fmt: skip
    objects, temporaries = garbage.objects, [*garbage.temporaries, *left]
    lines = [
        f"store {store.root}",
        f"{'stay' if users else verb}: {_sum(objects, 'objects')} that nothing kept refers to",
        f"{verb}: {_sum(temporaries, 'temporary files')} of writers that were killed",
        f"stay: {_sum(garbage.kept, 'objects')} that are referred to, {_sum(garbage.young, 'files')} written lately",
    ]
    lines += [f"{verb}: {len(uploads)} uploads that never ended"] if uploads else []
    hosts = Counter(r.host for r in references(store).values() if not r.is_gone and not r.is_ours)
    lines += [
        f"stay: what {count} records of machine {host} refer to; "
        f"if it is no more, delete its files in {store.root / FOLDER}"
        for host, count in sorted(hosts.items())
    ]
    lines += [f"in use by {user}: no objects go; run `wikistyle gc` again once it has ended" for user in users]
    return "\n".join(lines)


def _sum(found: Sequence[Found], what: str) -> str:
    return f"{len(found)} {what} ({sum(one.bytes for one in found)} bytes)"
