"""`wikistyle`: the story for people without a server. Exit status 0 done, 1 a stage failed, 2 wrong usage."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from pydantic import BaseModel

from flows.local import prepare_prefect
from flows.settings import Settings, SettingsError, load_profile, profile_names

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Teach Stable Diffusion the drawing style of a wiki, and watch the style arrive.",
)  # fmt: skip


def describe_settings(model: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """One line for each setting: name, default, and what it is, from the pydantic models."""
    lines: list[str] = []
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            lines += ["", f"{prefix}{name}: {' '.join((kind.__doc__ or '').split())}", ""]
            lines += describe_settings(kind, f"{prefix}{name}.")
        else:
            default = json.dumps(field.get_default(call_default_factory=True), ensure_ascii=False, default=str)
            lines.append(f"  {prefix}{name} = {default}  {field.description or ''}")
    return lines


EPILOG = "Settings, for --set and profile files (name = default, what it is):\n\n\b\n" + "\n".join(describe_settings())

Profile = Annotated[str, typer.Option(help="A profile by name (see `wikistyle profiles`) or a YAML file.")]


@app.command(epilog=EPILOG)
def run(
    profile: Profile = "sample",
    set_: Annotated[list[str], typer.Option("--set", help="Change a setting: finetune.epochs=20")] = [],  # noqa: B006
    only: Annotated[Literal["collect", "finetune", "showcase"] | None, typer.Option(help="Run one part alone.")] = None,
    run_dir: Annotated[str, typer.Option(help="Folder of the run; by default runs/<date>-<profile>.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="Print summary.json instead of the report.")] = False,
) -> None:
    """Run the story, or one part of it, with an embedded server unless PREFECT_API_URL names one."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # errors are told once, in a line of our own
    settings = load_profile(profile, set_)
    from flows.local import run_here
    from flows.report import StageFailed

    try:
        folder = run_here(settings, only, run_dir)
    except StageFailed as error:
        if os.environ.get("WIKISTYLE_TRACEBACK"):
            raise
        command = f"wikistyle run --profile {profile} --only {error.part}"
        _fail(f"{error}; once mended, `{command}` runs what is left of it", 1)
    summary = json.loads((folder / "summary.json").read_text())
    print(json.dumps(summary, indent=1, ensure_ascii=False) if json_ else report(folder, summary))


@app.command()
def profiles() -> None:
    """List the profiles that come with wikistyle."""
    for name in profile_names():
        settings = load_profile(name)
        wiki = settings.scrape.api_url or "the bundled sample wiki"
        print(f"{name}: {wiki} → {settings.finetune.base_model}, {settings.finetune.epochs} epochs")


@app.command()
def show(run: Annotated[str, typer.Argument(help="A run's id, its folder, or latest.")]) -> None:
    """Tell what a run did and where its pictures are."""
    folder = next((f for f in (Path(run), Path("runs") / run) if (f / "summary.json").is_file()), None)
    if folder is None:
        known = ", ".join(sorted(p.name for p in Path("runs").glob("[!.]*"))) or "none"
        raise SettingsError(f"run {run} has no summary.json here or in runs/ (there are: {known}); name one of these")
    print(report(folder.resolve(), json.loads((folder / "summary.json").read_text())))


@app.command("sample-wiki")
def sample_wiki(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 0,
    second_wave: Annotated[bool, typer.Option("--second-wave", help="With the later uploads.")] = False,
) -> None:
    """Serve the sample wiki until Ctrl-C."""
    from samples.wiki.server import serve

    with serve(port=port, second_wave=second_wave) as wiki:
        print(f"The sample wiki is at {wiki.url} (API: {wiki.url}/api.php); Ctrl-C stops it.", flush=True)
        wiki.wait()


@app.command()
def rehearse(
    profile: Profile = "simpsons",
    set_: Annotated[list[str], typer.Option("--set", help="Change a setting: finetune.batch_size=8")] = [],  # noqa: B006
    compare: Annotated[bool, typer.Option("--compare", help="Time it with encoding in the loop, too.")] = False,
) -> None:
    """Try Stable Diffusion v1 at its real size with random weights: memory, disk, and whether a 24 GB GPU would do."""
    settings = load_profile(profile, set_)
    from tasks.finetune.rehearse import rehearse as rehearse_training

    print(rehearse_training(settings.finetune, compare, drawn=settings.sample.batch_size))


@app.command()
def up(port: Annotated[int, typer.Option(help="Port of the server and its UI on 127.0.0.1.", min=1)] = 4200) -> None:
    """Run a Prefect server, the deployments and both workers on this machine, until Ctrl-C."""
    from flows.up import up as bring_up

    bring_up(port)


def report(folder: Path, summary: dict[str, Any]) -> str:
    """What each stage did and took, and where to look, as text."""
    lines = ["", f"{'stage':10} {'in':>6} {'out':>6} {'aside':>6} {'ran':>5} {'cached':>7} {'seconds':>8}"]
    for name, s in summary["stages"].items():
        lines.append(
            f"{name:10} {s['in']:>6} {s['out']:>6} {s['rejected']:>6} "
            f"{s['ran']:>5} {s['cached']:>7} {s['seconds']:>8.1f}"
        )
    # The inventory is asked for each time: it is how a run learns that nothing is new.
    fresh = sum(s["ran"] for s in summary["stages"].values()) - ("scrape" in summary["stages"])
    lines.append("")
    if fresh <= 0:
        lines.append("Everything was cached: nothing on the wiki or in the settings is new.")
    gallery = folder / "gallery" / "index.html"
    lines.append(f"Run folder: {folder}")
    if gallery.exists():
        lines.append(f"Gallery:    {gallery}")
    lines.append("Next: open the gallery in a browser; see `wikistyle show latest`; "
                 "try `wikistyle run --set 'sample.prompts=[\"a cat face\"]'`.")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """The command line's entry: errors become one line and an exit status."""
    prepare_prefect()
    try:
        app(standalone_mode=False)
    except SettingsError as error:
        _fail(str(error), 2)
    except typer.Abort:
        _fail("stopped", 1)
    except Exception as error:
        if show_usage := getattr(error, "show", None):  # the command line's own errors
            show_usage()
            sys.exit(2)
        if os.environ.get("WIKISTYLE_TRACEBACK"):
            raise
        _fail(" ".join(str(error).split()) or type(error).__name__, 1)


def _fail(message: str, status: int) -> NoReturn:
    print(f"wikistyle: {message}", file=sys.stderr)
    sys.exit(status)
