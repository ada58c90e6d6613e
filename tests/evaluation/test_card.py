import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from metricsmith.evaluation.card import describe
from metricsmith.evaluation.card_facts import Card, Spread
from metricsmith.evaluation.card_markdown import number, to_markdown
from metricsmith.evaluation.dataset import Box, Dataset, Image, Skipped
from metricsmith.evaluation.readers import read_dataset
from metricsmith.sandbox.errors import DataError


def pandas(root, frames=12, loose_from=10):
    """A video of a black and white square walking over grass; its last boxes are twice as large."""
    rng = np.random.default_rng(0)
    images = []
    for frame in range(frames):
        rgb = np.full((120, 160, 3), (50, 150, 40), np.uint8)
        rgb += rng.integers(0, 8, rgb.shape, dtype=np.uint8)
        x = 30 + 4 * frame
        rgb[40:80, x : x + 20], rgb[40:80, x + 20 : x + 40] = 15, 235
        path = root / f"{frame:03}.png"
        cv2.imwrite(str(path), rgb[..., ::-1])
        grow = 20.0 if frame >= loose_from else 0.0
        box = Box(frame, 0, (x - grow, 40 - grow, 40 + 2 * grow, 40 + 2 * grow))
        images.append(Image(frame, path, path.name, 160, 120, (box,), "walk", frame))
    return Dataset("pandas", root, tuple(images), ("panda",))


def test_card_makes_black_and_white_and_the_loose_boxes_plain(tmp_path):
    card = describe(pandas(tmp_path), about="Giant pandas, 2023.")
    (panda,) = card.classes
    assert panda.pixels["black"].inside.median == pytest.approx(0.5, abs=0.01)
    assert panda.pixels["white"].ring.median == 0
    assert panda.pixels["black"].inside_greater == 1
    assert list(panda.colours_inside)[:3] == ["black", "white", "green"]
    assert next(iter(panda.colours_ring)) == "green"
    outer = panda.profile.distance[3]
    assert outer.median > 20
    assert outer.least < 1
    assert panda.motion.resize.greatest == 4
    assert panda.motion.shift.median == pytest.approx(0.1)
    largest = next(extreme for extreme in panda.extremes if extreme.what.startswith("largest"))
    assert (largest.value, largest.file_name, largest.xywh[2:]) == (80, "010.png", (80, 80))


def test_card_says_what_sets_a_class_apart_and_which_boxes_do_not_show_it(tmp_path):
    whole = pandas(tmp_path, frames=22, loose_from=22)
    astray = [Box(90 + n, 0, (100.0, 85.0 + n, 30.0, 20.0)) for n in range(2)]
    images = [replace(i, boxes=(astray[n],)) if n < 2 else i for n, i in enumerate(whole.images)]
    card = describe(replace(whole, images=tuple(images)))
    looks = card.classes[0].looks
    assert len(looks.traits) == 5
    assert all(abs(share) >= 20 / 22 for share in looks.traits.values())
    clear = {"black": 1, "white": 1, "colourless": 1, "light spread": 1, "saturation": -1, "edges": 1}
    for name in looks.traits.keys() & clear:
        assert np.sign(looks.traits[name]) == clear[name]
    assert looks.odd == pytest.approx(2 / 22)
    assert {extreme.file_name for extreme in looks.oddest} == {"000.png", "001.png"}
    text = to_markdown(card)
    assert "What sets the inside apart from the ring, and in how many of the boxes: " in text
    assert "9.09 % of the boxes show fewer than half of these, such as " in text
    assert "000.png (100, 85, 30, 20)" in text


@pytest.mark.parametrize("count", [1, 3, 10, 20, 40])
@pytest.mark.parametrize("seed", range(4))
def test_class_that_looks_like_its_surroundings_has_no_looks(tmp_path, count, seed):
    rng = np.random.default_rng(seed)
    images = []
    for row in range(count):
        path = tmp_path / f"{row}.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (80, 80, 3), dtype=np.uint8))
        box = Box(row, 0, (20.0, 20.0, 40.0, 40.0))
        images.append(Image(row, path, path.name, 80, 80, (box,)))
    (noise,) = describe(Dataset("noise", tmp_path, tuple(images), ("noise",))).classes
    assert noise.looks is None


def test_card_as_text_has_every_fact_and_nothing_else_to_say(tmp_path):
    text = to_markdown(describe(pandas(tmp_path), about="Giant pandas, 2023."))
    assert text.startswith("# Dataset card: pandas\n\nGiant pandas, 2023.\n\n- 12 images, 12 boxes.")
    assert "Boxes an image: 1 to 1, median 1; 0 % of the images have none." in text
    assert "1 video of 12 to 12 frames (median 12); from a frame to the next its number grows by 1" in text
    assert "## panda: 12 boxes in 12 images" in text
    assert "| √area px | 40 | 40 | 40 | 40 | 40 | 80 | 80 |" in text
    assert "Colours in the ring: green 100 %." in text
    assert "- largest, √area px 80: 010.png (50, 20, 80, 80)" in text
    assert len(text) < 5400
    for word in ("nan", "None", "wrong", "noise", "error"):
        assert word not in text


def test_card_survives_json(tmp_path):
    card = describe(pandas(tmp_path))
    assert Card.model_validate_json(card.model_dump_json()) == card


def test_tables_have_as_many_cells_as_their_heads(tmp_path):
    blocks = to_markdown(describe(pandas(tmp_path))).split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert len(tables) == 6
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


