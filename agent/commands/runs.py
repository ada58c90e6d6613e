"""`run`, `resume`, `replay` and `demo`: commands on runs.

PyTorch takes seconds to load, so each command imports what it needs, and the help is there at once.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from metricsmith.sandbox.errors import RunError

from ..allowance import Allowance
from ..hints import say
from ..models import ModelSettings
from ..run_folder import RunFolder
from ..settings import Settings
from .options import About, Data, Format, Images, SkipBad, Unsafe, console

__all__ = ["register"]


class Approve(StrEnum):
    """Who approves a valid metric."""

    auto = "auto"
    ask = "ask"
    rule = "rule"


class Vision(StrEnum):
    """Whether the model is shown pictures."""

    auto = "auto"
    on = "on"
    off = "off"


def _spend(what: str, unit: str, least: float, default: str = "no limit") -> Any:
    """An option on what a run may spend."""
    return typer.Option(
        metavar=unit, min=least, show_default=default, help=what, rich_help_panel="The most that may be spent"
    )


Run = Annotated[Path, typer.Argument(metavar="RUN", show_default=False, help="The folder of a run.")]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="The folder that holds the runs.")]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", show_default="from DATA", help="The run's name.")
]
Split = Annotated[
    Path | None, typer.Option(metavar="DATA", show_default="found in DATA, or cut from it", help="See DATA.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("run", rich_help_panel="Runs")(_run)
    app.command("resume", rich_help_panel="Runs")(_resume)
    app.command("hint", rich_help_panel="Runs")(_hint)
    app.command("replay", rich_help_panel="Runs")(_replay)
    app.command("export", rich_help_panel="Runs")(_export)
    app.command("multiplier", rich_help_panel="Runs")(_multiplier)
    app.command("demo", rich_help_panel="Runs")(_demo)


def _run(
    data: Data,
    llm: Annotated[
        str,
        typer.Option(
            "--llm",
            metavar="MODEL",
            show_default=False,
            help="openai:MODEL, openai:MODEL@BASE_URL for any compatible server (the key is OPENAI_API_KEY), "
            "manual (requests and replies as files) or paste (in the terminal).",
        ),
    ],
    val: Split = None,
    test: Split = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            show_default="found in DATA, or none",
            help="The pool with trusted labels, for relabel.",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How many metrics to try.")] = 6,
    ideas: Annotated[
        int,
        typer.Option(min=1, max=12, help="Ideas to think of in each round; the first that fits is tried."),
    ] = 4,
    budget: Annotated[
        float, typer.Option(min=0.001, max=1, help="Training images, as a share of the pool.")
    ] = 0.25,
    seeds: Annotated[int, typer.Option(min=1, help="Trials behind each number.")] = 6,
    first_seeds: Annotated[
        int, typer.Option(min=1, help="Trials after which a curation that gains nothing is dropped.")
    ] = 3,
    confirm: Annotated[
        int,
        typer.Option(
            min=0,
            help="Fresh seeds with which the best curations are tried again, on val, before test; 0: none.",
        ),
    ] = 4,
    finalists: Annotated[int, typer.Option(min=1, help="How many curations are tried again.")] = 3,
    mend: Annotated[
        float,
        typer.Option(
            min=0.01, max=0.99, help="Share of a training set that an annotator mends at most, in relabel."
        ),
    ] = 0.4,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    approve: Annotated[
        Approve,
        typer.Option(
            help="Approve valid metrics by yourself? rule: those that touch over 10 % of the pool, and all "
            "where the jail has not every wall."
        ),
    ] = Approve.auto,
    about: About = "",
    hint: Annotated[
        list[str] | None,
        typer.Option(
            "--hint", metavar="TEXT", show_default=False, help="A hint to the model; may be repeated."
        ),
    ] = None,
    metric: Annotated[
        list[Path] | None,
        typer.Option(
            "--metric",
            metavar="FILE",
            show_default=False,
            help="A metric whose scores rounds may use from the start, such as one of "
            "metrics_generated; may be repeated.",
        ),
    ] = None,
    vision: Annotated[
        Vision, typer.Option(help="Show the model a contact sheet; auto: to services, which may refuse it.")
    ] = Vision.auto,
    detector: Annotated[
        str, typer.Option(metavar="NAME", help="The fixed detector: proxy, or torchvision:NAME.")
    ] = "proxy",
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default="torchvision's own",
            help="What a torchvision:NAME starts from: a state dict.",
        ),
    ] = None,
    name: Name = None,
    runs_folder: Runs = Path("runs"),
    images: Images = None,
    format: Format = None,
    skip_bad: SkipBad = False,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=2, show_default="the model's own", help="Sampling temperature.")
    ] = None,
    unsafe: Unsafe = False,
    max_calls: Annotated[int | None, _spend("Calls to the language model.", "N", 1)] = None,
    max_tokens: Annotated[int | None, _spend("Tokens, prompts and answers together.", "N", 1)] = None,
    max_dollars: Annotated[float | None, _spend("Dollars; needs both prices.", "USD", 0.01)] = None,
    max_minutes: Annotated[float | None, _spend("Minutes of this process.", "MIN", 0.1)] = None,
    max_trials: Annotated[int | None, _spend("Detector trainings.", "N", 1)] = None,
    price_in: Annotated[float | None, _spend("Of a million tokens in prompts.", "USD", 0, "unknown")] = None,
    price_out: Annotated[float | None, _spend("Of a million tokens in answers.", "USD", 0, "unknown")] = None,
) -> None:
    """Let the engineer work: propose, write, validate, score, curate, train, judge, reflect.

    DATA may be a folder that holds its splits (train or pool, val or valid, test, and perhaps reference);
    of a single data set, 20 % of the videos become val and 20 % test. A run that has spent what it may spend
    finishes its round and ends with a summary.
    """
    from .. import runs

    if max_dollars is not None and (price_in is None or price_out is None):
        raise RunError("--max-dollars needs --price-in and --price-out, in dollars for a million tokens")
    allowance = Allowance(
        calls=max_calls,
        tokens=max_tokens,
        dollars=max_dollars,
        minutes=max_minutes,
        trials=max_trials,
        price_in=price_in,
        price_out=price_out,
    )
    settings = Settings(
        data=data,
        val=val,
        test=test,
        reference=reference,
        images=images,
        format=format,
        skip_bad=skip_bad,
        about=about,
        hints=tuple(hint or ()),
        metrics=tuple(metric or ()),
        rounds=rounds,
        ideas=ideas,
        budget=budget,
        seeds=seeds,
        first_seeds=first_seeds,
        confirm=confirm,
        finalists=finalists,
        mend=mend,
        seed=seed,
        detector=detector,
        weights=weights,
        cache=runs_folder / "cache",
        approve=approve.value,
        vision=vision.value,
        unsafe_no_sandbox=unsafe,
        allowance=allowance,
    )
    model = replace(ModelSettings.from_spec(llm), temperature=temperature)
    folder = RunFolder(runs_folder / (name or data.resolve().stem))
    runs.begin(folder, settings, model, console)


def _resume(
    run: Run,
    finish: Annotated[
        bool,
        typer.Option(
            "--finish", help="Begin no further round: carry the present one through, then look at test."
        ),
    ] = False,
) -> None:
    """Go on with a run that was stopped; nothing that was paid for or computed is done twice."""
    from .. import runs

    runs.resume(RunFolder(run), console, finish=finish)


def _hint(
    run: Run,
    text: Annotated[str, typer.Argument(metavar="TEXT", show_default=False, help="In your words.")],
) -> None:
    """Give the engineer a hint while it works: it reads it when the next round begins.

    Hints are recorded and shown in the report as yours.
    """
    folder = RunFolder(run)
    folder.read_settings()  # says what is wrong where there is no run
    if folder.summary.exists():
        raise RunError(f"{run}: this run is finished; give the hint to a new one, with --hint")
    say(folder.hints, text)
    console.print("The next round begins with it.")


def _replay(
    run: Run,
    live_trials: Annotated[
        bool,
        typer.Option(
            "--live-trials", help="Train the detectors again instead of reading the trials' results."
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DATA", show_default="as recorded", help="Where the data lies here."),
    ] = None,
    val: Annotated[
        Path | None, typer.Option(metavar="DATA", show_default="as recorded", help="See --data.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(metavar="DATA", show_default="as recorded", help="See --data.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(metavar="DATA", show_default="as recorded", help="See --data.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", show_default="RUN-replay", help="The new run's name."),
    ] = None,
    runs_folder: Runs = Path("runs"),
) -> None:
    """Carry a recorded run through again, without a language model or a network.

    Every request must be the recorded one and the new journal must equal the recorded one; generated code
    really runs. With --live-trials the detectors are really trained too, and a verdict may differ.
    """
    from .. import runs

    record = RunFolder(run)
    folder = RunFolder(runs_folder / (name or f"{record.path.resolve().name}-replay"))
    if folder.path.resolve() == record.path.resolve():
        raise RunError(f"{folder.path}: a replay cannot be written over its record; give --name another name")
    overrides = {"data": data, "val": val, "test": test, "reference": reference}
    runs.replay(record, folder, live_trials=live_trials, data=overrides, console=console)


def _export(
    run: Run,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FOLDER", show_default=False, file_okay=False, help="Where the files go."
        ),
    ],
) -> None:
    """Write what a finished run recommends: train.json to train on, suspects.csv to look through.

    The training set is the one that was measured, in COCO's format: the best curation with the run's first
    seed, or the random sample where nothing beat it. No image is copied.
    """
    from .. import runs

    runs.write_export(RunFolder(run), out, console)


def _multiplier(run: Run) -> None:
    """Say how many random images a finished run's best curation is worth, and add it to the report.

    Trains on random samples of 12.5, 25, 50 and 100 % of the pool and reads the number off their curve; it is
    never extrapolated. What was trained once is not trained again.
    """
    from .. import runs

    runs.multiplier(RunFolder(run), console)


def _demo(runs_folder: Runs = Path("runs")) -> None:
    """Show the whole loop on giant pandas, without a key: recorded model, live sandbox, live training.

    Draws the panda data set, replays a recorded transcript with live trials, and writes a report. A demo
    that was interrupted goes on where it stopped.
    """
    from ..demo import demo

    demo(runs_folder, console)
