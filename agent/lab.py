"""The measuring side of a run: scores metrics, curates, trains, and judges, every result through the journal.

What was measured once is never measured again: trials and predictions are looked up before they are
made, in this run's journal or in the one that is replayed. The lab talks to no language model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from metricsmith.evaluation.card import describe
from metricsmith.evaluation.curation import Curation, Strategy, curate, relabel_at_random
from metricsmith.evaluation.dataset import Dataset, Image
from metricsmith.evaluation.detectors import Detector
from metricsmith.evaluation.draws import control_draw, oracle_draw
from metricsmith.evaluation.error_analysis import Errors, analyse
from metricsmith.evaluation.files import write_atomic
from metricsmith.evaluation.out_of_fold import out_of_fold, read_predictions, write_predictions
from metricsmith.evaluation.progress import Progress, silent
from metricsmith.evaluation.samples import sample_ids, samples
from metricsmith.evaluation.scores import ScoreTable, read_scores, spearman, write_scores
from metricsmith.evaluation.splits import Splits
from metricsmith.evaluation.trials import Trial, run_trial
from metricsmith.sandbox import Check, Failure, Limits, Predictions, Sample, check, score

from .journal import Journal
from .outcome import Numbers
from .run_folder import RunFolder
from .settings import Settings

__all__ = ["Lab", "numbers"]

Split = str
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

    @cached_property
    def briefing(self) -> dict[str, Any]:
        """What prompts say about the data and the task."""
        if self.folder.card.exists():
            card = self.folder.card.read_text(encoding="utf-8")
        else:
            card = describe(self.splits.pool, about=self.settings.about, progress=self.progress).to_markdown()
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
            "has_reference": self.reference is not None,
            "class_names": pool.class_names,
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
                train_images=self.budget,
                seed=self.settings.seed,
                progress=self.progress,
            )
            write_predictions(self.folder.predictions, found)
        return read_predictions(self.folder.predictions)

    @cached_property
    def _probe(self) -> Dataset:
        pool = self.splits.pool
        return pool.subset(sample_ids(pool, seed=self.settings.seed))

    @property
    def probe_names(self) -> list[str]:
        """The files of the real images that validation runs on, in its order."""
        return [image.file_name for image in self._probe.images]

    @cached_property
    def probe(self) -> list[Sample]:
        """The real images that validation runs on."""
        return list(samples(self.splits.pool, self.predictions, [image.id for image in self._probe.images]))

    def check(self, source: str) -> Check:
        """Validate a metric on the fixtures and on real images."""
        return check(source, self.probe, limits=self.limits)

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
        self.tables[name] = table
        write_scores(self.folder.scores, pool, list(self.tables.values()))
        return table

    def twin(self, table: ScoreTable, among: Iterable[str]) -> str | None:
        """Return the first of these metrics whose scores rank the images as `table` does."""
        for name in among:
            other = self.tables.get(name)
            if other is not None and abs(spearman(table, other)) > REDUNDANT:
                return name
        return None

    @property
    def control_numbers(self) -> Numbers:
        """The control on val, mean over the seeds."""
        return numbers(self.control())

    def place_of(self, name: str, source: str) -> Path:
        """Where the run's folder keeps an approved metric's code: it is named by its hash."""
        digest = hashlib.sha256(source.encode()).hexdigest()
        return self.folder.metrics / f"{name}-{digest[:12]}.py"

    def control(self, split: Split = "val") -> list[Trial]:
        """Return the trials on equal-size random samples, one a seed."""
        pool = self.splits.pool
        ids = [image.id for image in pool.images]
        return [
            self._trial(0, "control", split, seed, pool.subset(control_draw(ids, self.budget, seed)).images)
            for seed in self.seeds
        ]

    def rivals(self, strategy: Strategy) -> dict[str, list[Trial]]:
        """Return all that a curation must beat on val, by its name."""
        control, random_relabel = self.control(), self.random_relabel(strategy)
        return {"control": control} | ({"random_relabel": random_relabel} if random_relabel else {})

    def random_relabel(self, strategy: Strategy, split: Split = "val") -> list[Trial] | None:
        """Return the trials that `relabel` must beat: as many images relabelled, chosen at random.

        None for any other strategy: the control is all it must beat.
        """
        if strategy.kind != "relabel":
            return None
        trials = []
        for seed in self.seeds:
            curation = relabel_at_random(
                self.splits.pool,
                strategy.fraction,
                budget=self.budget,
                seed=seed,
                reference=self.reference,
            )
            arm = f"random relabel {strategy.fraction:g}"
            trials.append(self._trial(0, arm, split, seed, curation.images))
        return trials

    def oracle(self, split: Split = "test") -> list[Trial] | None:
        """Return the trials on random samples of the pool's unharmed images; None without a ledger.

        None, too, where there are fewer of them than the budget.
        """
        if self.harmed is None:
            return None
        pool = self.splits.pool
        ids = [image.id for image in pool.images]
        trials = []
        for seed in self.seeds:
            drawn = oracle_draw(ids, self.budget, seed, self.harmed)
            if drawn is None:
                return None
            trials.append(self._trial(0, "oracle", split, seed, pool.subset(drawn).images))
        return trials

    def curated(
        self, number: int, table: ScoreTable, strategy: Strategy, split: Split = "val"
    ) -> list[Trial]:
        """Return the trials on curated training sets, one a seed, paired with the control's."""
        trials = []
        for seed in self.seeds:
            curation = curate(
                self.splits.pool, table, strategy, budget=self.budget, seed=seed, reference=self.reference
            )
            self._write_curation(number, seed, curation)
            trials.append(self._trial(number, "curated", split, seed, curation.images))
        return trials

    def control_errors(self) -> Errors | None:
        """Return what the control's first detector gets wrong on val.

        None in a strict replay, which has the trials' numbers but not their detections.
        """
        file = self.folder.trials / f"val-control-0-{self.settings.seed}.npz"
        if not file.exists():
            return None
        found = read_predictions(file)
        val = self.splits.val
        return analyse(val.images, [found[image.id] for image in val.images], self.splits.pool.class_names)

    def prepare(self) -> None:
        """Compute the backbone features that every trial shares, as far as they are not cached."""
        images: list[Image] = [*self.splits.pool.images, *self.splits.val.images]
        self.detector.prepare(images, progress=self.progress)

    def _trial(self, number: int, arm: str, split: Split, seed: int, images: Sequence[Image]) -> Trial:
        def compute() -> dict[str, Any]:
            self.prepare()
            held_out = self.splits.val if split == "val" else self.splits.test
            what = f"{f'round {number}' if number else arm}, seed {seed}, {split}"
            trial, detections = run_trial(
                self.detector,
                images,
                held_out.images,
                self.splits.pool.class_names,
                seed=seed,
                progress=lambda step, done, total: self.progress(f"{what}: {step}", done, total),
            )
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
    return Numbers(
        images=trials[0].images,
        boxes=sum(trial.boxes for trial in trials) / count,
        map=sum(trial.map for trial in trials) / count,
        ap50=sum(trial.ap50 for trial in trials) / count,
        ar100=sum(trial.ar100 for trial in trials) / count,
    )
