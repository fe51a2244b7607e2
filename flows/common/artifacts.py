"""What each stage shows in the Prefect UI: what came in, went out and was set aside, and pictures where there are any.

The UI's pictures must come with the text: it can load an address, but a store's objects have none.
"""

from collections.abc import Sequence

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext

from flows.common.report import Shown, StageReport
from tasks.common.pictures import contact_sheet, data_uri, evenly
from tasks.common.records import Animation, CaptionedImage, DatasetRef, Jpeg, Reject, Sample
from tasks.common.store import Store, StoreError

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


def show_story(reports: Sequence[StageReport], folder: str, shown: Shown, store: Store) -> None:
    """The artifact of a whole story: its stages in a table, where its folder is, and a film."""
    lines = ["| stage | in | out | aside | ran | cached | seconds |", "|---|---:|---:|---:|---:|---:|---:|"]
    lines += [
        f"| {r.stage} | {r.items_in} | {r.items_out} | {r.rejected} | {r.ran} | {r.cached} | {r.seconds:.1f} |"
        for r in reports
    ]
    said = "Everything was cached: nothing on the wiki or in the settings is new."
    markdown = "\n\n".join(
        filter(
            None,
            [
                said if all(report.ran == 0 for report in reports) else "",
                "\n".join(lines),
                f"Folder on the machine of this run: `{folder}`",
                films(shown.animations[:1], store),
            ],
        )
    )
    create_markdown_artifact(markdown, key="story", description="What the whole story did", _sync=True)  # type: ignore[call-arg]


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
    lines += [f"| {_cell(reject.title)} | {_cell(reject.reason)} |" for reject in rejects[:REJECTS]]
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
        lines.append(f"| ![{_cell(row.jpeg.original.image.title)}]({thumbnail}) | {_cell(row.text)} |")
    return "\n".join(lines)


def samples_sheet(samples: Sequence[Sample], store: Store) -> str:
    """One row for each prompt, its first seed at each snapshot, from the base model to the last epoch."""
    epochs = evenly(sorted({sample.epoch for sample in samples}), EPOCHS)
    prompts = list(dict.fromkeys(sample.prompt for sample in samples))[:PROMPTS]
    first = {(sample.prompt, sample.epoch): sample.key for sample in reversed(samples)}
    label = f"Epochs {', '.join(map(str, epochs))} of {'; '.join(prompts)}"
    return _sheet(label, [_read(first[prompt, epoch], store) for prompt in prompts for epoch in epochs], len(epochs))


def films(animations: Sequence[Animation], store: Store) -> str:
    """The films that are small enough, as many as there is room for."""
    shown, room = [], FILM_BYTES
    for film in animations:
        gif = next((file for file in film.files if file.path.endswith(".gif")), None)
        if gif and gif.bytes <= room and (data := _read(gif.key, store)):
            room -= gif.bytes
            shown.append(f"*{_cell(film.prompt)}*\n\n![{film.kind}]({data_uri(data, 'image/gif')})")
    left = len(animations) - len(shown)
    return "\n\n".join([*shown, *([f"{left} more films are in the run's folder."] if left else [])])


def _read(key: str, store: Store) -> bytes | None:
    """A picture to show. One that is damaged is the matter of the stage that needs it, which says so better."""
    try:
        return store.read(key)
    except StoreError as error:
        get_run_logger().warning("left out of the artifact: %s", error)
        return None


def _sheet(label: str, pictures: list[bytes | None], columns: int) -> str:
    return f"{label}:\n\n![{_cell(label)}]({data_uri(contact_sheet(pictures, columns))})" if pictures else ""


def _cell(text: str) -> str:
    """Text that breaks neither a table nor a picture's label."""
    return " ".join(text.split()).replace("|", "\\|").replace("[", "(").replace("]", ")").replace("<", "&lt;")
