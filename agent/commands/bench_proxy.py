"""`bench proxy`: does the proxy detector rank training sets as a detector trained end to end does?"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from ..display import Display
from .options import console, errors

if TYPE_CHECKING:
    from metricsmith.evaluation.trials import Trial

__all__ = ["register"]

_OFFLINE = "torchvision:fcos_efficientnet_lite0_fpn"


def register(bench: typer.Typer) -> None:
    """Add the command to `bench`."""
    bench.command("proxy")(_proxy)


def _proxy(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            show_default="the pandas of the demo",
            help="Splits with a reference, or a data set whose labels can be trusted.",
        ),
    ] = None,
    detector: Annotated[str, typer.Option(metavar="NAME", help="The detector to agree with.")] = _OFFLINE,
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="What it starts from.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the training sets and of the trainings.")] = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Trainings of the proxy on each set, of which the mean counts.")
    ] = 1,
    runs: Annotated[Path, typer.Option("--runs", metavar="DIR", help="For caches and results.")] = Path(
        "runs"
    ),
) -> None:
    """Rank ten training sets of different size and quality by the proxy and by another detector.

    Then train the proxy on the first once more: the numbers must be the same. Results are kept in DIR/bench:
    what was measured once is not measured again.
    """
    from metricsmith.evaluation import proxy_bench
    from metricsmith.evaluation.bench_record import BenchRecord
    from metricsmith.evaluation.corruption import harm
    from metricsmith.evaluation.detectors import Detector, ProxyDetector, ProxySettings, make_detector
    from metricsmith.evaluation.split_folders import Source, open_splits
    from metricsmith.evaluation.trials import Trial, run_trial

    from ..demo import pandas_in

    record = BenchRecord(runs / "bench" / "proxy.jsonl")
    with Display(errors) as display:
        if data is None:
            data = pandas_in(runs, display.progress)
        opened = open_splits(Source(data, skip_bad=True), progress=display.progress)
        pool, val = opened.splits.pool, opened.splits.val
        reference = opened.reference or pool
        if opened.reference is None:
            pool, _ = harm(pool, 0.4, seed)
        key = (pool.fingerprint(), val.fingerprint(), seed)
        detectors: dict[str, Detector] = {
            "proxy": ProxyDetector(runs / "cache", train_anew=True),
            detector: make_detector(detector, runs / "cache", weights),
        }

        def features() -> float:
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                ProxyDetector(Path(folder)).prepare([*pool.images, *val.images], display.progress)
                return time.perf_counter() - start

        def train(name: str, recipe: proxy_bench.Recipe, training_seed: int = seed) -> Any:
            def progress(step: str, done: int, total: int) -> None:
                display.progress(f"{name}, {recipe}: {step}", done, total)

            images = proxy_bench.training_set(pool, reference, recipe, seed)
            trial, _ = run_trial(
                detectors[name], images, val.images, pool.class_names, training_seed, progress
            )
            return trial.model_dump()

        recipe_of = {"proxy": repr(ProxySettings()), detector: detector}
        recipes = list(proxy_bench.training_sets())
        spent = record.once(features, "features", *key)

        def once(name: str, recipe: proxy_bench.Recipe, training_seed: int = seed) -> Trial:
            further = () if training_seed == seed else (training_seed,)  # what older records have is found
            own_key = (recipe_of[name], str(weights), str(recipe), *key, *further)
            return Trial.model_validate(record.once(partial(train, name, recipe, training_seed), *own_key))

        full = [once(detector, recipe) for recipe in recipes]
        proxy = [[once("proxy", recipe, seed + n) for n in range(seeds)] for recipe in recipes]
        first = recipes[0]
        key_again = ("again", recipe_of["proxy"], str(first), *key)
        again = Trial.model_validate(record.once(partial(train, "proxy", first), *key_again))
    found = proxy_bench.agreement(proxy, full, spent)
    table = Table(title=f"mAP on val of {data.resolve().name}", box=box.SIMPLE_HEAD)
    table.add_column("training set")
    table.add_column("proxy", justify="right")
    table.add_column(detector, justify="right")
    for recipe, own, other in zip(recipes, proxy, full, strict=True):
        table.add_row(str(recipe), f"{fmean(trial.map for trial in own):.3f}", f"{other.map:.3f}")
    console.print(table)
    console.print(
        f"Spearman {found.spearman:.2f} in mAP, {found.spearman_ar100:.2f} in AR@100, "
        f"over {found.sets} sets.\n{'A training' if seeds == 1 else f'The mean of {seeds} trainings'} of the "
        f"proxy is {found.speed:.1f} times as fast, "
        f"{found.speed_with_features:.1f} times with its features computed anew.\n"
        f"Trained again on the first set after all others: {_repeats(proxy[0][0], again)}.",
        highlight=False,
        soft_wrap=True,
    )


def _repeats(first: Trial, again: Trial) -> str:
    """What a repetition of a trial says about chance, in words."""
    before, now = first.model_dump(exclude={"seconds"}), again.model_dump(exclude={"seconds"})
    changed = [f"{name} {now[name]!r}, not {before[name]!r}" for name in before if now[name] != before[name]]
    return "; ".join(changed) or "every statistic is the same to the last bit"
