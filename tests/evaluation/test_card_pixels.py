import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metricsmith.evaluation.card_pixels import BANDS, COLOURS, FEATURES, PixelFacts, pixel_facts


def boxes_of(*boxes):
    return np.array(boxes, np.float32).reshape(-1, 4)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def oracle_features(rgb, mask):
    """The features of the pixels in a mask, in plain numpy, and in floats where ours have 8 bits."""
    scaled = rgb[mask] / 255
    value = scaled.max(axis=1)
    saturation = np.where(value > 0, (value - scaled.min(axis=1)) / np.maximum(value, 1e-9), 0)
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return [
        np.mean(value < 0.25),
        np.mean((saturation < 0.2) & (value > 0.75)),
        np.mean(saturation < 0.2),
        saturation.mean(),
        value.mean(),
        value.std(),
        cv2.Laplacian(gray, cv2.CV_64F)[mask].var(),
        np.mean(cv2.Canny(gray, 50, 150)[mask] > 0),
    ]


def test_features_equal_plain_numpy():
    rgb = noise(60, 80)
    rgb[:, :30] //= 5
    rgb[:25, 40:] |= 200
    facts, whole = pixel_facts(rgb, boxes_of((20, 20, 60, 40)))
    inside, ring = np.zeros((2, 60, 80), bool)
    inside[20:40, 20:60] = True
    ring[15:45, 10:70] = True
    assert facts.inside[0] == pytest.approx(oracle_features(rgb, inside), abs=0.01, rel=1e-6)
    assert facts.ring[0] == pytest.approx(oracle_features(rgb, ring & ~inside), abs=0.01, rel=1e-6)
    assert whole == pytest.approx(oracle_features(rgb, np.ones_like(inside)), abs=0.01, rel=1e-6)


def test_black_and_white_box_on_grass():
    rgb = np.full((100, 100, 3), (40, 160, 40), np.uint8)
    rgb[40:60, 40:50], rgb[40:60, 50:60] = 10, 240
    facts, _ = pixel_facts(rgb, boxes_of((40, 40, 60, 60)))
    inside = dict(zip(COLOURS, facts.inside_colours[0], strict=True))
    ring = dict(zip(COLOURS, facts.ring_colours[0], strict=True))
    assert (inside["black"], inside["white"]) == (0.5, 0.5)
    assert ring["green"] == 1
    assert facts.inside[0, FEATURES.index("black")] == 0.5
    assert facts.ring[0, FEATURES.index("white")] == 0


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((10, 10, 10), "black"),
        ((60, 0, 0), "black"),
        ((250, 250, 250), "white"),
        ((128, 128, 128), "gray"),
        ((250, 10, 10), "red"),
        ((250, 10, 40), "red"),
        ((250, 130, 10), "orange"),
        ((120, 70, 20), "brown"),
        ((250, 240, 10), "yellow"),
        ((10, 200, 10), "green"),
        ((10, 200, 200), "cyan"),
        ((10, 10, 200), "blue"),
        ((110, 10, 230), "violet"),
        ((250, 20, 180), "pink"),
    ],
)
def test_colour_has_its_name(rgb, name):
    image = np.full((9, 9, 3), rgb, np.uint8)
    facts, _ = pixel_facts(image, boxes_of((3, 3, 6, 6)))
    assert COLOURS[int(facts.inside_colours[0].argmax())] == name
    assert facts.inside_colours[0].sum() == facts.ring_colours[0].sum() == 1


def test_loose_box_shows_in_the_bands_and_tight_box_does_not():
    rgb = np.full((200, 200, 3), 200, np.uint8)
    rgb[80:120, 80:120] = 20
    facts, _ = pixel_facts(rgb, boxes_of((80, 80, 120, 120), (60, 60, 140, 140), (90, 90, 110, 110)))
    tight, loose, small = facts.distance
    assert tight[:4].min() > 60
    assert tight[4] == pytest.approx(0, abs=1e-9)
    assert loose[0] > 60
    assert loose[2:] == pytest.approx(0, abs=1e-9)
    assert small == pytest.approx(0, abs=1e-9), "in the object no band differs"
    assert facts.edge_span[1] == pytest.approx([0.5, 0.5], abs=0.03)
    assert np.isnan(facts.edge_span[2]).all()


def test_contrast_is_the_distance_in_lab():
    rgb = np.full((40, 40, 3), (30, 90, 200), np.uint8)
    rgb[15:25, 15:25] = (220, 180, 20)
    pair = np.array([[[30, 90, 200], [220, 180, 20]]], np.float32) / 255
    lab = cv2.cvtColor(pair, cv2.COLOR_RGB2LAB)[0]
    facts, _ = pixel_facts(rgb, boxes_of((15, 15, 25, 25)))
    assert facts.contrast[0] == pytest.approx(np.linalg.norm(lab[0] - lab[1]), abs=1)


def test_box_of_one_pixel_has_a_ring_of_eight():
    rgb = np.zeros((9, 9, 3), np.uint8)
    rgb[4, 4] = 255
    facts, _ = pixel_facts(rgb, boxes_of((4, 4, 5, 5)))
    assert facts.inside[0, FEATURES.index("white")] == 1
    assert facts.ring[0, FEATURES.index("black")] == 1


def test_box_of_the_whole_image_has_no_ring():
    facts, _ = pixel_facts(noise(20, 30), boxes_of((0, 0, 30, 20)))
    assert np.isnan(facts.ring).all()
    assert np.isnan(facts.contrast).all()
    assert not np.isnan(facts.inside).any()


def test_image_without_boxes_still_has_its_own_features():
    facts, whole = pixel_facts(noise(20, 30), boxes_of())
    assert facts.inside.shape == (0, len(FEATURES))
    assert facts.edges.shape == (0, len(BANDS))
    assert whole.shape == (len(FEATURES),)


def test_large_image_is_shrunk_with_its_boxes():
    rgb = np.full((2000, 3000, 3), 250, np.uint8)
    rgb[500:1000, 600:1500] = 5
    facts, _ = pixel_facts(rgb, boxes_of((600, 500, 1500, 1000)))
    assert facts.inside[0, FEATURES.index("black")] > 0.98
    assert facts.ring[0, FEATURES.index("white")] > 0.98


def test_parts_join_in_order_and_rows_can_be_taken():
    parts = [pixel_facts(noise(20, 30, seed), boxes_of((5, 5, 9, 9), (1, 1, 4, 8)))[0] for seed in (0, 1)]
    joined = PixelFacts.joined(parts)
    assert np.array_equal(joined.inside[2:], parts[1].inside)
    third = joined.take(np.array([False, False, True, False]))
    assert np.array_equal(third.inside_colours, parts[1].inside_colours[:1])


@given(st.integers(1, 40), st.integers(1, 40), st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=5))
@settings(deadline=None)
def test_any_box_gives_shares_in_range(height, width, corners):
    corners = np.array(corners, np.float32).reshape(-1, 2, 2)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1) * [
        width,
        height,
        width,
        height,
    ]
    facts, _ = pixel_facts(noise(height, width), boxes)
    shares = np.concatenate([facts.inside[:, [0, 1, 2, 3, 5]], facts.inside_colours], axis=1)
    assert (shares >= 0).all()
    assert (shares <= 1 + 1e-9).all()
    for other in (facts.ring, facts.distance, facts.edges, facts.edge_span, facts.ring_colours):
        assert np.nanmin(other, initial=0) >= -1e-9
