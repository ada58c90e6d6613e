"""What a finished run recommends, as files: the training set, and the images to look at first.

Nothing is measured here; what is written is what the run measured, read from its folder and its data.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from metricsmith.evaluation.curation import DRAWS, Curation, compose
from metricsmith.evaluation.dataset import Image
from metricsmith.evaluation.files import write_atomic
from metricsmith.evaluation.scores import ScoreTable, combined, read_scores
from metricsmith.evaluation.split_folders import DataSets
from metricsmith.evaluation.writers import write_coco
from metricsmith.sandbox.errors import RunError

from .contest import BEAT_RANDOM, Champion, steps_of
from .ideas import Idea
from .journal import Event, read_events
from .run_folder import RunFolder
from .summary import Summary

__all__ = ["Export", "curation_of", "export"]


class Export(BaseModel):
    """What was written."""

    model_config = ConfigDict(frozen=True)

    training_set: Path
    """COCO JSON: the best curation, drawn with the run's first seed; the control where nothing was kept."""
    suspects: Path | None
    """CSV: every image of the pool, the most suspicious first; None where nothing tells them apart."""
    images: int
    mended: int
    left_out: int
    parts: tuple[str, ...]
    """The steps of the curation in words; empty for the control."""


def export(folder: RunFolder, summary: Summary, data: DataSets, out: Path) -> Export:
    """Write `train.json` and `suspects.csv` into the folder `out`.

    RunError: the data is not what the run was played on, `out` cannot be written or holds such files already,
    or the run's journal or scores are missing.
    """
    pool, seed = data.splits.pool, folder.read_settings().seed
    places = out / "train.json", out / "suspects.csv"
    for place in places:
        if place.exists():
            raise RunError(f"{place}: there is such a file already; name another folder")
    events = read_events(folder.journal)
    if not events:
        raise RunError(f"{folder.journal}: the journal is missing, so it is not known what was measured")
    if events[0]["fingerprint"]["pool"] != pool.fingerprint():
        raise RunError(
            f"{folder.path}: the pool is not the one of this run: images or labels have changed since"
        )
    recommended = summary.test.best
    best = curation_of(events, read_scores(folder.scores), recommended.round) if recommended else None
    steps = best.steps if best else ()
    curation = compose(pool, steps, budget=summary.budget, seed=seed, reference=data.reference)
    number, arm = (best.round, "curated") if best else (0, "control")
    if not _is_what_was_measured(curation, events, round=number, arm=arm, split="val", seed=seed):
        raise RunError(
            f"{folder.path}: this training set is not the one that was measured: "
            "the reference has changed since"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out}: cannot be made a folder to write into: {error.strerror}") from None
    write_coco(pool.with_images(_numbered(curation.images)), places[0])
    doubts = [step.table for step in steps if step.strategy.kind not in DRAWS]
    if doubts:
        names = {image.id: image.file_name for image in pool.images}
        write_atomic(places[1], _suspects(names, doubts, curation))
    return Export(
        training_set=places[0],
        suspects=places[1] if doubts else None,
        images=len(curation.images),
        mended=len(curation.relabelled),
        left_out=len(curation.left_out),
        parts=tuple(map(str, steps)),
    )


def _is_what_was_measured(curation: Curation, events: Sequence[Event], **trial: object) -> bool:
    """Whether this trial of the journal had as many images, boxes and mended images as the curation."""
    boxes = sum(len(image.boxes) for image in curation.images)
    own = (len(curation.images), boxes, len(curation.relabelled), curation.changed)
    return any(
        own == (event["images"], event["boxes"], event["mended"], event["changed"])
        for event in events
        if event["event"] == "trial" and trial.items() <= event.items()
    )


def _numbered(images: Sequence[Image]) -> tuple[Image, ...]:
    """The images, their boxes numbered anew if ids repeat: a reference may have counted for itself."""
    ids = [box.id for image in images for box in image.boxes]
    if len(set(ids)) == len(ids):
        return tuple(images)
    number = count(1)
    return tuple(
        replace(image, boxes=tuple(replace(box, id=next(number)) for box in image.boxes)) for image in images
    )


def curation_of(events: Sequence[Event], tables: dict[str, ScoreTable], number: int) -> Champion:
    """Return the curation of round `number` from a run's journal and its scores.

    RunError: the journal says nothing of such a curation.
    """
    best: Champion | None = None
    ideas: dict[int, Idea] = {}
    for event in events:
        if event["event"] == "idea":
            ideas[event["round"]] = Idea.model_validate(event["idea"])
        elif event["event"] == "judged" and event["verdict"] in BEAT_RANDOM:
            idea = ideas[event["round"]]
            own = Champion(event["round"], steps_of(idea, tables[idea.name], best))
            if own.round == number:
                return own
            best = own if event["verdict"] == "kept" else best
    raise RunError(f"the journal does not tell how round {number} was curated; it was changed by hand")


def _suspects(names: dict[int | str, str], doubts: Sequence[ScoreTable], curation: Curation) -> str:
    """A row an image: its place in the ranking of each metric, and what became of it."""
    total = combined("all", doubts).image_suspicion()
    ranks = {table.metric: table.image_suspicion() for table in doubts}
    drawn = {image.id for image in curation.images}
    left_out, mended = set(curation.left_out), set(curation.relabelled)
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    writer.writerow(["file_name", "image_id", "suspicion", *ranks, "left_out", "drawn", "relabelled"])
    for item in sorted(names, key=lambda item: (-total[item], names[item])):
        writer.writerow(
            [
                *(names[item], item, f"{total[item]:.4f}"),
                *(f"{own[item]:.4f}" for own in ranks.values()),
                *(int(item in group) for group in (left_out, drawn, mended)),
            ]
        )
    return sheet.getvalue()
