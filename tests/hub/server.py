"""A stand-in for the Hugging Face hub on loopback: enough HTTP for the real client libraries to publish and load.

with running_hub() as hub: pass `hub.url` as endpoint (or as HF_ENDPOINT with HF_HUB_DISABLE_XET=1) and "hf_writer" as
token. "hf_reader" may only read; any other token is refused. The owner may write to `tester/…` and `team/…`.
"""

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.repo import LARGE, File, Repo

TOKENS = {"hf_writer": "write", "hf_reader": "read"}
OWNED = ("tester", "team")
REPO = r"(?:(dataset|model|space)s/)?([^/]+/[^/]+?)"


class Hub(ThreadingHTTPServer):
    """All repositories, the large files, and a log of requests ("POST 200 /api/…") for tests to look at."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repos: dict[tuple[str, str], Repo] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.before_commit: list[Callable[[], object]] = []  # each is called once, to play another writer
        self.before_tag: list[Callable[[], object]] = []
        self.upload_fault = ""  # "status 500" or "cut off": what becomes of large files
        self.lock = threading.Lock()

    def dataset(self, name: str) -> Repo:
        return self.repos["dataset", name]


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub on a free port until the block ends."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    """Routes one request; the answers have the fields which the clients read."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format, *args):
        pass

    def handle_any(self):
        url, body = urlsplit(self.path), self.body()
        with self.server.lock:
            self.route(url.path, parse_qs(url.query), body)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_any

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def answer(self, code: int, body: object = b"", **headers: str):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.server.requests.append(f"{self.command} {code} {self.path}")

    def refuse(self, code: int, name: str, message: str):
        self.answer(code, {"error": message}, X_Error_Code=name, X_Error_Message=message)

    def role(self) -> str | None:
        return TOKENS.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def may_write(self, name: str) -> bool:
        return self.role() == "write" and name.partition("/")[0] in OWNED

    def route(self, path: str, query: dict, body: bytes):  # noqa: PLR0911
        if self.headers.get("Authorization") and self.role() is None:
            return self.refuse(401, "Unauthorized", "Invalid username or password.")
        if path == "/api/whoami-v2":
            return self.whoami()
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if found := re.fullmatch(r"/lfs/([0-9a-f]{64})", path):
            return self.large_file(found[1], body)
        if found := re.fullmatch(rf"/{REPO}\.git/info/lfs/objects/(batch|verify)", path):
            return self.large_batch(found[3], path, body)
        if found := re.fullmatch(rf"/{REPO}/(?:resolve|raw)/([^/]+)/(.+)", path):
            return self.resolve(found[1] or "model", found[2], unquote(found[3]), unquote(found[4]))
        if found := re.fullmatch(r"/api/(dataset|model|space)s/([^/]+/[^/]+)(?:/(.*))?", path):
            repo = self.server.repos.get((found[1], found[2]))
            if repo is None:
                return self.refuse(404, "RepoNotFound", "Repository not found")
            return self.repo_api(repo, unquote(found[3] or ""), query, body)
        return self.refuse(404, "NotFound", f"no such route: {path}")

    def whoami(self):
        if self.role() is None:
            return self.refuse(401, "Unauthorized", "Invalid username or password.")
        token = {"displayName": "t", "role": self.role()}
        orgs = [{"type": "org", "name": "team", "roleInOrg": "write"}]
        return self.answer(
            200,
            {"type": "user", "name": "tester", "orgs": orgs, "auth": {"type": "access_token", "accessToken": token}},
        )

    def create(self, wish: dict):
        kind, name = wish.get("type", "model"), f"{wish.get('organization') or 'tester'}/{wish['name']}"
        url = f"{self.server.url}/{'' if kind == 'model' else kind + 's/'}{name}"
        if not self.may_write(name):
            return self.refuse(403, "Forbidden", f"You don't have the rights to create a {kind} under this namespace")
        if (kind, name) in self.server.repos:
            return self.answer(409, {"error": "You already created this repo", "url": url})
        self.server.repos[kind, name] = Repo(
            kind, name, wish.get("visibility") == "private" or bool(wish.get("private"))
        )
        return self.answer(200, {"url": url, "id": name, "name": name})

    def large_file(self, oid: str, body: bytes):
        if self.command != "PUT":
            return self.answer(200, self.server.large[oid])
        if self.server.upload_fault == "status 500":
            return self.answer(500, {"error": "Internal error"})
        if self.server.upload_fault == "cut off":
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        if hashlib.sha256(body).hexdigest() != oid:
            return self.refuse(400, "BadRequest", "sha256 differs")
        self.server.large[oid] = body
        return self.answer(200)

    def large_batch(self, verb: str, path: str, body: bytes):
        if verb == "verify":
            return self.answer(200, {})
        objects = []
        for wish in json.loads(body)["objects"]:
            entry = {"oid": wish["oid"], "size": wish["size"], "authenticated": True}
            if wish["oid"] not in self.server.large:
                entry["actions"] = {
                    "upload": {"href": f"{self.server.url}/lfs/{wish['oid']}", "header": {}},
                    "verify": {"href": f"{self.server.url}{path.replace('batch', 'verify')}", "header": {}},
                }
            objects.append(entry)
        return self.answer(200, {"transfer": "basic", "objects": objects})

    def resolve(self, kind: str, name: str, revision: str, path: str):
        repo = self.server.repos.get((kind, name))
        if repo is None:
            return self.refuse(404, "RepoNotFound", "Repository not found")
        sha = repo.resolve(revision)
        if sha is None:
            return self.refuse(404, "RevisionNotFound", "Invalid rev id")
        file = repo.commits[sha].files.get(path)
        if file is None:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        etag = file.sha256 if file.large else file.git_oid
        headers = {"ETag": f'"{etag}"', "X_Repo_Commit": sha, "Accept_Ranges": "bytes"}
        if file.large:
            headers |= {"X_Linked_Etag": f'"{etag}"', "X_Linked_Size": str(len(file.data))}
        if part := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(part[1]), min(int(part[2] or len(file.data) - 1), len(file.data) - 1)
            headers["Content_Range"] = f"bytes {first}-{last}/{len(file.data)}"
            return self.answer(206, file.data[first : last + 1], **headers)
        return self.answer(200, file.data, **headers)

    def repo_api(self, repo: Repo, rest: str, query: dict, body: bytes):  # noqa: PLR0911
        verb, _, arg = rest.partition("/")
        if verb in ("commit", "preupload", "tag") and not self.may_write(repo.name):
            return self.refuse(403, "Forbidden", "You don't have write access to this repo")
        if verb == "auth-check":
            allowed = arg != "write" or self.may_write(repo.name)
            return self.answer(200, {}) if allowed else self.refuse(403, "Forbidden", "no write access")
        if verb == "commit":
            return self.commit(repo, body)
        if verb == "preupload":
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular"} for f in files
            ]
            return self.answer(200, {"files": [m | {"shouldIgnore": False, "oid": None} for m in modes]})
        if verb == "refs":
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.head}
            tags = [{"name": k, "ref": f"refs/tags/{k}", "targetCommit": v} for k, v in repo.tags.items()]
            return self.answer(200, {"branches": [main], "tags": tags, "converts": []})
        revision, _, path = (arg or "main").partition("/")
        sha = repo.resolve(revision)
        if sha is None:
            return self.refuse(404, "RevisionNotFound", "Invalid rev id")
        if verb in ("", "revision"):
            return self.answer(200, repo.info(sha))
        if verb == "tag":
            return self.tag(repo, sha, json.loads(body)["tag"])
        if verb == "tree":
            return self.answer(200, repo.tree(sha, path.rstrip("/"), query.get("recursive", [""])[0].lower() == "true"))
        if verb == "paths-info":
            wanted = json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode()).get("paths", [])
            return self.answer(200, repo.paths(sha, wanted))
        return self.refuse(404, "NotFound", f"no such verb: {rest}")

    def tag(self, repo: Repo, sha: str, name: str):
        if self.server.before_tag:
            self.server.before_tag.pop(0)()
        if name in repo.tags:
            return self.refuse(409, "TagExists", "Tag reference exists already")
        repo.tags[name] = sha
        return self.answer(200, {})

    def commit(self, repo: Repo, body: bytes):
        if self.server.before_commit:
            self.server.before_commit.pop(0)()
        adds, deletes, header = {}, [], {}
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                header = value
            elif item["key"] == "file":
                adds[value["path"]] = File(base64.b64decode(value["content"]), False)
            elif item["key"] == "lfsFile":
                adds[value["path"]] = File(self.server.large[value["oid"]], True)
            else:
                deletes.append(value["path"])
        if header.get("parentCommit") not in (None, repo.head):
            return self.refuse(412, "PreconditionFailed", "A commit has happened since. Please refresh and try again.")
        sha = repo.commit(header.get("summary", ""), adds, deletes)
        url = f"{self.server.url}/{repo.kind}s/{repo.name}/commit/{sha}"
        return self.answer(200, {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})


@contextmanager
def hub_for(monkeypatch: Any, cache: Path) -> Iterator[Hub]:
    """A hub, and the real client told to talk to hubs at all and to keep what it downloads in `cache`."""
    for name, value in (("HF_HUB_OFFLINE", False), ("HF_HUB_DISABLE_XET", True), ("HF_HUB_CACHE", str(cache))):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    with running_hub() as hub:
        yield hub
