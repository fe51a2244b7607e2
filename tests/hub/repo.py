"""A repository of the stand-in hub: files at commits, branches and tags, in memory."""

import hashlib
import json
import time
from dataclasses import dataclass, field

LARGE = (".parquet", ".safetensors", ".jpg", ".png", ".gif", ".webp", ".zip")


@dataclass(frozen=True)
class File:
    """One file's bytes and whether they went through large file storage."""

    data: bytes
    large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def git_oid(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    def entry(self, path: str) -> dict:
        """As the tree and paths-info answers describe it."""
        entry = {"type": "file", "oid": self.git_oid, "size": len(self.data), "path": path}
        if self.large:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.data), "pointerSize": 134}
        return entry


@dataclass(frozen=True)
class Commit:
    """All files at one moment, and the commit before."""

    files: dict[str, File]
    summary: str
    parent: str | None
    date: str


@dataclass
class Repo:
    """A model or dataset repository; `head` is main."""

    kind: str
    name: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    head: str = ""

    def __post_init__(self):
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE)
        self.commit("initial commit", {".gitattributes": File(attributes.encode(), False)}, [])

    def commit(self, summary: str, adds: dict[str, File], deletes: list[str]) -> str:
        files = dict(self.commits[self.head].files) if self.head else {}
        for gone in deletes:
            files = {path: file for path, file in files.items() if path != gone and not path.startswith(f"{gone}/")}
        files |= adds
        oids = {path: file.git_oid for path, file in sorted(files.items())}
        sha = hashlib.sha1(json.dumps([self.head, summary, oids, len(self.commits)]).encode()).hexdigest()
        date = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        self.commits[sha] = Commit(files, summary, self.head or None, date)
        self.head = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        """The commit a branch, tag or sha names."""
        if revision in ("main", "refs/heads/main"):
            return self.head
        return self.tags.get(revision) or (revision if revision in self.commits else None)

    def info(self, sha: str) -> dict:
        commit = self.commits[sha]
        return {
            "_id": sha[:24],
            "id": self.name,
            "author": self.name.split("/")[0],
            "sha": sha,
            "lastModified": commit.date,
            "createdAt": commit.date,
            "private": self.private,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [{"rfilename": path, "blobId": f.git_oid} for path, f in sorted(commit.files.items())],
        }

    def tree(self, sha: str, folder: str, recursive: bool) -> list[dict]:
        """Files and folders under `folder` ("" is the root)."""
        prefix = f"{folder}/" if folder else ""
        files = {path: file for path, file in self.commits[sha].files.items() if path.startswith(prefix)}
        entries, folders = [], set()
        for path, file in sorted(files.items()):
            parts = path[len(prefix) :].split("/")
            folders |= {prefix + "/".join(parts[:depth]) for depth in range(1, len(parts)) if depth == 1 or recursive}
            if len(parts) == 1 or recursive:
                entries.append(file.entry(path))
        return [directory(path) for path in sorted(folders)] + entries

    def paths(self, sha: str, wanted: list[str]) -> list[dict]:
        """Those of the wanted paths which are there."""
        files = self.commits[sha].files
        entries = [files[path].entry(path) for path in wanted if path in files]
        folders = [p for p in wanted if p not in files and any(f.startswith(p.rstrip("/") + "/") for f in files)]
        return entries + [directory(path) for path in folders]


def directory(path: str) -> dict:
    return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
