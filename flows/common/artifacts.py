"""What each stage shows in the Prefect UI: what came in, went out and was set aside, and pictures where there are any.

The UI's pictures must come with the text: it can load an address, but a store's objects have none.
"""

from collections.abc import Sequence

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext

from flows.common.report import Showcased, StageReport, nothing_new, stage_table
from tasks.common.markdown import cell
from tasks.common.pictures import contact_sheet, data_uri, evenly
from tasks.common.records import Animation, CaptionedImage, DatasetRef, Jpeg, Reject, Sample
from tasks.common.store import Store, StoreError
from tasks.measure.records import Figure, Measured

PICTURES, CAPTIONS, REJECTS, PROMPTS, EPOCHS = 32, 12, 20, 8, 12
FILM_BYTES = 600_000  # a larger film is shown as its sheet: every reader of the page loads all of it


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
    """The artifact of a whole pipeline run: its stages in a table, where its folder is, and a film."""
    head, *rows = (f"| {' | '.join(row)} |" for row in stage_table(reports))
    markdown = "\n\n".join(
        filter(
            None,
            [
                nothing_new(reports),
                "\n".join([head, "|---|---:|---:|---:|---:|---:|---:|", *rows]),
                f"Folder on the machine of this run: `{folder}`",
                films(showcased.animations[:1], store),
            ],
        )
    )
    create_markdown_artifact(markdown, key="pipeline-run", description="What the whole pipeline run did", _sync=True)  # type: ignore[call-arg]


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


def films(animations: Sequence[Animation], store: Store) -> str:
    """The films that are small enough, as many as there is room for, each in its smallest format."""
    parts: list[str] = []
    room = FILM_BYTES
    for film in animations:
        moving = {kind: file for file in film.files for kind in ("avif", "webp", "gif") if file.path.endswith(kind)}
        kind, file = min(moving.items(), key=lambda one: one[1].bytes, default=("", None))
        if file and file.bytes <= room and (data := _read(file.key, store)):
            room -= file.bytes
            parts.append(f"*{cell(film.prompt)}*\n\n![{film.kind}]({data_uri(data, f'image/{kind}')})")
    left = len(animations) - len(parts)
    return "\n\n".join([*parts, *([f"{left} more films are in the run's folder."] if left else [])])


def _read(key: str, store: Store) -> bytes | None:
    """A picture to show. One that is damaged is the matter of the stage that needs it, which says so better."""
    try:
        return store.read(key)
    except StoreError as error:
        get_run_logger().warning("left out of the artifact: %s", error)
        return None


def _sheet(label: str, pictures: list[bytes | None], columns: int) -> str:
    return f"{label}:\n\n![{cell(label)}]({data_uri(contact_sheet(pictures, columns))})" if pictures else ""
