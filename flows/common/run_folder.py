"""`runs/<run id>/`: everything a run made, as plain files, and `summary.json` that tells of them."""

import importlib.metadata
import json
import os
import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.common.base_model import base_of
from flows.common.release import released
from flows.common.report import Collected, Finetuned, Showcased, StageReport
from flows.common.settings import Settings, SettingsError
from tasks.common.environment import environment
from tasks.common.files import check_folder, file_name, replace_folder, write_atomically
from tasks.common.garbage.references import needed_by, refer
from tasks.common.store import Store, sha256_of
from tasks.dataset.folder import materialise
from tasks.measure.records import Measured

PACKAGES = ("wikistyle", "torch", "diffusers", "transformers", "accelerate", "datasets", "prefect", "pillow", "numpy")


def runs_root() -> Path:
    """Where the folders of runs lie: `WIKISTYLE_RUNS`, by default `runs` in the current folder."""
    return environment().runs


def find_run(run: str) -> Path:
    """The folder of a finished run by its id, its path or `latest`. Raises SettingsError naming those there are."""
    runs = runs_root()
    folder = next((f for f in (Path(run), runs / run) if (f / "summary.json").is_file()), None)
    if folder is None:
        known = ", ".join(sorted(p.name for p in runs.glob("[!.]*"))) or "none"
        raise SettingsError(f"run {run} has no summary.json here or in {runs}/ (there are: {known}); name one of these")
    return folder.resolve()


def new_folder(profile: str) -> Path:
    """`runs/<UTC date and time>-<profile>`, made and empty: of two runs that end in one second, each has its own."""
    name, count = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{profile}", 1
    while True:
        folder = runs_root() / (name if count == 1 else f"{name}-{count}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
        count += 1


def check_run_folder(run_dir: str) -> None:
    """Raise FolderError, in one line, when a run may not write its folder there: it replaces nothing but a run's."""
    check_folder(Path(run_dir) if run_dir else runs_root() / ".new", written)


def written(folder: Path) -> set[str]:
    """The files of a run's folder that are as `write_run` left them; none when it is not the folder of a run."""
    summary = folder / "summary.json"
    try:
        facts = json.loads(summary.read_bytes())
        files, ended = {f["path"]: f for f in facts["files"]}, summary.stat().st_mtime
        ours = bool(facts["versions"]["wikistyle"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {path for path, f in files.items() if ours and _as_written(folder / path, f, ended)} | {summary.name}


def _as_written(path: Path, file: dict[str, Any], ended: float) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != file["bytes"]:
        return False
    return path.stat().st_mtime <= ended or sha256_of(path) == file["sha256"]


def write_run(
    folder: Path,
    settings: Settings,
    collected: Collected | None,
    finetuned: Finetuned | None,
    showcased: Showcased | None,
    store: Store,
) -> dict[str, Any]:
    """Write the folder whole, in place of a run's older one; returns the summary. The link `latest` beside it follows.

    Raises FolderError when the folder holds what no run wrote.
    """
    summary: dict[str, Any] = {}

    def fill(partial: Path) -> None:
        if collected:
            materialise(collected.dataset, partial / "dataset", store)
        if finetuned:
            from tasks.diffusion.assemble import assemble

            base = base_of(finetuned.training)
            snapshot, strength = released(finetuned.training, showcased and showcased.measured, settings.measure)
            assemble(base.model, base.revision, snapshot, partial / "model", store, strength)
        if showcased:
            _write_pictures(partial, showcased, store)
        if showcased and finetuned:
            from flows.common.gallery import gallery_files

            for name, data in gallery_files(settings, collected, finetuned, showcased, store).items():
                write_atomically(partial / "gallery" / name, data)
        summary.update(summarise(settings, collected, finetuned, showcased), files=_files(partial))
        write_atomically(partial / "summary.json", (json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode())

    real = check_folder(folder, written)
    keys = set[str]().union(*(needed_by(record, store) for record in (collected, finetuned, showcased)))
    replace_folder(real, fill, written)
    refer(real / "summary.json", keys, store)
    _point_latest(real)
    return summary


def _write_pictures(folder: Path, showcased: Showcased, store: Store) -> None:
    for sample in showcased.samples:
        path = folder / "samples" / f"epoch-{sample.epoch:04d}" / f"{file_name(sample.prompt)}-seed-{sample.seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.read(sample.key))
    for film in showcased.animations:
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
    """A link `latest` beside the folder, unless something stands there that is no such link."""
    link = folder.parent / "latest"
    if os.path.lexists(link) and not _points_to_a_run(link):
        print(f"{link} is not a link to a run: it is left as it is", file=sys.stderr)
        return
    temporary = folder.parent / f".latest.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder.name)
    temporary.replace(link)


def _points_to_a_run(link: Path) -> bool:
    """Whether it is a link to a folder beside it that is a run's, or was."""
    if not link.is_symlink() or os.sep in os.readlink(link):
        return False
    return not link.exists() or bool(written(link))


def summarise(
    settings: Settings, collected: Collected | None, finetuned: Finetuned | None, showcased: Showcased | None
) -> dict[str, Any]:
    """The facts of a run, without the list of its files."""
    parts = [part for part in (collected, finetuned, showcased) if part]
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
        training = finetuned.training
        summary["epochs"] = [loss.model_dump() for loss in training.losses]
        figures = ("psnr_before", "psnr_after", "lpips_before", "lpips_after")
        summary["decoder"] = {name: getattr(training, name) for name in figures}
        summary["training"] = training.model_dump(
            mode="json"
        )  # what `wikistyle draw` needs: the base, the weights' keys
        summary["snapshots"] = [
            {
                "epoch": s.epoch,
                "bytes": sum(file.bytes for file in (s.unet, s.decoder) if file),
                "weights": s.weights,
            }
            for s in training.snapshots
        ]
    if showcased and showcased.measured:
        summary |= _judged(showcased.measured)
    if showcased:
        summary["films"] = [
            {"kind": f.kind, "prompt": f.prompt, "frames": f.frames, "bytes": {x.path: x.bytes for x in f.files}}
            for f in showcased.animations
        ]
    return summary


def _judged(measured: Measured) -> dict[str, Any]:
    """The figures of every point, what they are read between, and the recommendation."""
    found = measured.recommendation
    return {
        "measures": [one.model_dump(mode="json") for one in measured.measures],
        "anchors": measured.anchors.model_dump(mode="json") if measured.anchors else None,
        "recommended_epoch": found.epoch,
        "recommended_strength": found.strength,
        "recommended_because": found.because,
        "nearest": [pair.model_dump(mode="json") for pair in measured.nearest],
    }
