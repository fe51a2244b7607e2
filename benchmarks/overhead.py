"""What Prefect costs: the whole sample pipeline through a server and two workers, against the same functions bare.

Takes about twice the demo's time. Ours and theirs are seconds, so the ratio's excess over 1 is the overhead.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import stamina

from benchmarks.sidebyside import Result

if TYPE_CHECKING:  # loaded by the bare process alone
    from flows.common.report import Collected, Finetuned, Showcased
    from flows.common.settings import Settings
    from tasks.common.store import Store

ROOT = Path(__file__).resolve().parent.parent
# Short against the minutes in which a machine's speed drifts, and against the timeouts of connections held up by it.
TURN_SECONDS = 10.0
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def measure() -> list[Result]:
    """Both from empty, each in processes of its own, in turns: one stands still while the other runs.

    One after the other, the machine's own speed differs by more than what is measured. When one fails its folder, with
    the logs, is left.
    """
    folder = Path(tempfile.mkdtemp(prefix="wikistyle-overhead-"))
    with _served(folder / "served") as served, _bare(folder / "bare") as bare:
        ours, theirs = _in_turns(served, bare)
    shutil.rmtree(folder)
    return [Result("sample pipeline: server and workers against bare calls", ours, theirs, ours / theirs, "s")]


class Bare:
    """The plain functions in a process; `ended` is the time of its end (seconds since the epoch)."""

    def __init__(self, process: subprocess.Popen):
        self.process = process

    def ended(self) -> float | None:
        if self.process.poll() is None:
            return None
        if self.process.returncode != 0:
            raise RuntimeError(f"the bare pipeline ended with status {self.process.returncode}")
        return time.time()


class Served:
    """A pipeline run asked for at a running server; `ended` is the time of its end by the server's clock."""

    def __init__(self, process: subprocess.Popen, http: httpx.Client, logs: Path):
        self.process, self.http, self.logs = process, http, logs
        deployment = _answer(http, "GET", "/deployments/name/wikistyle/sample-pipeline")["id"]
        self.run = _answer(http, "POST", f"/deployments/{deployment}/create_flow_run")["id"]

    def ended(self) -> float | None:
        pipeline = _answer(self.http, "GET", f"/flow_runs/{self.run}")
        state = pipeline["state"]
        if state["type"] not in ENDED:
            return None
        if state["type"] != "COMPLETED":
            raise RuntimeError(f"the pipeline run is {state['name']}: {state['message']}; see {self.logs}")
        return datetime.fromisoformat(pipeline["end_time"]).timestamp()


def _in_turns(served: Served, bare: Bare) -> tuple[float, float]:
    """The seconds that each of them ran until its end."""
    both: list[Served | Bare] = [served, bare]
    ran, left = [0.0, 0.0], [0, 1]
    while left:
        for i in tuple(left):
            _signal(both[i].process, signal.SIGCONT)
            began = time.time()
            ended = _wait(both[i])
            if ended is None:
                _signal(both[i].process, signal.SIGSTOP)
            else:
                left.remove(i)
            ran[i] += (ended or time.time()) - began
    return ran[0], ran[1]


def _wait(pipeline: Served | Bare) -> float | None:
    """A turn's time, or until the process has ended; when the pipeline run ended, if it has.

    The server is asked once in a turn: each question costs it, and with it the training, time.
    """
    with suppress(subprocess.TimeoutExpired):
        pipeline.process.wait(TURN_SECONDS)
    return pipeline.ended()


def _signal(process: subprocess.Popen, number: signal.Signals) -> None:
    """To the process and all below it, until there is none that was started meanwhile."""
    told: set[psutil.Process] = set()
    root = psutil.Process(process.pid)
    while new := {root, *root.children(recursive=True)} - told:
        for each in new:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(number)
        told |= new


def _environment(home: Path) -> dict[str, str]:
    own = {"WIKISTYLE_HOME": home, "WIKISTYLE_STORE": home / "store", "WIKISTYLE_TRAINING": home / "training"}
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return kept | {name: str(path) for name, path in own.items()} | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}


@contextmanager
def _bare(home: Path) -> Iterator[Bare]:
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.overhead"], cwd=ROOT, env=_environment(home))
    process.send_signal(signal.SIGSTOP)  # until its turn comes
    try:
        yield Bare(process)
    finally:
        if process.poll() is None:
            _signal(process, signal.SIGKILL)
        process.wait()


