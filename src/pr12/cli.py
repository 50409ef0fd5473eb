"""The command ``pr12``: what people ask of the papers, and the tools for their own files.

What is heavy is imported by the command that needs it, so that ``pr12 --help`` is quick.
"""

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from pr12 import options
from pr12.photostyle.transfer import settings as style_settings
from pr12.rca.predict import settings as quality_settings
from pr12.workflow import interrupts
from pr12.workflow.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Five papers of the PR12 series, reproduced: claims, where numbers come from, and tools.",
)
RUNS = ("full", "embedded")  # in the order in which a claim's run is chosen
COLOURS = {
    "reproduced": "green",
    "no difference": "cyan",
    "differs": "red",
    "differs, better": "blue",
    "inconclusive": "yellow",
    "not run": "dim",
}
Root = Annotated[Path, typer.Option("--root", help="The repository.", show_default="this folder")]


@contextmanager
def _answered() -> Iterator[None]:
    """Answer a mistake with one sentence and exit code 2, an interrupt with 130."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pr12"):
            raise
        print(
            f"error: {error.name} is not installed; pip install -r requirements.lock (or, for the "
            "tools alone, '.[style]' or '.[quality]')",
            file=sys.stderr,
        )
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise typer.Exit(130) from None


def main() -> None:
    """Answer Ctrl-C and SIGTERM from the first import on, and run the command."""
    interrupts.answer()
    app()


def _tool(
    module: str,
    tool: Any,
    text: str,
    defaults: dict[str, Any] | None = None,
    **paths: tuple[type, bool, str],
) -> Callable[..., None]:
    """Return the command of a tool; of its paths each has a type, whether it is needed, a help."""
    described = {}
    for name, (parameter, needed, help_text) in paths.items():
        kind = Path if needed else Path | None
        words = ["-o", "--output"] if name in ("output", "out") else []
        words = [] if parameter is typer.Argument else words or [f"--{name.replace('_', '-')}"]
        described[name] = (
            Annotated[kind, parameter(*words, help=help_text)],
            inspect.Parameter.empty if needed else None,
        )
    command = options.command(
        _answered, module, tool.Settings, defaults or tool.DEFAULTS, tool.TEXTS, described
    )
    command.__doc__ = text
    return command


quality = typer.Typer(no_args_is_help=True, help="How good segmentations are that nobody labelled.")
app.add_typer(quality, name="quality")
app.command("style")(
    _tool(
        "pr12.photostyle.transfer",
        style_settings,
        "Give a photograph the style of another, and keep it a photograph.",
        content=(typer.Argument, True, "The photograph."),
        style=(typer.Argument, True, "Whose colours and light it gets."),
        output=(typer.Option, True, "PNG, JPEG or TIFF."),
        content_mask=(typer.Option, False, "Flat colours, one for each class."),
        style_mask=(typer.Option, False, "The same colours for the same classes."),
        weights=(typer.Option, False, "Of the network: safetensors or torch's state dict."),
    )
)
quality.command("score")(
    _tool(
        "pr12.rca.predict",
        quality_settings,
        "Predict the Dice of segmentations from references whose labels are trusted.",
        segmentations=(
            typer.Argument,
            True,
            "Folder: a file for each case, or a folder of organs.",
        ),
        images=(typer.Argument, True, "Folder of their images: files, or DICOM folders."),
        reference=(typer.Option, False, "Trusted: images/ and labels/, or a data set of nnU-Net."),
        calibration=(typer.Option, False, "Folder with images/, segmentations/ and labels/."),
        model=(typer.Option, False, "In place of both: what pr12 quality fit wrote."),
        out=(typer.Option, True, "Folder for tables, plot, page and maps."),
    )
)
quality.command("fit")(
    _tool(
        "pr12.rca.predict.fit",
        quality_settings,
        "Score references once, so that new cases cost their own registrations alone.",
        {name: quality_settings.DEFAULTS[name] for name in quality_settings.FITTED},
        reference=(typer.Argument, True, "Trusted: images/ and labels/, or a data set of nnU-Net."),
        calibration=(typer.Option, False, "Folder with images/, segmentations/ and labels/."),
        out=(typer.Option, True, "Folder for the model."),
    )
)


@app.command()
def claims(
    paper: Annotated[str | None, typer.Argument(help="Such as distill; all without it.")] = None,
    run: Annotated[str, typer.Option(help="The run: full or embedded.")] = "full",
    verdict: Annotated[str | None, typer.Option(help="Only these, such as differs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The records, for a program.")] = False,
    root: Root = Path(),
) -> None:
    """List claims of the papers with their numbers, ours, and the verdict."""
    from pr12.report.lookup import judged

    with _answered():
        if run not in RUNS:
            raise UserError(f"the run is {run!r}; there are: {', '.join(RUNS)}")
        every = list(judged.read(root / "reports", [run]))
        chosen = judged.select(every, paper, verdict)
        if as_json:
            records = [{"run": each.run, "paper": each.paper} | each.record for each in chosen]
            print(json.dumps(records, indent=1, ensure_ascii=False))
        else:
            _table(chosen, run)


def _table(chosen: list, run: str) -> None:
    """Print claims as a table, and how many there are of each verdict."""
    from collections import Counter

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pr12.report.lookup import judged

    table = Table(title=f"Claims, run {run}")
    table.add_column("claim", no_wrap=True)  # to be copied
    for heading in ("says", "paper", "ours", "asked for", "verdict"):
        table.add_column(heading, overflow="fold")
    for each in chosen:
        record = each.record
        verdict = Text(record["verdict"], style=COLOURS.get(record["verdict"], ""))
        table.add_row(
            Text(each.name), Text(record["says"]), judged.number(record["published"]),
            judged.measured(record), judged.bound(record), verdict,
        )  # fmt: skip
    console = Console()
    console.print(table)
    counted = Counter(each.record["verdict"] for each in chosen)
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counted.most_common()))


@app.command()
def trace(
    claim: Annotated[str, typer.Argument(help="Paper and claim, such as distill.distilled_74.")],
    run: Annotated[
        str | None, typer.Option(help="The run.", show_default="the first that judged it")
    ] = None,
    again: Annotated[bool, typer.Option(help="Make the number anew, and compare.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before that.")] = False,
    cores: Annotated[str, typer.Option(help="Cores for that.")] = "all",
    root: Root = Path(),
) -> None:
    """Show where a number comes from: seeds, bound, verdict, every command back to raw data."""
    from pr12.report.lookup import judged
    from pr12.report.lookup import trace as tracing

    with _answered():
        if run not in (None, *RUNS):
            raise UserError(f"the run is {run!r}; there are: {', '.join(RUNS)}")
        every = list(judged.read(root / "reports", [run] if run else RUNS))
        traced = tracing.trace(root, judged.find(every, claim))
        _show(traced)
        if again:
            _again(root, traced, cores, yes)


def _show(traced: Any) -> None:
    """Print a claim and what its number comes from."""
    from pr12.report.lookup import judged

    record = traced.claim.record
    print(f"{traced.claim.name} (run {traced.claim.run}): {record['says']}")
    for what, value in (
        ("where", record["where"]),
        ("quantity", record["quantity"]),
        ("published", judged.number(record["published"])),
        ("ours", judged.measured(record)),
        ("asked for", judged.bound(record)),
        ("verdict", record["verdict"]),
        ("to decide", judged.to_decide(record)),
        ("reason", record["reason"]),
        ("note", record["note"]),
    ):
        if value:
            print(f"  {what:<10} {value}")
    for case, metrics in traced.metrics.items():
        for key, values in metrics.items():
            print(f"  {case}  {key}: {', '.join(map(judged.number, values))}")
    print("from raw data to the number:")
    for file, checksum in traced.raw.items():
        print(f"  data/raw: {file}  {checksum}")
    for job in traced.jobs:
        mark = "" if traced.current(job) else "  (evidence was made by an earlier source or params)"
        print(f"  {job.folder}{mark}\n    {job.command}")


def _again(root: Path, traced: Any, cores: str, yes: bool) -> None:
    """Say what making a number anew takes, do it, and compare."""
    from pr12.cluster import measured
    from pr12.report.lookup import trace as tracing

    if not traced.jobs:
        raise UserError(f"{traced.claim.name} has no case in the run {traced.claim.run}")
    if traced.claim.record["timing"]:
        raise UserError(f"{traced.claim.name} is about time, which is never the same twice")
    table = measured.read(root / f"benchmarks/measured/{traced.claim.run}.csv")
    places = [job.folder.split("/") for job in traced.jobs]
    took = [
        table.get(measured.Job(paper, case, step.partition(".")[0]))
        for _, _, paper, case, step in places
    ]
    seconds = sum(each.cpu_seconds for each in took if each)
    unknown = sum(each is None for each in took)
    print(
        f"{len(traced.jobs)} steps, {seconds:.0f} processor-seconds when they were last measured"
        + (f" ({unknown} were not measured)" if unknown else ""),
        flush=True,
    )
    if not yes and not typer.confirm("Make it anew?"):
        raise typer.Exit(1)
    same = tracing.again(root, traced, cores)
    for case, equal in same.items():
        print(f"{case}: {'the same to the bit' if equal else 'differs from the evidence'}")
    if not all(same.values()):
        raise typer.Exit(1)


@app.command()
def doctor(root: Root = Path()) -> None:
    """Look at what this machine has of all that is needed, and say what to do."""
    from pr12.workflow import doctor as looking

    marks = {True: "ok  ", False: "NO  ", None: "--  "}

    def show(line: looking.Line) -> None:
        remedy = f": {line.remedy}" if line.remedy and line.good is not True else ""
        print(f"{marks[line.good]}{line.what}{remedy}", flush=True)

    if not root.is_dir():
        print(f"error: {root} is no folder; give that of the repository", file=sys.stderr)
        raise typer.Exit(2)
    if not looking.report(root, show):
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
