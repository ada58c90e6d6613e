"""What a run was asked to do: one frozen object, written to `config.json`, never changed afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .allowance import Allowance

__all__ = ["Settings"]


class Settings(BaseModel):
    """Everything that decides what a run does, but for the language model that it talks to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    """The data set, or a folder with its splits; see `metricsmith.evaluation.split_folders`."""
    val: Path | None = None
    """The split that decides between ideas; None: cut from `data`, or found in it."""
    test: Path | None = None
    """The split that is looked at once; None: cut from `data`, or found in it."""
    reference: Path | None = None
    """The pool with trusted labels: stands in for the annotator in `relabel`; None: no relabelling."""
    images: Path | None = None
    """Where the image files lie, if the reader cannot guess it."""
    format: str | None = None
    """The data set's format; None: detected."""
    skip_bad: bool = False
    """Leave out images and boxes that cannot be used, instead of stopping at the first."""
    about: str = ""
    """What the user says about the data, in words; part of the data set card."""
    hints: tuple[str, ...] = ()
    """A person's hints, given when the run began."""

    metrics: tuple[Path, ...] = ()
    """Metric files whose scores rounds may use from the start."""
    rounds: int = Field(default=6, ge=1, le=1000)
    """How many metrics are tried."""
    budget: float = Field(default=0.25, gt=0, le=1)
    """The size of a training set, as a share of the pool's images."""
    seeds: int = Field(default=6, ge=1, le=100)
    """How many trials stand behind each number, but for curations that were dropped early."""
    first_seeds: int = Field(default=3, ge=1, le=100)
    """After how many trials a curation that gains nothing is dropped."""
    confirm: int = Field(default=4, ge=0, le=100)
    """With how many fresh seeds the best curations are tried again before test; 0: they are not."""
    finalists: int = Field(default=3, ge=1, le=100)
    """How many of the best curations are tried again."""
    mend: float = Field(default=0.4, gt=0, lt=1)
    """How many images of a training set an annotator mends at most, as a share."""
    seed: int = Field(default=0, ge=0)
    """The first seed; splits and the choice of sample images hang on it too."""
    detector: str = "proxy"
    """The fixed detector; see `metricsmith.evaluation.detectors.make_detector`."""
    weights: Path | None = None
    """What a `torchvision:NAME` detector starts from; None: torchvision's own weights."""
    ideas: int = Field(default=4, ge=1, le=12)
    """How many ideas a brainstorm asks for; one is tried."""
    distil: int = Field(default=3, ge=1)
    """After how many rounds the model writes down anew what it learned."""
    tries: int = Field(default=3, ge=1, le=10)
    """How often a metric's code may be mended before the idea is parked."""
    allowance: Allowance = Allowance()
    """What the run may spend."""
    cache: Path = Path("runs/cache")
    """Where the detector keeps what all runs share (backbone features)."""
    unsafe_no_sandbox: bool = False
    """Generated code runs without a jail, where there is none."""
    vision: Literal["on", "off", "auto"] = "auto"
    """Whether brainstorms carry a contact sheet; `auto`: to services, which may refuse it, not to persons."""
    approve: Literal["auto", "ask", "rule"] = "auto"
    """Who approves a valid metric: nobody, or a person at the terminal; `rule`: see `approval.ByRule`."""

    @property
    def heats(self) -> list[range]:
        """The seeds of the first trials of a curation, and all seeds; one entry where they are the same."""
        first = min(self.first_seeds, self.seeds)
        return [range(self.seed, self.seed + count) for count in sorted({first, self.seeds})]

    @property
    def trial_seeds(self) -> range:
        """The seeds behind each number of a round."""
        return range(self.seed, self.seed + self.seeds)

    @property
    def all_seeds(self) -> range:
        """The same, and the fresh ones of the confirmation."""
        return range(self.seed, self.seed + self.seeds + self.confirm)