@contextmanager
def _served(home: Path) -> Iterator[Served]:
    """The server is up before the pipeline run is asked for, as a service's is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-c", "from flows.cli import main; main()", "up", "--port", port]
    up = subprocess.Popen(
        command, cwd=ROOT, env=_environment(home), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert up.stdout is not None
        url = next(line.split()[1] for line in up.stdout if line.startswith("UI: "))
        with httpx.Client(base_url=f"{url}/api", timeout=90) as http:
            yield Served(up, http, home / "logs")
    finally:
        _signal(up, signal.SIGCONT)
        up.send_signal(signal.SIGINT)
        up.wait()


def _answer(http: httpx.Client, method: str, path: str) -> dict[str, Any]:
    """What the server says; asked again while SQLite is busy, as Prefect's own client does."""
    for attempt in stamina.retry_context(on=_busy, attempts=10):
        with attempt:
            answer = http.request(method, path, json={} if method == "POST" else None).raise_for_status()
    return answer.json()


def _busy(error: Exception) -> bool:
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code == 503


def bare() -> None:
    """The sample pipeline by the stages' plain functions, without Prefect, artifacts or caches."""
    from flows.common.run_folder import write_run
    from flows.common.settings import load_profile, located
    from tasks.common.store import Store

    store, settings = Store(), located(load_profile("sample"))
    collected = _collect(settings, store)
    finetuned = _finetune(settings, collected)
    showcased = _show(settings, finetuned, store)
    write_run(Path(os.environ["WIKISTYLE_HOME"]) / "run", settings, collected, finetuned, showcased, store)


def _collect(settings: "Settings", store: "Store") -> "Collected":
    from flows.common.report import Collected
    from flows.common.sample_wiki import reachable
    from tasks.caption.captioner import caption_each
    from tasks.caption.identity import checked_identity, provenance
    from tasks.caption.records import to_rows
    from tasks.convert.convert import convert_each, to_jpegs
    from tasks.convert.duplicates import drop_duplicates
    from tasks.dataset.build import build_dataset
    from tasks.dataset.records import DatasetSource
    from tasks.scrape.scrape import scrape

    with reachable(settings) as reached:
        inventory, originals, missing = asyncio.run(scrape(reached.scrape, store))
    converted = convert_each([o.key for o in originals], settings.convert, store)
    jpegs, damaged = to_jpegs(originals, [done for _, done in converted])
    jpegs, same = drop_duplicates(jpegs)
    said = caption_each([j.key for j in jpegs], settings.caption, store)
    rows, uncaptioned = to_rows(jpegs, [caption for _, caption in said])
    rejects = (*inventory.rejects, *missing, *damaged, *same, *uncaptioned)
    source = DatasetSource(
        wiki=inventory.wiki, site_name=inventory.site_name, rights=inventory.rights,
        rights_basis=settings.scrape.rights_basis, listed=inventory.listed,
        aliases=sum(len(image.aliases) for image in inventory.images),
        caption=provenance(settings.caption, checked_identity(settings.caption.model, settings.caption.revision)),
    )  # fmt: skip
    ordered = tuple(sorted(rows, key=lambda row: (row.jpeg.key, row.jpeg.original.image.title)))
    dataset = build_dataset(ordered, rejects, source, settings.dataset, store)
    return Collected(
        dataset=dataset, wiki=inventory.wiki, site_name=inventory.site_name, listed=inventory.listed,
        duplicates=0, rejects=rejects, stages=(),
    )  # fmt: skip


def _finetune(settings: "Settings", collected: "Collected") -> "Finetuned":
    from flows.common.report import Finetuned
    from tasks.finetune.process.job import TrainingJob
    from tasks.finetune.process.launch import launch

    folder = Path(os.environ["WIKISTYLE_TRAINING"]) / "one"
    job = TrainingJob(dataset=collected.dataset, settings=settings.finetune, folder=str(folder))
    return Finetuned(training=launch(job), stages=())


def _show(settings: "Settings", finetuned: "Finetuned", store: "Store") -> "Showcased":
    from flows.common.report import Showcased
    from tasks.animate.films import denoising_film, training_film
    from tasks.diffusion.pipeline import best_device, load_base, put_in
    from tasks.sample.denoise import draw_denoising
    from tasks.sample.draw import draw_snapshot

    loaded, drawn = load_base(settings.finetune.base_model, None, *best_device()), []
    for snapshot in finetuned.training.snapshots:
        put_in(loaded, snapshot, store)
        drawn += draw_snapshot(loaded, snapshot.epoch, settings.sample, store)
    denoising = draw_denoising(loaded.pipe, settings.sample, store)
    films = [
        training_film(prompt, [s for s in drawn if s.prompt == prompt], [], settings.animate, store)
        for prompt in settings.sample.prompts
    ]
    films.append(denoising_film(settings.sample.filmed_prompt, list(denoising), settings.animate, store))
    return Showcased(samples=tuple(drawn), denoising=tuple(denoising), animations=tuple(films), stages=())


if __name__ == "__main__":
    bare()
