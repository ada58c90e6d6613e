"""How much a method doubts each image and each box: the one form in which methods are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..dataset import Dataset
from ..draws import permutation
from ..scores import ScoreTable

__all__ = ["Suspicion"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Suspicion:
    """One method's doubts about a data set's labels. Higher is more suspicious; only the order counts."""

    method: str
    images: Floats
    """(I,), in the data set's order."""
    boxes: Floats | None = None
    """(B,), all boxes in the data set's order; None: the method doubts images only."""

    @classmethod
    def of_boxes(
        cls, method: str, dataset: Dataset, boxes: Sequence[Floats], missing: Sequence[float] | None = None
    ) -> Suspicion:
        """From an array for each image's boxes: an image is as suspicious as its worst box.

        `missing`: for each image, how sure the method is that a box was forgotten, on the boxes' scale. An
        image with neither is the least suspicious of all.
        """
        flat = np.concatenate([np.zeros(0), *boxes])
        least = min([*flat.tolist(), *(missing or [])], default=0.0)
        images = [max([*own.tolist(), least]) for own in boxes]
        if missing is not None:
            images = [max(pair) for pair in zip(images, missing, strict=True)]
        return cls(method, np.array(images, np.float64), flat)

    @classmethod
    def of_table(cls, method: str, table: ScoreTable) -> Suspicion:
        """From a metric's scores, as a run reads them: by rank, towards the suspicious end."""
        images = np.array(list(table.image_suspicion().values()))
        return cls(method, images, table.suspicion() if table.level == "object" else None)

    @classmethod
    def random(cls, dataset: Dataset, seed: int) -> Suspicion:
        """Doubts drawn at random."""
        return cls(
            "random",
            np.array(permutation(range(len(dataset)), seed), np.float64),
            np.array(permutation(range(dataset.box_count), seed + 1), np.float64),
        )

    def table(self, dataset: Dataset) -> ScoreTable:
        """The images' suspicion as scores that `curate` goes by."""
        return ScoreTable.of(self.method, "image", "high", self.images, dataset)

    def on_boxes(self, dataset: Dataset) -> Floats:
        """The boxes' suspicion; of a method that doubts images only, each box has its image's."""
        if self.boxes is not None:
            return self.boxes
        return np.repeat(self.images, [len(image.boxes) for image in dataset.images])
