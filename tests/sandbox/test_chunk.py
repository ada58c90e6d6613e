from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metricsmith.sandbox import Predictions, Sample
from metricsmith.sandbox.chunk import chunks, unpack
from metricsmith.sandbox.fixtures import fixtures


def boxes(max_count: int = 5) -> st.SearchStrategy[npt.NDArray[np.float32]]:
    floats = st.floats(0, 1000, width=32)
    return st.integers(0, max_count).flatmap(lambda n: arrays(np.float32, (n, 4), elements=floats))


@st.composite
def sample(draw: st.DrawFn) -> Sample:
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))
    own, guesses = draw(boxes()), draw(boxes())
    previous, following = draw(st.none() | boxes()), draw(st.none() | boxes())
    return Sample(
        image=draw(arrays(np.uint8, shape)),
        boxes=own,
        labels=np.arange(len(own), dtype=np.int64),
        class_names=tuple(draw(st.lists(st.text(), max_size=3))),
        predictions=Predictions(guesses, np.zeros(len(guesses), np.int64), guesses[:, 0].copy()),
        group=draw(st.none() | st.text()),
        frame=draw(st.none() | st.integers()),
        previous_boxes=previous,
        previous_labels=None if previous is None else np.zeros(len(previous), np.int64),
        next_boxes=following,
        next_labels=None if following is None else np.zeros(len(following), np.int64),
    )


def facts(sample: Sample) -> Iterator[object]:
    for part in (sample, sample.predictions):
        for name in part.__dataclass_fields__:
            value = getattr(part, name)
            if isinstance(value, np.ndarray):
                yield name, value.dtype, value.shape, value.tobytes()
            elif not isinstance(value, Predictions):
                yield name, value


@settings(max_examples=25, deadline=None)
@given(st.lists(sample(), min_size=1, max_size=20))
def test_samples_come_back_as_they_were(samples: list[Sample]) -> None:
    back = []
    for chunk in chunks(samples):
        assert chunk.first == len(back)
        back += unpack(chunk.fd)
        chunk.close()
    assert [list(facts(one)) for one in back] == [list(facts(one)) for one in samples]


def test_array_that_is_not_contiguous_comes_back_equal() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)[:, ::-1]
    (chunk,) = chunks([Sample(image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), ("a",))])
    assert np.array_equal(unpack(chunk.fd)[0].image, image)
    chunk.close()


def test_sixteen_images_are_a_chunk() -> None:
    one = fixtures()["one box"]
    found = list(chunks([one] * 40))
    assert [len(chunk) for chunk in found] == [16, 16, 8]
    assert [chunk.first for chunk in found] == [0, 16, 32]
    for chunk in found:
        chunk.close()


def test_large_images_share_no_chunk() -> None:
    large = fixtures()["an image of 4000×3000 pixels"]
    found = list(chunks([large] * 3))
    assert [len(chunk) for chunk in found] == [1, 1, 1]
    for chunk in found:
        chunk.close()


def test_pixels_cannot_be_changed_by_anyone() -> None:
    (chunk,) = chunks([fixtures()["one box"]])
    image = unpack(chunk.fd)[0].image
    with pytest.raises(ValueError, match="read-only"):
        image[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        image.setflags(write=True)
    with pytest.raises(cv2.error, match="readonly"):
        cv2.rectangle(image, (0, 0), (3, 3), (1, 2, 3))
    with pytest.raises(PermissionError):
        os.pwrite(chunk.fd, b"x", 0)
    with pytest.raises(PermissionError):
        mmap.mmap(chunk.fd, 0)
    chunk.close()
