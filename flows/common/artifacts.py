"""What each stage shows in the Prefect UI: what came in, went out and was set aside, and pictures where there are any.

The UI's pictures must come with the text: it can load an address, but a store's objects have none.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from prefect import get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.context import FlowRunContext

from flows.common.report import Showcased, StageReport, nothing_new, stage_table
from tasks.common.environment import environment
from tasks.common.markdown import cell
from tasks.common.pictures import contact_sheet, data_uri, evenly
from tasks.common.records import Animation, CaptionedImage, DatasetRef, Jpeg, Reject, Sample, StoredFile
from tasks.common.store import Store, StoreError
from tasks.measure.records import Figure, Measured

PICTURES, CAPTIONS, REJECTS, PROMPTS, EPOCHS = 32, 12, 20, 8, 12
FILM_BYTES = 600_000  # in one artifact: each is a row of the server's database, and its readers load all of it
FILM_PAGES = 8
MIMES = {".gif": "image/gif", ".webp": "image/webp", ".avif": "image/avif", ".png": "image/png"}  # best known first


def show(report: StageReport, *sections: str) -> None:
    """The artifact of a stage, under its name; nothing outside of a flow run."""
    if FlowRunContext.get() is None:
        return
    counts = f"{report.items_in} in, {report.items_out} out, {report.rejected} set aside"
    work = f"{report.ran} were done, {report.cached} were cached."
    if report.ran == 0:
        work = f"Everything was cached: nothing is new ({report.cached} cached)."
    markdown = "\n\n".join(filter(None, [f"**{counts}**, in {report.seconds:.1f} s. {work}", *sections]))
    create_markdown_artifact(markdown, key=report.stage, description=f"What {report.stage} did", _sync=True)  # type: ignore[call-arg]


def show_run(reports: Sequence[StageReport], folder: str, showcased: Showcased, store: Store) -> None:
    """The artifacts of a whole pipeline run: its stages, where its gallery is, its last pictures, its films."""
    head, *rows = (f"| {' | '.join(row)} |" for row in stage_table(reports))
    gallery = gallery_address(Path(folder))
    if gallery:
        create_link_artifact(gallery, "The gallery", key="gallery", description="All pictures and films", _sync=True)  # type: ignore[call-arg]
    page = Path(folder).resolve() / "gallery" / "index.html"
    markdown = "\n\n".join(
        filter(
            None,
            [
                nothing_new(reports),
                f"[Open the gallery]({gallery}), with all pictures and films." if gallery else "",
                last_pictures(showcased.samples, store),
                films(showcased.animations[:1], store),
                "\n".join([head, "|---|---:|---:|---:|---:|---:|---:|", *rows]),
                f"The gallery on the machine of this run: `{page}`",
            ],
        )
    )
    create_markdown_artifact(markdown, key="pipeline-run", description="What the whole pipeline run did", _sync=True)  # type: ignore[call-arg]
    show_films(showcased.animations, store)


def gallery_address(folder: Path) -> str:
    """Where a browser finds the gallery of a run's folder; empty when nothing serves that."""
    served, variables = folder.resolve(), environment()
    if variables.runs_url is None or not served.is_relative_to(variables.runs.resolve()):
        return ""
    place = served.relative_to(variables.runs.resolve()).as_posix()
    return f"{str(variables.runs_url).rstrip('/')}/{quote(place)}/gallery/index.html"


