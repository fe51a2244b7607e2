"""Uploads to S3 that were begun and never ended: their parts are kept, and paid for, but no listing shows them."""

import re
from datetime import datetime
from typing import Any

from tasks.common.garbage.garbage import OBJECT
from tasks.common.store import Store

Upload = dict[str, str]  # Bucket, Key and UploadId, as S3 wants them


def unfinished_uploads(store: Store, before: datetime) -> list[Upload]:
    """Those of this store's objects, begun `before` then; at most 1000. None of a store that isn't on S3."""
    if store.root.protocol not in ("s3", "s3a"):
        return []
    bucket, _, prefix = (store.root / "objects").path.partition("/")
    s3: Any = store.root.fs
    told = s3.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/")
    ours = re.compile(rf"{re.escape(prefix)}/../{OBJECT.pattern}")
    return [
        {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        for upload in told.get("Uploads", ())
        if ours.fullmatch(upload["Key"]) and upload["Initiated"] < before
    ]


def abort(uploads: list[Upload], store: Store) -> None:
    """Let S3 forget the parts."""
    s3: Any = store.root.fs
    for upload in uploads:
        s3.call_s3("abort_multipart_upload", **upload)
