"""``dimitra study``: a user study, from folders of videos to the supplement's table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dimitra.study.serve_command import Folder, opened, serve, told

if TYPE_CHECKING:
    from dimitra.study.rater import Rater

app = typer.Typer(
    help="A user study on a web page: which of two videos is more realistic? "
    "build, then invite, then serve, then results.",
    no_args_is_help=True,
)
console = Console(highlight=False)
_WIDTH = 130
"""Of the table where no terminal says how wide it is."""
_DEFAULT_CHECKS = 3
_LINES = 20
"""Of a list, before it is cut."""


@app.command()
def build(
    ours: Annotated[
        Path,
        typer.Option(help="Folder of our videos, or a pattern whose * is the clip: 'DIR/*-hp.mp4'"),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the study, new.")],
    other: Annotated[
        list[str] | None, typer.Option(help="NAME=DIR (or pattern) of a method; repeatable.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Folder or pattern of the ground truth: one more row.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of our method, in the table.")] = "Dimitra",
    seed: Annotated[int, typer.Option(help="Of names, sides and order.")] = 0,
    pairs_per_rater: Annotated[
        int | None, typer.Option(min=1, help="Pairs that a rater sees; by default all.")
    ] = None,
    checks: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Attention checks of a rater, the truth beside its frozen first frame; by "
            f"default {_DEFAULT_CHECKS} with --truth, none without.",
        ),
    ] = None,
    question: Annotated[str | None, typer.Option(help="In place of the paper's.")] = None,
    consent: Annotated[
        Path | None, typer.Option(help="Text file shown before the start; empty lines part.")
    ] = None,
) -> None:
    """Pair our videos with others of the same clips, and copy them under names that tell nothing.

    Example: dimitra study build --ours out/dimitra --other SadTalker=out/sadtalker
    --other DreamTalk=out/dreamtalk --truth clips --out study --seed 1
    """
    from dimitra.study.build import Wishes
    from dimitra.study.build import build as make
    from dimitra.study.study import CONSENT, QUESTION

    with told():
        others = _named(other or [])
        if checks is None:
            checks = 0 if truth is None else _DEFAULT_CHECKS
        wishes = Wishes(
            ours=name,
            seed=seed,
            pairs_per_rater=pairs_per_rater,
            checks=checks,
            question=question or QUESTION,
            consent=CONSENT if consent is None else _paragraphs(consent),
        )
        study = make(out, ours, others, truth, wishes)
    comparisons = len(study.numbered("comparison"))
    _list("left out", [f"{one.method}, {one.clip}: {one.reason}" for one in study.left_out], out)
    _list("note", study.notes, out)
    console.print(
        f"{escape(str(out))}: {comparisons} pairs, {study.pairs_per_rater} for each rater, and "
        f"{len(study.numbered('check'))} attention checks; {len(study.left_out)} videos left out",
        soft_wrap=True,
    )
    if not study.numbered("check"):
        console.print("[yellow]no attention checks:[/] careless raters cannot be told apart")
    console.print(f"next: dimitra study invite {escape(str(out))} 20", soft_wrap=True)


def _list(title: str, lines: Sequence[str], out: Path) -> None:
    for line in lines[:_LINES]:
        console.print(f"[yellow]{title}:[/] {escape(line)}", soft_wrap=True)
    if len(lines) > _LINES:
        more = f"and {len(lines) - _LINES} more, in {out / 'study.json'}"
        console.print(f"[yellow]{title}:[/] {escape(more)}", soft_wrap=True)


def _named(others: list[str]) -> dict[str, Path]:
    from dimitra.study.errors import StudyError

    named: dict[str, Path] = {}
    for text in others:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise StudyError(f"--other {text!r}; write NAME=DIR, for example SadTalker=out/sad")
        if name in named:
            raise StudyError(f"--other {name} is given twice; one folder for each method")
        named[name] = Path(path)
    return named


def _paragraphs(path: Path) -> tuple[str, ...]:
    from dimitra.study.errors import StudyError

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"--consent {path} cannot be read as UTF-8 text: {error}") from None
    found = tuple(" ".join(part.split()) for part in text.split("\n\n") if part.strip())
    if not found:
        raise StudyError(f"--consent {path} is empty; raters must know what they agree to")
    return found


@app.command()
def invite(
    folder: Folder,
    count: Annotated[int, typer.Argument(help="Raters to add.")] = 1,
    address: Annotated[
        str, typer.Option(help="Of the page as raters reach it.")
    ] = "http://127.0.0.1:8421/",
) -> None:
    """Add raters and print a link for each; also while the study is served.

    Example: dimitra study invite study 20 --address https://study.example.org/
    """
    with opened(folder) as (_, ledger):
        for rater in ledger.invite(count):
            typer.echo(_link(rater, address))


@app.command()
def raters(
    folder: Folder,
    address: Annotated[str, typer.Option(help="As of `invite`.")] = "http://127.0.0.1:8421/",
) -> None:
    """Print every rater's number, progress and link. Whoever has a link can answer with it.

    Of who has withdrawn, no link is kept.
    """
    with opened(folder) as (_, ledger):
        for rater in ledger.raters():
            progress = f"{rater.done}/{rater.total}"
            link = "-" if rater.state == "withdrawn" else _link(rater, address)
            typer.echo(f"{rater.number}\t{rater.state}\t{progress}\t{link}")


def _link(rater: Rater, address: str) -> str:
    # Behind # it is neither sent with the first request nor written to logs of proxies.
    return f"{address.rstrip('/')}/#{rater.token}"


app.command()(serve)


@app.command()
def results(
    folder: Folder,
    csv: Annotated[Path | None, typer.Option(help="Write every answer, one a line.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the table for programs.")] = None,
    max_wrong_checks: Annotated[
        int, typer.Option(min=0, help="Attention checks that a rater may fail and still count.")
    ] = 0,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Count raters who have not finished too.")
    ] = False,
) -> None:
    """Print the table of the paper's supplement with intervals and tests; also while it is served.

    Example: dimitra study results study --csv answers.csv
    """
    from dimitra.study.results import evaluate
    from dimitra.study.tables import (
        HEADINGS,
        PUBLISHED,
        as_json,
        remarks,
        table,
        write_csv,
        write_json,
    )

    with opened(folder) as (study, ledger):
        answers = ledger.answers()
        found = evaluate(
            study, ledger.raters(), answers, max_wrong=max_wrong_checks, unfinished=unfinished
        )
        if csv is not None:
            write_csv(csv, study, found, answers)
        if json is not None:
            write_json(json, as_json(study, found))
    drawn = Table(*HEADINGS, box=None)
    for cells in table(study, found):
        drawn.add_row(*map(escape, cells))
    wide = console if console.is_terminal else Console(width=_WIDTH, highlight=False)
    wide.print(f"[bold]{escape(study.question)}[/]")
    wide.print(drawn)
    for remark in (*remarks(found), PUBLISHED):
        wide.print(remark, soft_wrap=True)