def show_films(animations: Sequence[Animation], store: Store) -> None:
    """Artifacts of all films, as many as it takes, on the run that a person started: a child run leaves it to that."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.parent_task_run_id is not None:
        return
    for number, page in enumerate(film_pages(animations, store), 1):
        key = "films" if number == 1 else f"films-{number}"
        create_markdown_artifact(page, key=key, description="Films of each prompt, and of denoising", _sync=True)  # type: ignore[call-arg]


def dataset_facts(ref: DatasetRef) -> str:
    """What a dataset is called, how large it is and where it went."""
    size = sum(file.bytes for file in ref.files)
    where = f"published as {ref.repo_id}@{ref.revision}" if ref.revision else "kept in the store, not published"
    return (
        f"{ref.rows} rows, {size / 2**20:.1f} MiB in {len(ref.files)} files, fingerprint `{ref.fingerprint}`, {where}."
    )


def rejects_table(rejects: Sequence[Reject]) -> str:
    """The first of what was set aside, with the reason for each."""
    if not rejects:
        return ""
    lines = ["| set aside | why |", "|---|---|"]
    lines += [f"| {cell(reject.title)} | {cell(reject.reason)} |" for reject in rejects[:REJECTS]]
    more = [f"\n… and {len(rejects) - REJECTS} more, all in summary.json."] if len(rejects) > REJECTS else []
    return "\n".join([*lines, *more])


def jpegs_sheet(jpegs: Sequence[Jpeg], store: Store) -> str:
    """Pictures from evenly through the set."""
    chosen = evenly(sorted(jpegs, key=lambda jpeg: jpeg.key), PICTURES)
    return _sheet("Some of the pictures", [_read(jpeg.key, store) for jpeg in chosen], 8)


def captions_table(rows: Sequence[CaptionedImage], store: Store) -> str:
    """Pictures with what was said of them."""
    lines = ["| picture | caption |", "|---|---|"]
    for row in evenly(sorted(rows, key=lambda row: row.jpeg.key), CAPTIONS):
        thumbnail = data_uri(contact_sheet([_read(row.jpeg.key, store)], 1, 72))
        lines.append(f"| ![{cell(row.jpeg.original.image.title)}]({thumbnail}) | {cell(row.text)} |")
    return "\n".join(lines)


def samples_sheet(samples: Sequence[Sample], store: Store) -> str:
    """One row for each prompt, its first seed at each snapshot, from the base model to the last epoch."""
    epochs = evenly(sorted({sample.epoch for sample in samples}), EPOCHS)
    prompts = list(dict.fromkeys(sample.prompt for sample in samples))[:PROMPTS]
    first = {(sample.prompt, sample.epoch): sample.key for sample in reversed(samples)}
    label = f"Epochs {', '.join(map(str, epochs))} of {'; '.join(prompts)}"
    return _sheet(label, [_read(first[prompt, epoch], store) for prompt in prompts for epoch in epochs], len(epochs))


def measures_table(measured: Measured) -> str:
    """The recommendation in words, and every figure with its interval, between the two that they are read between."""
    chosen = (measured.recommendation.epoch, measured.recommendation.strength)
    lines = [
        f"**{measured.recommendation.because}**",
        "",
        "| epoch | strength | style distance | of the way | prompt agreement | composition | copies | held-out loss "
        "| probe loss | PSNR (dB) | |",
        "|---:|---:|---|---|---|---|---|---:|---:|---:|---|",
    ]
    for one in measured.measures:
        shown = ((one.style_distance, 1), (one.style_way, 2), (one.prompt_agreement, 3), (one.composition, 2))
        figures = [_figure(figure, digits) for figure, digits in shown]
        losses = [*(_number(loss, 4) for loss in (one.heldout_loss, one.probe_loss)), _number(one.decoder_psnr, 2)]
        cells = [str(one.epoch), f"{one.strength:g}", *figures, _figure(one.copies, 2), *losses]
        lines.append(f"| {' | '.join(cells)} | {'recommended' if (one.epoch, one.strength) == chosen else ''} |")
    if anchors := measured.anchors:
        lines.append(
            f"| wiki's own | | {_figure(anchors.style_floor, 1)} | 1 | {_figure(anchors.drawings_agreement, 3)} | "
            f"| {anchors.copies_null:.2f} | | | | {anchors.subjects} subjects |"
        )
    return "\n".join(lines if measured.measures else lines[:1])


def _figure(figure: Figure, digits: int) -> str:
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def last_pictures(samples: Sequence[Sample], store: Store) -> str:
    """What the last snapshot drew: one row for each prompt, a column for each seed."""
    last = max((sample.epoch for sample in samples), default=0)
    drawn = [sample for sample in samples if sample.epoch == last]
    prompts = list(dict.fromkeys(sample.prompt for sample in drawn))[:PROMPTS]
    rows = [[sample for sample in drawn if sample.prompt == prompt][:EPOCHS] for prompt in prompts]
    label = f"Drawn after epoch {last}: {'; '.join(prompts)}"
    return _sheet(label, [_read(sample.key, store) for row in rows for sample in row], max(map(len, rows), default=1))


def films(animations: Sequence[Animation], store: Store) -> str:
    """The first films, as many as there is room for in one artifact."""
    pages = film_pages(animations, store, most=1)
    return pages[0] if pages else ""


def film_pages(animations: Sequence[Animation], store: Store, most: int = FILM_PAGES) -> list[str]:
    """All films, of FILM_BYTES on each page; those that are more than `most` pages hold are counted on the last."""
    pages: list[list[str]] = []
    room, shown = 0, 0
    for film in animations:
        file = _small_enough(film)
        size = file.bytes if file else 0
        if not pages or size > room:
            if len(pages) == most:
                break
            pages.append([])
            room = FILM_BYTES
        pages[-1].append(_film(film, file, store))
        room, shown = room - size, shown + 1
    if pages and shown < len(animations):
        pages[-1].append(f"{len(animations) - shown} more films are in the run's folder.")
    return ["\n\n".join(page) for page in pages]


def _small_enough(film: Animation) -> StoredFile | None:
    """The film in the format that most can show, of those that have room on a page; else its sheet."""
    files = {Path(file.path).suffix: file for file in film.files if file.bytes <= FILM_BYTES}
    return next((files[suffix] for suffix in MIMES if suffix in files), None)


def _film(film: Animation, file: StoredFile | None, store: Store) -> str:
    data = _read(file.key, store) if file else None
    if not file or not data:
        return f"*{cell(film.prompt)}*: too large to be shown here; it is in the run's folder"
    return f"*{cell(film.prompt)}*\n\n![{film.kind}]({data_uri(data, MIMES[Path(file.path).suffix])})"


def _read(key: str, store: Store) -> bytes | None:
    """A picture to show. One that is damaged is the matter of the stage that needs it, which says so better."""
    try:
        return store.read(key)
    except StoreError as error:
        get_run_logger().warning("left out of the artifact: %s", error)
        return None


def _sheet(label: str, pictures: list[bytes | None], columns: int) -> str:
    return f"{label}:\n\n![{cell(label)}]({data_uri(contact_sheet(pictures, columns))})" if pictures else ""
