"""`describe` and `corrupt`: commands on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metricsmith.evaluation.card import describe
from metricsmith.evaluation.card_markdown import to_markdown
from metricsmith.evaluation.corruption import Rates, corrupt, write_ledger
from metricsmith.evaluation.readers import read_dataset
from metricsmith.evaluation.split_folders import Source, open_pool
from metricsmith.evaluation.splits import split_by_group
from metricsmith.evaluation.writers import link_images, write_coco
from metricsmith.sandbox.errors import DataError

from ..display import Display
from .options import About, Data, Format, Images, SkipBad, console, errors

__all__ = ["register"]

Share = Annotated[float, typer.Option(min=0, max=1, metavar="SHARE", help="Share of the boxes.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("describe", rich_help_panel="Data sets")(_describe)
    app.command("corrupt", rich_help_panel="Data sets")(_corrupt)


def _describe(
    data: Data,
    about: About = "",
    images: Images = None,
    format: Format = None,
    skip_bad: SkipBad = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
) -> None:
    """Print the data set card: what the language model reads before it proposes a metric."""
    with Display(errors) as display:
        dataset = open_pool(
            Source(data, images=images, format=format, skip_bad=skip_bad), progress=display.progress
        )
        card = describe(dataset, about=about, progress=display.progress)
    console.print(
        card.model_dump_json(indent=2) if as_json else to_markdown(card),
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    if dataset.skipped:
        errors.print(f"Left out as bad: {len(dataset.skipped)} items", highlight=False)
        for item in dataset.skipped[:20]:
            errors.print(f"  {item.file}: {item.item}: {item.reason}", highlight=False, soft_wrap=True)


def _corrupt(
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", show_default=False, help="A new folder.")],
    drop: Share = 0.0,
    shift: Share = 0.0,
    enlarge: Share = 0.0,
    flip: Share = 0.0,
    spawn: Share = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same mistakes.")] = 0,
    images: Images = None,
    format: Format = None,
    skip_bad: SkipBad = False,
) -> None:
    """Split DATA and put mistakes into the pool's labels, with a ledger of every one.

    Writes pool.json, val.json, test.json (COCO; val and test stay clean), reference.json (the pool as it
    was), ledger.jsonl, and a link to the images, which stay where they are. `metricsmith run DIR` takes the
    folder as it is.
    """
    if out.exists() and any(out.iterdir()):
        raise DataError(out, "the folder is not empty", remedy="name a new one with --out")
    with Display(errors) as display:
        dataset = read_dataset(
            data, images=images, format=format, skip_bad=skip_bad, progress=display.progress
        )
    splits = split_by_group(dataset, seed=seed)
    rates = Rates(drop=drop, shift=shift, enlarge=enlarge, flip=flip, spawn=spawn)
    pool, harms = corrupt(splits.pool, rates, seed=seed)
    link_images(dataset, out)
    for name, part in (("reference", splits.pool), ("val", splits.val), ("test", splits.test)):
        write_coco(part, out / f"{name}.json")
    write_ledger(out / "ledger.jsonl", harms)
    write_coco(pool, out / "pool.json")  # last: with it the folder is complete
    console.print(
        f"{out}: pool {len(pool)} images, {splits.pool.box_count} boxes, {len(harms)} mistakes; "
        f"val {len(splits.val)}, test {len(splits.test)} images",
        highlight=False,
        soft_wrap=True,
    )