def test_data_set_without_any_box(tmp_path):
    dataset = pandas(tmp_path, frames=3)
    card = describe(dataset.with_images(replace(image, boxes=()) for image in dataset.images))
    assert card.classes == ()
    assert card.other_classes == {"panda": 0}
    assert card.without_boxes == 1
    assert "100 % of the images have none" in to_markdown(card)


def test_one_still_with_a_box_of_one_pixel_and_one_of_full_size(tmp_path):
    dataset = pandas(tmp_path, frames=1)
    boxes = (Box(1, 0, (80.0, 60.0, 1.0, 1.0)), Box(2, 0, (0.0, 0.0, 160.0, 120.0)))
    image = replace(dataset.images[0], boxes=boxes, group=None, frame=None)
    card = describe(dataset.with_images([image]))
    assert card.groups is None
    assert card.classes[0].motion is None
    assert card.classes[0].measured == 2
    assert "No videos" in to_markdown(card)


def test_one_still_with_only_a_box_of_full_size_has_no_ring_to_compare_with(tmp_path):
    dataset = pandas(tmp_path, frames=1)
    image = replace(dataset.images[0], boxes=(Box(2, 0, (0.0, 0.0, 160.0, 120.0)),))
    card = describe(dataset.with_images([image]))
    assert card.classes[0].pixels["black"].ring is None
    text = to_markdown(card)
    assert "| – |" in text
    assert "Colours in the ring: –." in text


def test_classes_come_by_frequency_and_the_rest_is_counted(tmp_path):
    dataset = pandas(tmp_path, frames=2)
    names = ("a", "b", "c", "d", "e", "f")
    boxes = [Box(n, label, (10.0, 10.0, 9.0, 9.0)) for n, label in enumerate([5, 5, 5, 3, 3, 0, 0, 1, 1, 2])]
    first, second = dataset.images
    images = (replace(first, boxes=tuple(boxes)), replace(second, boxes=()))
    card = describe(replace(dataset, images=images, class_names=names))
    assert [facts.name for facts in card.classes] == ["f", "a", "b", "d"]
    assert card.other_classes == {"c": 1, "e": 0}
    assert "Classes not described below: c (1), e (0)." in to_markdown(card)


def test_crowds_empty_boxes_and_skipped_items_are_counted(tmp_path):
    dataset = pandas(tmp_path, frames=1)
    boxes = (
        Box(1, 0, (10.0, 10.0, 20.0, 20.0)),
        Box(2, 0, (10.0, 10.0, 0.0, 20.0)),
        Box(3, 0, (0.0, 0.0, 50.0, 50.0), crowd=True),
    )
    image = replace(dataset.images[0], boxes=boxes)
    card = describe(replace(dataset, images=(image,), skipped=(Skipped(tmp_path, None, "broken"),)))
    assert (card.boxes, card.crowds, card.without_area, card.skipped) == (3, 1, 1, 1)
    assert card.classes[0].boxes == 1
    assert "1 crowd box, 1 box without area" in to_markdown(card)


def test_only_the_drawn_images_are_decoded_and_the_card_says_so(tmp_path):
    dataset = pandas(tmp_path)
    seen = []
    card = describe(dataset, images=3, seed=7, progress=lambda what, done, total: seen.append((done, total)))
    assert (card.measured_images, card.classes[0].measured, card.classes[0].boxes) == (3, 3, 12)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert "from 3 images drawn at random (seed 7)" in to_markdown(card)
    assert describe(dataset, images=3, seed=7) == card


def test_class_with_boxes_in_no_drawn_image_has_no_pixels(tmp_path):
    dataset = pandas(tmp_path, frames=2)
    chosen = describe(dataset, images=1).classes[0].extremes
    drawn = next(e.file_name for e in chosen if e.what.startswith("darkest"))
    images = [i if i.file_name != drawn else replace(i, boxes=()) for i in dataset.images]
    card = describe(dataset.with_images(images), images=1)
    assert card.classes[0].measured == 0
    assert card.classes[0].profile is None
    assert "Pixels of" not in to_markdown(card)


def test_empty_data_set_is_named(tmp_path):
    with pytest.raises(DataError, match="no images"):
        describe(Dataset("empty", tmp_path, (), ("panda",)))


def test_missing_image_is_named(tmp_path):
    dataset = pandas(tmp_path, frames=2)
    dataset.images[1].path.unlink()
    with pytest.raises(DataError, match=r"001\.png"):
        describe(dataset)


def test_spread_leaves_out_what_is_not_there():
    spread = Spread.of(np.array([np.nan, *range(101)], float))
    assert spread.model_dump() == dict(zip(Spread.model_fields, (0, 5, 25, 50, 75, 95, 100), strict=True))
    assert Spread.of(np.array([np.nan])) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567.8, "1234568"),
        (99.96, "100"),
        (12.34, "12.3"),
        (1.0, "1"),
        (0.1 + 0.2, "0.3"),
        (0.0123, "0.012"),
        (-0.0001, "0"),
        (-3.456, "-3.46"),
        (100.0, "100"),
    ],
)
def test_number_is_short_and_has_no_exponent(value, text):
    assert number(value) == text


def test_airplane_card_is_compact_and_quick(real_data):
    dataset = read_dataset(real_data / "airplane")
    start = time.process_time()
    card = describe(dataset, images=100)
    assert time.process_time() - start < 10
    (airplane,) = card.classes
    assert card.groups.count == 59
    assert len(to_markdown(card)) < 5600
    outer, centre = airplane.profile.distance[3], airplane.profile.distance[0]
    assert outer.median < centre.median / 4, "the boxes are a little loose"
    assert airplane.edge_span["width"].median < 0.8
