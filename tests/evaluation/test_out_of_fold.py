"""Out-of-fold predictions: never by a detector that saw the image or its video; kept on disk whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.evaluation.dataset import Dataset, Image
from metricsmith.evaluation.out_of_fold import out_of_fold, read_predictions, write_predictions
from metricsmith.evaluation.progress import Progress, silent
from metricsmith.sandbox import Predictions
from metricsmith.sandbox.errors import DataError


class Witness:
    """A detector that writes into its predictions which images it saw."""

    name = "witness"

    def __init__(self, scores: Sequence[float] = (0.9,)) -> None:
        self.scores = scores
        self.trained: list[list[Image]] = []
        self.saw: dict[int | str, list[Image]] = {}

    def prepare(self, images: Sequence[Image], progress: Progress = silent) -> None:
        pass

    def train(
        self, images: Sequence[Image], class_names: Sequence[str], *, seed: int, progress: Progress = silent
    ) -> Witness:
        self.trained.append(list(images))
        return self

    def predict(self, images: Sequence[Image], progress: Progress = silent) -> list[Predictions]:
        self.saw |= {image.id: self.trained[-1] for image in images}
        count = len(self.scores)
        return [
            Predictions(
                np.full((count, 4), float(len(image.file_name)), np.float32),
                np.zeros(count, np.int64),
                np.array(self.scores, np.float32),
            )
            for image in images
        ]


def dataset(groups: Sequence[str | None]) -> Dataset:
    images = tuple(
        Image(number, Path(f"{number}.png"), f"{number}.png", 8, 8, (), group)
        for number, group in enumerate(groups)
    )
    return Dataset("toy", Path("/data/toy"), images, ("cat",))


@given(
    groups=st.lists(st.sampled_from(["a", "b", "c", "d", "e", None]), min_size=3, max_size=40),
    folds=st.integers(2, 3),
    seed=st.integers(0, 5),
)
def test_no_detector_saw_the_image_or_its_video(groups: list[str | None], folds: int, seed: int) -> None:
    data, detector = dataset(groups), Witness()
    if len({group for group in groups if group}) + groups.count(None) < folds:
        return
    found = out_of_fold(detector, data, folds=folds, seed=seed)
    assert list(found) == [image.id for image in data.images]
    assert len(detector.trained) == folds
    for image in data.images:
        seen = detector.saw[image.id]
        assert image.id not in {other.id for other in seen}
        assert image.group is None or image.group not in {other.group for other in seen}


def test_each_fold_trains_on_no_more_images_than_asked() -> None:
    detector = Witness()
    out_of_fold(detector, dataset([None] * 20), train_images=4, seed=0)
    assert [len(images) for images in detector.trained] == [4, 4]


def test_only_the_twenty_best_above_the_threshold_are_kept() -> None:
    many = out_of_fold(Witness(np.linspace(0.9, 0.5, 30).tolist()), dataset([None] * 2), seed=0)
    assert len(many[0].scores) == 20
    low = out_of_fold(Witness([0.9, 0.06, 0.04]), dataset([None] * 2), seed=0)
    assert low[0].scores.tolist() == pytest.approx([0.9, 0.06])


def test_fewer_groups_than_folds_are_refused() -> None:
    with pytest.raises(DataError, match="1 groups of images cannot be dealt out to 2 folds"):
        out_of_fold(Witness(), dataset(["a", "a", "a"]), seed=0)


def test_predictions_come_back_from_disk_and_ids_keep_their_type(tmp_path: Path) -> None:
    one = Predictions(np.ones((2, 4), np.float32), np.array([0, 1]), np.array([0.5, 0.25], np.float32))
    none = Predictions(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    file = tmp_path / "predictions.npz"
    write_predictions(file, {1: one, "1": none, "v/0003": one})
    found = read_predictions(file)
    assert list(found) == [1, "1", "v/0003"]
    for item, was in ((1, one), ("1", none), ("v/0003", one)):
        for name in ("boxes", "labels", "scores"):
            got, expected = getattr(found[item], name), getattr(was, name)
            assert got.dtype == expected.dtype
            assert np.array_equal(got, expected)
            assert got.shape == expected.shape


def test_the_same_predictions_give_the_same_bytes(tmp_path: Path) -> None:
    one = Predictions(np.ones((1, 4), np.float32), np.array([0]), np.array([0.5], np.float32))
    for name in ("a.npz", "b.npz"):
        write_predictions(tmp_path / name, {1: one})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"not a zip", None])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "predictions.npz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"predictions\.npz: no predictions can be read"):
        read_predictions(file)
