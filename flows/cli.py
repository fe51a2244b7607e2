"""`wikistyle`: the pipeline for people without a server.

Exit status 0 done, 1 a stage failed, 2 wrong usage, 130 stopped by Ctrl-C (128 + the signal's number).
"""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from flows.common.describe import describe_settings
from flows.common.handoff import MissingPart
from flows.common.local import make_home, prepare_prefect
from flows.common.preflight import PARTS, check
from flows.common.process import Part, PipelineFailed, Request, Stopped, run_apart
from flows.common.report import nothing_new, reports_in, stage_table
from flows.common.settings import SettingsError, load_profile, profile_names
from tasks.common.environment import VariableError, environment
from tasks.common.progress import say

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Teach Stable Diffusion the drawing style of a wiki, and watch the style arrive.",
)  # fmt: skip


# \b keeps click from wrapping a paragraph anew; each needs its own.
EPILOG = "\n\n".join(
    f"\b\n{paragraph}"
    for paragraph in "\n".join(
        ["Settings, for --set and profile files: name = default  (what fits)  what it is", "", *describe_settings()]
    ).split("\n\n")
)

Profile = Annotated[str, typer.Option(help="A profile by name (see `wikistyle profiles`) or a YAML file.")]


@app.command(epilog=EPILOG)
def run(
    profile: Profile = "sample",
    set_: Annotated[list[str], typer.Option("--set", help="Change a setting: finetune.epochs=20")] = [],  # noqa: B006
    only: Annotated[Part | None, typer.Option(help="Run one part alone.")] = None,
    run_dir: Annotated[str, typer.Option(help="Folder of the run; by default runs/<date>-<profile>.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="Print summary.json instead of the report.")] = False,
) -> None:
    """Run the pipeline, or one part of it, with an embedded server unless PREFECT_API_URL names one.

    Exit status 0: done; 1: a stage failed; 2: wrong usage; 130: stopped by Ctrl-C. What was done is kept.
    """
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # errors are told once, in a line of our own
    settings = load_profile(profile, set_)
    try:
        check(settings, (only,) if only else PARTS)
    except MissingPart as error:
        first = _command(profile, set_, error.part)
        _fail(f"nothing is kept of {error.part} for profile {settings.profile}; run `{first}` first", 1)
    make_home()  # before Prefect is loaded, which what is wrong above need not wait for
    from flows.common.run_folder import check_run_folder

    check_run_folder(run_dir)
    server = os.environ.get("PREFECT_API_URL", "a Prefect server of this run's own, which takes 10 to 30 s to start")
    say(f"starting with {server}")
    again = _command(profile, set_, only, run_dir, json_)
    try:
        folder = Path(run_apart(Request(settings=settings, only=only, run_dir=run_dir)))
    except PipelineFailed as error:
        _fail(f"{error}; once mended, `{again}` goes on from there", 1)
    except Stopped as stop:
        _fail(f"stopped; what was done is kept, and `{again}` goes on from there", 128 + stop.number)
    summary = json.loads((folder / "summary.json").read_text())
    print(json.dumps(summary, indent=1, ensure_ascii=False) if json_ else report(folder, summary))


def _command(profile: str, set_: list[str], only: str | None, run_dir: str = "", json_: bool = False) -> str:
    """`wikistyle run` with these options, to be copied into the shell it was typed in."""
    typed, found = Path(sys.argv[0]), shutil.which("wikistyle")
    elsewhere = typed.name == "wikistyle" and not (found and typed.exists() and typed.samefile(found))
    words = [sys.argv[0] if elsewhere else "wikistyle", "run", "--profile", profile]
    words += [word for one in set_ for word in ("--set", one)]
    words += ["--only", only] if only else []
    words += ["--run-dir", run_dir] if run_dir else []
    return shlex.join([*words, *(["--json"] if json_ else [])])


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
    from flows.common.run_folder import find_run

    folder = find_run(run)
    print(report(folder, json.loads((folder / "summary.json").read_text())))


@app.command()
def draw(
    prompt: Annotated[str, typer.Argument(help="What to draw.")],
    epoch: Annotated[int | None, typer.Option(help="Whose weights; by default the last snapshot's.", min=0)] = None,
    strength: Annotated[
        float, typer.Option(help="How far from the base model to that epoch: 0 base, 1 epoch.", min=0, max=1.25)
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Which noise it starts from.", min=0)] = 0,
    run: Annotated[str, typer.Option(help="A run's id, its folder, or latest.")] = "latest",
    from_: Annotated[Path | None, typer.Option("--from", help="A picture to start from instead of noise.")] = None,
    out: Annotated[Path | None, typer.Option(help="The PNG to write; by default named after what it shows.")] = None,
) -> None:
    """Draw one picture with a finished run's model, and print where it is."""
    if not prompt.strip():
        raise SettingsError("the prompt is empty; say what to draw")
    from flows.common.draw_one import Wanted, draw_one

    print(draw_one(run, Wanted(prompt, epoch, strength, seed, from_), out))


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
    from tasks.finetune.memory.rehearsal import rehearse as rehearse_training

    print(rehearse_training(settings.finetune, compare, drawn=settings.sample.batch_size))


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would go, and delete nothing.")] = False,
    min_age: Annotated[float, typer.Option(help="Hours; what was written later stays.", min=0)] = 24.0,
) -> None:
    """Delete from the store what no kept run refers to: delete a run's folder first, then this frees its objects."""
    from flows.common.gc import gc as collect_garbage

    print(collect_garbage(min_age, dry_run))


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Port of the server and its UI on 127.0.0.1.", min=1)] = 4200,
    no_password: Annotated[bool, typer.Option("--no-password", help="Let every user of this machine in.")] = False,
) -> None:
    """Run a Prefect server, the deployments and both workers on this machine, until Ctrl-C."""
    from deployments.up import up as bring_up

    bring_up(port, password=not no_password)


def report(folder: Path, summary: dict[str, Any]) -> str:
    """What each stage did and took, and where to look, as text."""
    reports = reports_in(summary)
    line = "{:10} {:>6} {:>6} {:>6} {:>5} {:>7} {:>8}"
    lines = ["", *(line.format(*row) for row in stage_table(reports)), ""]
    lines += filter(None, [nothing_new(reports)])
    gallery = folder / "gallery" / "index.html"
    lines.append(f"Run folder: {folder}")
    if gallery.exists():
        lines.append(f"Gallery:    {gallery}")
    lines.append("Next: open the gallery in a browser; see `wikistyle show latest`; "
                 "try `wikistyle run --set 'sample.prompts=[\"a cat face\"]'`.")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """The command line's entry: errors become one line and an exit status."""
    try:
        prepare_prefect()
        app(standalone_mode=False)
    except (SettingsError, VariableError) as error:
        _fail(str(error), 2)
    except typer.Abort:
        _fail("stopped", 1)
    except Exception as error:
        if show_usage := getattr(error, "show", None):  # the command line's own errors
            show_usage()
            sys.exit(2)
        if environment().traceback:
            raise
        _fail(" ".join(str(error).split()) or type(error).__name__, 1)


def _fail(message: str, status: int) -> NoReturn:
    say(f"wikistyle: {message}")
    sys.exit(status)
