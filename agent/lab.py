"""The measuring side of a run: scores metrics, curates, trains, and judges, every result through the journal.

What was measured once is never measured again: trials and predictions are looked up before they are
made, in this run's journal or in the one that is replayed. The lab talks to no language model.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from metricsmith.evaluation.card import describe
from metricsmith.evaluation.card_markdown import to_markdown
from metricsmith.evaluation.corrections import CORRECTED
from metricsmith.evaluation.curation import Curation, Step, compose
from metricsmith.evaluation.dataset import Dataset, Image
from metricsmith.evaluation.detectors import Detector, Job, cores, train_ahead
from metricsmith.evaluation.draws import control_draw, oracle_draw
from metricsmith.evaluation.error_analysis import Errors, analyse
from metricsmith.evaluation.files import write_atomic
from metricsmith.evaluation.out_of_fold import out_of_fold, read_predictions, write_predictions
from metricsmith.evaluation.planted import MISTAKES, plantable
from metricsmith.evaluation.progress import Progress, silent
from metricsmith.evaluation.samples import samples
from metricsmith.evaluation.scores import ScoreTable, combined, read_scores, spearman, write_scores
from metricsmith.evaluation.splits import Splits
from metricsmith.evaluation.trials import Trial, run_trial
from metricsmith.prompts.shelf import SHELF
from metricsmith.sandbox import Failure, Limits, Predictions, score
from metricsmith.sandbox.errors import DataError

from .accepted import card_of, read_metric
from .contact_sheet import ContactSheet, contact_sheet, tiles
from .ideas import Idea
from .journal import Journal
from .outcome import Numbers
from .proving_ground import ProvingGround
from .run_folder import RunFolder
from .settings import Settings

__all__ = ["Lab", "numbers"]

Split = str
FOLDS = 4
"""Of the out-of-fold predictions: each detector learns three quarters of the pool."""
REDUNDANT = 0.95
"""Two metrics whose |Spearman| on the pool is above this say the same."""


@dataclass
class Lab:
    """A data set, a fixed detector, and the journal that every measurement goes through."""

    splits: Splits
    reference: Dataset | None
    detector: Detector
    settings: Settings
    folder: RunFolder
    journal: Journal
    progress: Progress = silent
    harmed: frozenset[int | str] | None = None
    """The pool's images with mistakes, where a ledger tells them; only `oracle` looks at it."""
    tables: dict[str, ScoreTable] = field(default_factory=dict)
    """The scores so far by metric, in the order of the rounds."""
    _trials: dict[tuple[int, str, Split, int], Trial] = field(default_factory=dict)

    @property
    def budget(self) -> int:
        """How many images a training set has."""
        return max(1, round(self.settings.budget * len(self.splits.pool)))

    @property
    def limits(self) -> Limits:
        """What generated code may use."""
        return Limits(jailed=not self.settings.unsafe_no_sandbox)

    @property
    def seeds(self) -> range:
        """The seeds behind each number."""
        return self.settings.trial_seeds

    @property
    def heats(self) -> list[range]:
        """The seeds of a curation's first trials, and all seeds."""
        return self.settings.heats

    @cached_property
    def briefing(self) -> dict[str, Any]:
        """What prompts say about the data and the task."""
        if self.folder.card.exists():
            card = self.folder.card.read_text(encoding="utf-8")
        else:
            card = to_markdown(describe(self.splits.pool, about=self.settings.about, progress=self.progress))
            write_atomic(self.folder.card, card)
        pool = self.splits.pool
        sizes = [(image.width, image.height) for image in pool.images]
        width, height = max(set(sizes), key=sizes.count)
        return {
            "card": card,
            "budget": self.budget,
            "budget_share": f"{self.settings.budget:.0%}",
            "pool_images": len(pool),
            "seeds": self.settings.seeds,
            "idea_count": self.settings.ideas,
            "mend": self.settings.mend,
            "shelf": SHELF,
            "has_reference": self.reference is not None,
            "class_names": pool.class_names,
            "mistakes": {kind: MISTAKES[kind] for kind in plantable(pool.class_names)},
            "width": width,
            "height": height,
        }

    @cached_property
    def predictions(self) -> Mapping[int | str, Predictions]:
        """Out-of-fold predictions on the pool, for metrics to look at."""
        if not self.folder.predictions.exists():
            self.prepare()
            found = out_of_fold(
                self.detector,
                self.splits.pool,
                folds=min(FOLDS, _groups(self.splits.pool)),
                seed=self.settings.seed,
                progress=self.progress,
            )
            write_predictions(self.folder.predictions, found)
        return read_predictions(self.folder.predictions)

    @cached_property
    def proving_ground(self) -> ProvingGround:
        """Where candidates are tried first."""
        return ProvingGround(
            self.splits.pool,
            lambda: self.predictions,
            self.limits,
            self.journal,
            self.settings.seed,
            self.progress,
        )

    def score(self, name: str, source: str) -> ScoreTable | Failure:
        """Return the pool's scores; those that an earlier process computed are read from disk."""
        pool = self.splits.pool
        digest = hashlib.sha256(source.encode()).hexdigest()
        path = self.folder.path / "scores" / f"{digest[:16]}.parquet"
        if path.exists():
            table = read_scores(path)[name]
        else:
            found = score(
                {name: source},
                samples(pool, self.predictions),
                total=len(pool),
                limits=self.limits,
                progress=self.progress,
            )[name]
            if isinstance(found, Failure):
                return found
            table = ScoreTable.of(name, found.level, found.suspicious, found.values, pool)
            write_scores(path, pool, [table])
        return self._keep(table)

    def given(self) -> list[tuple[str, str]]:
        """Score the metrics that the run was given; return their names and what they say of themselves.

        DataError: a file is no metric, is not what its card was written for, or fails on the pool.
        """
        found = []
        for file in self.settings.metrics:
            source = read_metric(file)
            checked = self.proving_ground.check(source)
            table = self.score(checked.name, source) if checked.name else checked.failure
            if not checked.accepted or isinstance(table, Failure) or table is None:
                reason = checked.failure or table
                raise DataError(
                    file, f"not a metric that can be used: {reason}", remedy="mend it, or leave it out"
                )
            card = card_of(file)
            found.append((table.metric, card.description if card else _doc(source)))
        return found

    def alike(self, table: ScoreTable) -> dict[str, float]:
        """Return Spearman's rank correlation with every other metric so far, the strongest first."""
        found = {
            name: round(spearman(table, other), 3)
            for name, other in self.tables.items()
            if other is not table
        }
        return dict(sorted(found.items(), key=lambda item: -abs(item[1])))

    def reuse(self, idea: Idea) -> ScoreTable:
        """Return the scores of a composite: one earlier metric's as they are, or the mean rank of several."""
        table = combined(idea.name, [self.tables[name] for name in idea.reuse])
        return self._keep(replace(table, metric=idea.name))

    def _keep(self, table: ScoreTable) -> ScoreTable:
        self.tables[table.metric] = table
        write_scores(self.folder.scores, self.splits.pool, list(self.tables.values()))
        return table

    @property
    def control_numbers(self) -> Numbers:
        """The control on val, mean over the seeds."""
        return numbers(self.control())

    def place_of(self, name: str, source: str) -> Path:
        """Where the run's folder keeps an approved metric's code: it is named by its hash."""
        digest = hashlib.sha256(source.encode()).hexdigest()
        return self.folder.metrics / f"{name}-{digest[:12]}.py"

    def control(self, split: Split = "val", seeds: range | None = None) -> list[Trial]:
        """Return the trials on equal-size random samples, one a seed; of all seeds unless some are named."""
        pool = self.splits.pool
        ids = [image.id for image in pool.images]

        def drawn(seed: int) -> Curation:
            return Curation(pool.subset(control_draw(ids, self.budget, seed)).images)

        return self._arm(0, "control", split, seeds or self.seeds, drawn)

    def random_relabel(
        self, fraction: float, split: Split, seeds: range, number: int = 0, steps: Sequence[Step] = ()
    ) -> list[Trial]:
        """Return the trials with this share of the images relabelled at random: what `relabel` must beat.

        The images are the control's, or those of round `number`'s curation by `steps`.
        """
        pool, budget = self.splits.pool, self.budget

        @cache
        def curation(seed: int) -> Curation:
            return compose(pool, steps, budget=budget, seed=seed, reference=self.reference, mend=fraction)

        return self._arm(number, f"random relabel {fraction:g}", split, seeds, curation)

    def oracle(self, split: Split, seeds: range) -> list[Trial] | None:
        """Return the trials on random samples of the pool's unharmed images; None without a ledger.

        None, too, where there are fewer of them than the budget.
        """
        if self.harmed is None:
            return None
        pool = self.splits.pool
        ids = [image.id for image in pool.images]
        sound = {seed: oracle_draw(ids, self.budget, seed, self.harmed) for seed in seeds}
        if None in sound.values():
            return None
        return self._arm(
            0, "oracle", split, seeds, lambda seed: Curation(pool.subset(sound[seed] or ()).images)
        )

    def curated(self, number: int, steps: Sequence[Step], split: Split, seeds: range) -> list[Trial]:
        """Return the trials on curated training sets, one a seed, paired with the control's."""
        pool, budget = self.splits.pool, self.budget

        @cache
        def curation(seed: int) -> Curation:
            return compose(pool, steps, budget=budget, seed=seed, reference=self.reference)

        for seed in seeds:
            self._write_curation(number, seed, curation(seed))
        return self._arm(number, "curated", split, seeds, curation)

    @cached_property
    def control_errors(self) -> Errors | None:
        """What the control's detectors get wrong on val, once they were trained.

        None in a strict replay, which has the trials' numbers but not their detections.
        """
        self.control()
        files = [self.folder.trials / f"val-control-0-{seed}.npz" for seed in self.seeds]
        found = [read_predictions(file) for file in files if file.exists()]
        val = self.splits.val
        names = self.splits.pool.class_names
        detectors = [[own[image.id] for image in val.images] for own in found]
        return analyse(val.images, detectors, names) if detectors else None

    def contact_sheet(self, number: int) -> ContactSheet | None:
        """Return what round `number` shows of the pool to a model that sees; None: vision is off."""
        if self.settings.vision != "on":
            return None
        latest = next(reversed(self.tables.values()), None)
        sheet = contact_sheet(tiles(self.splits.pool, self.predictions, latest, self.settings.seed))
        write_atomic(self.folder.sheets / f"round-{number}.jpg", sheet.jpeg)
        return sheet

    def prepare(self) -> None:
        """Compute the backbone features that every trial shares, as far as they are not cached."""
        images: list[Image] = [*self.splits.pool.images, *self.splits.val.images]
        self.detector.prepare(images, progress=self.progress)

    def _arm(
        self, number: int, arm: str, split: Split, seeds: range, curation: Callable[[int], Curation]
    ) -> list[Trial]:
        """Return one trial for each seed and its training set; new ones are trained side by side.

        Cores that would idle train for seeds that may be asked for later: that costs no time.
        """

        def is_new(seed: int) -> bool:
            known = (number, arm, split, seed) in self._trials
            event = self.journal.find("trial", round=number, arm=arm, split=split, seed=seed)
            return not known and event is None

        new = [seed for seed in seeds if is_new(seed)]
        if new:
            spare = [seed for seed in self.seeds if seed not in seeds and is_new(seed)]
            ahead = [*new, *spare[: -len(new) % cores()]]
            self.prepare()
            names, held_out = self.splits.pool.class_names, self._held_out(split).images
            what = f"{f'round {number}' if number else arm}, {split}"
            train_ahead(
                self.detector,
                [Job(curation(seed).images, names, seed, held_out) for seed in ahead],
                lambda step, done, total: self.progress(f"{what}: {step}", done, total),
            )
        return [self._trial(number, arm, split, seed, curation(seed)) for seed in seeds]

    def _held_out(self, split: Split) -> Dataset:
        return self.splits.val if split == "val" else self.splits.test

    def _trial(self, number: int, arm: str, split: Split, seed: int, curation: Curation) -> Trial:
        def compute() -> dict[str, Any]:
            self.prepare()
            held_out = self._held_out(split)
            what = f"{f'round {number}' if number else arm}, seed {seed}, {split}"
            trial, detections = run_trial(
                self.detector,
                curation.images,
                held_out.images,
                self.splits.pool.class_names,
                seed=seed,
                progress=lambda step, done, total: self.progress(f"{what}: {step}", done, total),
            )
            mended = {
                "mended": len(curation.relabelled),
                "changed": curation.changed,
                "corrected": dict(curation.corrected),
            }
            trial = trial.model_copy(update=mended)
            name = f"{split}-{arm.replace(' ', '-')}-{number}-{seed}"
            write_predictions(
                self.folder.trials / f"{name}.npz",
                dict(zip((image.id for image in held_out.images), detections, strict=True)),
            )
            write_atomic(self.folder.trials / f"{name}.json", trial.model_dump_json(indent=2) + "\n")
            return trial.model_dump(exclude={"seed"})

        place = (number, arm, split, seed)
        if place not in self._trials:
            event = self.journal.once("trial", compute, round=number, arm=arm, split=split, seed=seed)
            self._trials[place] = Trial.model_validate({name: event[name] for name in Trial.model_fields})
        return self._trials[place]

    def _write_curation(self, number: int, seed: int, curation: Curation) -> None:
        facts = {
            "images": [image.id for image in curation.images],
            "left_out": list(curation.left_out),
            "relabelled": list(curation.relabelled),
        }
        path = self.folder.curations / f"round-{number}-seed-{seed}.json"
        write_atomic(path, json.dumps(facts, indent=1) + "\n")


def numbers(trials: Sequence[Trial]) -> Numbers:
    """Return the means over the seeds."""
    count = len(trials)
    mended = sum(trial.mended for trial in trials)
    corrected = {kind: sum(trial.corrected.get(kind, 0) for trial in trials) for kind in CORRECTED}
    return Numbers(
        images=trials[0].images,
        boxes=sum(trial.boxes for trial in trials) / count,
        map=sum(trial.map for trial in trials) / count,
        ap50=sum(trial.ap50 for trial in trials) / count,
        ar100=sum(trial.ar100 for trial in trials) / count,
        changed_pct=100 * sum(trial.changed for trial in trials) / mended if mended else None,
        corrected_pct={kind: 100 * images / mended for kind, images in corrected.items() if images},
    )


def _doc(source: str) -> str:
    """The first line of the docstring of a metric's class."""
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    return (ast.get_docstring(classes[-1]) or "").partition("\n")[0]


def _groups(pool: Dataset) -> int:
    """How many groups there are; a still is one of its own."""
    return len({image.group for image in pool.images} - {None}) + sum(
        image.group is None for image in pool.images
    )
