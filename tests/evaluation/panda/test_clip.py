from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from metricsmith.evaluation.panda.clip import FRAME_SHAPE, Clip, plan
from metricsmith.evaluation.panda.habitat import HABITATS, LIGHTS, build


def clip_of(seed: int, kind: str = "wood", light: str = "noon") -> Clip:
    rng = np.random.default_rng(seed)
    return plan(build(kind, LIGHTS[light], rng), rng)


def alone(clip: Clip) -> Clip:
    """The clip with nothing in front and nobody but its pandas."""
    habitat = replace(clip.habitat, front=np.zeros_like(clip.habitat.front))
    pandas = tuple(actor for actor in clip.actors if actor.kind == "panda")
    return replace(clip, habitat=habitat, actors=pandas)


@pytest.mark.parametrize("kind", sorted(HABITATS))
def test_every_habitat_can_be_drawn_in_any_light(kind: str) -> None:
    for light in ("noon", "dusk"):
        frame = clip_of(3, kind, light).frame(0, 8)
        assert frame.image.shape == (*FRAME_SHAPE, 3)
        assert frame.image.std() > 8
        assert frame.pandas


def test_dusk_is_darker_than_noon() -> None:
    noon, dusk = (clip_of(1, "zoo", light).frame(0, 8).image.mean() for light in ("noon", "dusk"))
    assert dusk < 0.6 * noon


def test_panda_is_black_and_white_and_its_surroundings_are_not() -> None:
    frame = alone(clip_of(0)).frame(0, 8)
    pixels = frame.image.astype(float)
    grey = (pixels.max(axis=2) - pixels.min(axis=2)) < 40
    extreme = grey & ((pixels.mean(axis=2) < 60) | (pixels.mean(axis=2) > 140))
    mask = frame.pandas[1]
    assert extreme[mask].mean() > 0.65
    assert extreme[~mask].mean() < 0.3


def test_what_stands_in_front_is_cut_out_of_the_mask() -> None:
    clip = alone(clip_of(0))
    free = clip.frame(0, 8).pandas[1]
    post = np.zeros_like(clip.habitat.front)
    post[:, ::20, 3] = post[:, 1::20, 3] = post[:, 2::20, 3] = post[:, 3::20, 3] = 1
    cut = replace(clip, habitat=replace(clip.habitat, front=post)).frame(0, 8).pandas[1]
    assert not (cut & ~free).any()
    assert cut.sum() == pytest.approx(0.8 * free.sum(), rel=0.1)
    wall = np.ones_like(post)
    assert not replace(clip, habitat=replace(clip.habitat, front=wall)).frame(0, 8).pandas


def test_nearer_panda_hides_the_farther() -> None:
    clip = alone(clip_of(0))
    far = clip.actors[0]
    near = replace(far, size=(far.size[0] * 1.2, far.size[1] * 1.2))
    both = replace(clip, actors=(far, near)).frame(0, 8).pandas
    assert 1 not in both or both[1].sum() < 0.3 * both[2].sum()
    assert not (1 in both and (both[1] & both[2]).any())


def test_motion_is_smooth() -> None:
    for seed in range(4):
        clip = alone(clip_of(seed))
        centres = []
        for index in range(16):
            masks = clip.frame(index, 16).pandas
            if 1 in masks and masks[1][:, 3:-3].sum() == masks[1].sum():
                centres.append((index, np.argwhere(masks[1]).mean(axis=0)))
        for (i, a), (j, b) in pairwise(centres):
            assert j - i > 1 or np.abs(a - b).max() < 40


def test_panda_that_walked_out_is_not_labelled() -> None:
    clip = alone(clip_of(0))
    actor = replace(clip.actors[0], path=(clip.pan[0] + 240, clip.pan[1] + 1500), sitting=False)
    clip = replace(clip, actors=(actor,))
    assert clip.frame(0, 16).pandas
    assert not clip.frame(15, 16).pandas


def test_same_frame_is_the_same_picture() -> None:
    a, b = (clip_of(5, "snow").frame(3, 16) for _ in range(2))
    assert (a.image == b.image).all()
    assert a.pandas.keys() == b.pandas.keys()
