"""`runs/<run id>/`: everything a run made, as plain files, and `summary.json` that tells of them."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
from pathlib import Path
from typing import Any

from flows.report import Collected, Finetuned, Shown, StageReport
from flows.settings import Settings, located
from tasks.dataset.folder import materialise
from tasks.store import Store, sha256_of, write_atomically

PACKAGES = ("wikistyle", "torch", "diffusers", "transformers", "accelerate", "datasets", "prefect", "pillow", "numpy")


def runs_root() -> Path:
    """Where the folders of runs lie: `WIKISTYLE_RUNS`, by default `runs` in the current folder."""
    return Path(os.environ.get("WIKISTYLE_RUNS", "runs"))


def slug(text: str) -> str:
    """A file name of a prompt: lower-case words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "prompt"


def write_run(
    folder: Path,
    settings: Settings,
    collected: Collected | None,
    finetuned: Finetuned | None,
    shown: Shown | None,
    store: Store,
) -> dict[str, Any]:
    """Write the folder under a temporary name, then rename; returns the summary. `runs/latest` points to it after."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if collected:
        materialise(collected.dataset, partial / "dataset", store)
    if finetuned:
        from tasks.finetune.assemble import assemble

        last, base = finetuned.training.snapshots[-1], located(settings).finetune
        assemble(base.base_model, base.revision, last, partial / "model", store)
    if shown:
        _write_pictures(partial, shown, store)
    if shown and finetuned:
        from flows.gallery import gallery_html

        html = gallery_html(settings, collected, finetuned, shown, store)
        write_atomically(partial / "gallery" / "index.html", html.encode())
    summary = summarise(settings, collected, finetuned, shown) | {"files": _files(partial)}
    write_atomically(partial / "summary.json", (json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode())
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    _point_latest(folder)
    return summary


def _write_pictures(folder: Path, shown: Shown, store: Store) -> None:
    for sample in shown.samples:
        path = folder / "samples" / f"epoch-{sample.epoch:04d}" / f"{slug(sample.prompt)}-seed-{sample.seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.read(sample.key))
    for film in shown.animations:
        for file in film.files:
            path = folder / "gifs" / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(store.read(file.key))


def _files(folder: Path) -> list[dict[str, Any]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        {"path": str(path.relative_to(folder)), "sha256": sha256_of(path), "bytes": path.stat().st_size}
        for path in paths
    ]


def _point_latest(folder: Path) -> None:
    link = folder.parent / "latest"
    temporary = folder.parent / f".latest.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder.name)
    temporary.replace(link)


def summarise(
    settings: Settings, collected: Collected | None, finetuned: Finetuned | None, shown: Shown | None
) -> dict[str, Any]:
    """The facts of a run, without the list of its files."""
    parts = [part for part in (collected, finetuned, shown) if part]
    stages: list[StageReport] = [stage for part in parts for stage in part.stages]
    summary: dict[str, Any] = {
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in PACKAGES},
        "settings": settings.model_dump(mode="json"),
        "stages": {
            s.stage: {
                "seconds": s.seconds, "cached": s.cached, "ran": s.ran,
                "in": s.items_in, "out": s.items_out, "rejected": s.rejected,
            }
            for s in stages
        },
    }  # fmt: skip
    if collected:
        summary["wiki"] = {
            "address": collected.wiki, "name": collected.site_name,
            "listed": collected.listed, "duplicates": collected.duplicates,
        }  # fmt: skip
        summary["rejects"] = [reject.model_dump() for reject in collected.rejects]
        summary["dataset"] = {"fingerprint": collected.dataset.fingerprint, "rows": collected.dataset.rows}
    if finetuned:
        from tasks.finetune.result import turning_point

        training = finetuned.training
        summary["recommended_epoch"] = turning_point(training)
        summary["epochs"] = [loss.model_dump() for loss in training.losses]
        figures = ("psnr_before", "psnr_after", "lpips_before", "lpips_after")
        summary["decoder"] = {name: getattr(training, name) for name in figures}
        summary["snapshots"] = [
            {
                "epoch": s.epoch,
                "bytes": sum(file.bytes for file in (s.unet, s.decoder) if file),
                "weights": s.weights,
            }
            for s in training.snapshots
        ]
    return summary
