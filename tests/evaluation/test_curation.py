from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from metricsmith.evaluation.curation import Step, Strategy, compose, curate
from metricsmith.evaluation.dataset import Box, Dataset, Image
from metricsmith.evaluation.draws import control_draw
from metricsmith.evaluation.scores import ScoreTable
from metricsmith.sandbox.errors import DataError

ROOT = Path("toy")


def pool_of(box_counts, groups=None):
    images, boxes = [], 0
    for number, count in enumerate(box_counts):
        own = tuple(Box(boxes + k, 0, (1.0, 2.0, 3.0, 4.0)) for k in range(count))
        boxes += count
        group = groups[number] if groups else None
        images.append(Image(number, ROOT / f"{number}", f"{number}", 10, 10, own, group, number))
    return Dataset("toy", ROOT, tuple(images), ("cat", "dog"))


def ids_of(curation):
    return [image.id for image in curation.images]


@st.composite
def problems(draw):
    counts = draw(st.lists(st.integers(0, 3), min_size=2, max_size=40))
    pool = pool_of(counts, [draw(st.sampled_from(["a", "b", None])) for _ in counts])
    level = draw(st.sampled_from(["object", "image"]))
    rows = sum(counts) if level == "object" else len(counts)
    values = np.array(draw(st.lists(st.integers(-3, 3), min_size=rows, max_size=rows)), float)
    table = ScoreTable.of("M", level, draw(st.sampled_from(["low", "high", "both"])), values, pool)
    strategy = Strategy(
        kind=draw(st.sampled_from(["filter", "stratify", "spread", "relabel"])),
        fraction=draw(st.floats(0.01, 0.99)),
    )
    return pool, table, strategy, draw(st.integers(1, len(counts))), draw(st.integers(0, 2**32))


@given(problems())
@settings(deadline=None)
def test_training_set_has_the_budget_and_repeats_itself(problem):
    pool, table, strategy, budget, seed = problem
    reference = pool.with_images(replace(image, boxes=()) for image in pool.images)
    made = curate(pool, table, strategy, budget=budget, seed=seed, reference=reference)
    again = curate(pool, table, strategy, budget=budget, seed=seed, reference=reference)
    assert made == again
    order = [image.id for image in pool.images]
    assert len(set(ids_of(made))) == len(made.images) == budget
    assert ids_of(made) == sorted(ids_of(made), key=order.index)
    assert not set(ids_of(made)) & set(made.left_out)
    control = control_draw(order, budget, seed)
    if strategy.kind == "filter":
        assert set(control) - set(made.left_out) <= set(ids_of(made))
        assert made.effective_fraction == len(made.left_out) / len(pool)
        assert len(made.left_out) == min(round(strategy.fraction * len(pool)), len(pool) - budget)
    if strategy.kind == "relabel":
        assert ids_of(made) == control
        assert set(made.relabelled) <= set(control)
        for image in made.images:
            known = reference if image.id in made.relabelled else pool
            assert image == known.images[order.index(image.id)]


def test_filter_leaves_out_the_most_suspicious_fifth():
    pool = pool_of([0] * 10)
    table = ScoreTable.of("M", "image", "low", np.array([5, 3, 8, 1, 9, 7, 6, 4, 2, 10.0]), pool)
    made = curate(pool, table, Strategy(kind="filter", fraction=0.2), budget=8, seed=0)
    assert made.left_out == (3, 8)
    assert ids_of(made) == [0, 1, 2, 4, 5, 6, 7, 9]
    assert made.effective_fraction == 0.2


def test_filter_that_goes_too_far_leaves_the_budget():
    pool = pool_of([0] * 10)
    table = ScoreTable.of("M", "image", "high", np.arange(10.0), pool)
    made = curate(pool, table, Strategy(kind="filter", fraction=0.9), budget=7, seed=3)
    assert made.left_out == (9, 8, 7)
    assert made.effective_fraction == 0.3


def test_what_is_left_out_does_not_depend_on_the_seed():
    pool = pool_of([0] * 30)
    table = ScoreTable.of("M", "image", "high", np.repeat([0.0, 1.0], 15), pool)
    strategy = Strategy(kind="filter", fraction=0.3)
    sets = {curate(pool, table, strategy, budget=5, seed=seed).left_out for seed in range(5)}
    assert len(sets) == 1
    (left_out,) = sets
    assert set(left_out) <= set(range(15, 30))
    assert set(left_out) != set(range(15, 24)), "ties must not fall in the pool's order"


def test_stratify_draws_one_of_each_tenth():
    pool = pool_of([0] * 100)
    values = np.random.default_rng(0).permutation(100).astype(float)
    table = ScoreTable.of("M", "image", "none", values, pool)
    made = curate(pool, table, Strategy(kind="stratify", fraction=0), budget=20, seed=5)
    bins = [int(values[image.id]) // 10 for image in made.images]
    assert [bins.count(b) for b in range(10)] == [2] * 10


def test_stratify_draws_rare_scores_as_often_as_common_ones():
    pool = pool_of([0] * 100)
    values = np.array([0.0] * 90 + [10.0] * 10)
    made = curate(
        pool, ScoreTable.of("M", "image", "none", values, pool), Strategy(kind="stratify"), budget=20, seed=5
    )
    assert sum(values[image.id] == 10 for image in made.images) == 10


def test_stratify_spreads_over_the_videos_of_a_bin():
    pool = pool_of([0] * 100, ["long"] * 90 + [f"short {n}" for n in range(10)])
    made = curate(
        pool,
        ScoreTable.of("M", "image", "low", np.array([n % 10 for n in range(100)], float), pool),
        Strategy(kind="stratify"),
        budget=20,
        seed=1,
    )
    assert sum(image.group != "long" for image in made.images) == 10


def test_stratify_keeps_the_share_of_images_without_boxes():
    pool = pool_of([1] * 60 + [0] * 40)
    table = ScoreTable.of("M", "object", "low", np.arange(60) // 6 * 1.0, pool)
    made = curate(pool, table, Strategy(kind="stratify"), budget=50, seed=1)
    assert sum(not image.boxes for image in made.images) == 20
    assert [sum(6 * b <= i.id < 6 * b + 6 for i in made.images) for b in range(10)] == [3] * 10


def spread_of(box_counts, groups, values, budget, seed=1, level="image"):
    pool = pool_of(box_counts, groups)
    table = ScoreTable.of("M", level, "none", np.array(values, float), pool)
    return curate(pool, table, Strategy(kind="spread"), budget=budget, seed=seed)


def test_spread_draws_as_many_of_every_video_as_there_are():
    groups = ["long"] * 60 + ["middle"] * 30 + ["short"] * 4
    made = spread_of([0] * 94, groups, range(94), 30)
    counts = [sum(image.group == name for image in made.images) for name in ("long", "middle", "short")]
    assert counts == [13, 13, 4]
    uneven = spread_of([0] * 60, ["a"] * 30 + ["b"] * 30, range(60), 9)
    assert sorted(sum(i.group == name for i in uneven.images) for name in "ab") == [4, 5]


def test_spread_takes_even_steps_in_the_ranks_of_each_video():
    values = np.random.default_rng(0).permutation(64) ** 3
    begun = set()
    for seed in range(8):
        made = spread_of([0] * 64, ["a"] * 32 + ["b"] * 32, values, 16, seed)
        for name, own in (("a", values[:32]), ("b", values[32:])):
            ranks = np.argsort(np.argsort(own))
            taken = sorted(ranks[image.id % 32] for image in made.images if image.group == name)
            assert np.diff(taken).tolist() == [4] * 7
            begun.add(taken[0])
    assert begun == {0, 1, 2, 3}, "where the steps begin, the seed decides"


def test_spread_keeps_the_share_of_stills_and_of_images_without_boxes():
    groups = [None] * 60 + ["a"] * 20 + ["b"] * 20
    made = spread_of([0] * 100, groups, range(100), 20)
    assert [sum(image.group == name for image in made.images) for name in (None, "a", "b")] == [12, 4, 4]
    stills = [image.id for image in made.images if image.group is None]
    assert np.diff(stills).tolist() == [5] * 11
    empty = spread_of([1] * 30 + [0] * 10, ["a"] * 40, range(30), 8, level="object")
    assert sum(not image.boxes for image in empty.images) == 2


def test_relabel_asks_for_the_most_suspicious_of_the_drawn():
    pool = pool_of([1] * 20)
    reference = replace(
        pool.with_images(
            replace(image, boxes=(Box(900 + image.id, 0, (0.0, 0.0, 9.0, 9.0)),)) for image in pool.images
        ),
        class_names=("dog", "cat"),
    )
    table = ScoreTable.of("M", "object", "high", np.arange(20.0), pool)
    strategy = Strategy(kind="relabel", fraction=0.25)
    made = curate(pool, table, strategy, budget=8, seed=4, reference=reference)
    control = control_draw(list(range(20)), 8, 4)
    assert made.relabelled == tuple(sorted(control)[-2:][::-1])
    mended = [image for image in made.images if image.id in made.relabelled]
    assert [image.boxes[0].label for image in mended] == [1, 1], "labels go by the class's name"
    assert [image.boxes[0].id for image in mended] == [900 + image.id for image in mended]


def test_relabel_is_compared_with_as_many_at_random():
    pool = pool_of([1] * 200)
    reference = pool.with_images(replace(image, boxes=()) for image in pool.images)
    table = ScoreTable.of("M", "object", "high", np.arange(200.0), pool)
    shared = {"budget": 80, "seed": 4, "reference": reference}
    made = curate(pool, table, Strategy(kind="relabel", fraction=0.25), **shared)
    rival = compose(pool, (), mend=0.25, **shared)
    assert ids_of(rival) == ids_of(made) == control_draw(list(range(200)), 80, 4)
    assert len(rival.relabelled) == len(made.relabelled) == 20
    assert {image.id for image in rival.images if not image.boxes} == set(rival.relabelled)
    assert set(rival.relabelled) < set(compose(pool, (), mend=0.5, **shared).relabelled)
    assert 50 < np.mean(rival.relabelled) < 150, "the suspicious ones are all above that"


def test_more_is_mended_at_random_in_the_draw_of_a_curation():
    pool = pool_of([1] * 200)
    reference = pool.with_images(replace(image, boxes=()) for image in pool.images)
    table = ScoreTable.of("M", "object", "high", np.arange(200.0), pool)
    steps = [Step(table, Strategy(kind="filter", fraction=0.5))]
    steps += [Step(table, Strategy(kind="relabel", fraction=0.25))]
    shared = {"budget": 80, "seed": 4, "reference": reference}
    made, rival = compose(pool, steps, **shared), compose(pool, steps, mend=0.5, **shared)
    drawn = sorted(control_draw(list(range(200)), 80, 4))
    assert made.relabelled == tuple(drawn[-20:][::-1]) == rival.relabelled[:20]
    for curation in (made, rival):
        sound = set(ids_of(curation)) - set(curation.relabelled)
        assert len(ids_of(curation)) == 80
        assert max(sound) < 100, "the filter holds for all that is not mended"
        assert not set(curation.left_out) & set(curation.relabelled)
    assert len(set(rival.relabelled)) == 40
    assert compose(pool, steps, mend=0.25, **shared) == compose(pool, steps, mend=0.1, **shared) == made


def test_rare_images_are_mended_at_random_as_often_as_others():
    """A stratify draws what is rare late, from all over the seed's order; the mending must not notice."""
    pool = pool_of([1] * 1000)
    reference = pool.with_images(replace(image, boxes=()) for image in pool.images)
    rare = ScoreTable.of("M", "object", "none", np.array([0.0] * 900 + [1.0] * 100), pool)
    steps = [Step(rare, Strategy(kind="stratify"))]
    drawn, mended = [], []
    for seed in range(10):
        made = compose(pool, steps, budget=200, seed=seed, reference=reference, mend=0.4)
        drawn.append(np.mean([item >= 900 for item in ids_of(made)]))
        mended.append(np.mean([item >= 900 for item in made.relabelled]))
    assert np.mean(drawn) == 0.5
    assert np.mean(mended) == pytest.approx(0.5, abs=0.06)


def refuse(match, *, kind="relabel", suspicious="low", budget=2, reference=None, names=("0", "1", "2")):
    pool = pool_of([1, 1, 1])
    table = ScoreTable.of("Sharpness", "image", suspicious, np.arange(3.0), pool)
    if reference == "given":
        reference = pool.with_images(i for i in pool.images if i.file_name in names)
    with pytest.raises(DataError, match=match):
        curate(pool, table, Strategy(kind=kind, fraction=0.9), budget=budget, seed=0, reference=reference)


def test_budget_beyond_the_pool_is_named():
    for kind in ("filter", "stratify", "spread", "relabel"):
        refuse("4 images cannot be drawn from 3", kind=kind, budget=4)


def test_metric_without_a_suspicious_end_cannot_filter():
    refuse("Sharpness: .*no score suspicious.*stratify", kind="filter", suspicious="none")


def test_relabel_without_a_reference_is_named():
    refuse("needs a reference")


def test_reference_without_the_image_is_named():
    refuse("1: the reference has no labels", reference="given", names=("0", "2"), budget=3)


def test_reference_with_another_class_is_named():
    pool = pool_of([1, 1])
    table = ScoreTable.of("M", "image", "low", np.arange(2.0), pool)
    reference = replace(pool, class_names=("cat", "zebra"))
    with pytest.raises(DataError, match="zebra"):
        curate(pool, table, Strategy(kind="relabel", fraction=0.5), budget=2, seed=0, reference=reference)


def test_percent_instead_of_a_share_is_explained():
    with pytest.raises(ValidationError, match=r"filter needs a fraction above 0 and below 1, not 20; .*0\.2"):
        Strategy(kind="filter", fraction=20)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_fraction_that_does_nothing_or_all_is_refused(fraction):
    with pytest.raises(ValidationError, match="relabel needs a fraction"):
        Strategy(kind="relabel", fraction=fraction)


def test_missing_fraction_is_refused():
    with pytest.raises(ValidationError, match="filter needs a fraction"):
        Strategy(kind="filter")


def test_stratify_has_no_fraction_whatever_is_written():
    assert Strategy.model_validate_json('{"kind": "stratify", "fraction": null}').fraction == 0
    assert Strategy(kind="stratify", fraction=0.3) == Strategy(kind="stratify")
    assert Strategy(kind="spread", fraction=0.3) == Strategy(kind="spread")


def test_unknown_strategy_is_refused():
    with pytest.raises(ValidationError, match="'filter', 'filter_boxes', 'stratify', 'spread' or 'relabel'"):
        Strategy.model_validate({"kind": "drop", "fraction": 0.2})


def image_table(name, values, pool, suspicious="high"):
    return ScoreTable.of(name, "image", suspicious, np.array(values, float), pool)


def test_filters_add_up_before_the_draw():
    pool = pool_of([0] * 10)
    first = Step(image_table("A", range(10), pool), Strategy(kind="filter", fraction=0.2))
    second = Step(image_table("B", range(10, 0, -1), pool), Strategy(kind="filter", fraction=0.3))
    made = compose(pool, [first, second], budget=5, seed=0)
    assert made.left_out == (9, 8, 0, 1, 2)
    assert ids_of(made) == [3, 4, 5, 6, 7]
    assert compose(pool, [first, second], budget=7, seed=0).left_out == (9, 8, 0), "the first one's first"


def test_the_last_stratify_draws_from_what_the_filter_left():
    pool = pool_of([0] * 100)
    filtered = Step(image_table("A", range(100), pool), Strategy(kind="filter", fraction=0.5))
    useless = Step(image_table("B", [0] * 100, pool), Strategy(kind="stratify"))
    halves = Step(image_table("C", [n % 50 >= 45 for n in range(100)], pool), Strategy(kind="stratify"))
    made = compose(pool, [filtered, useless, halves], budget=10, seed=1)
    assert max(ids_of(made)) < 50
    assert sum(item >= 45 for item in ids_of(made)) == 5


def test_two_relabels_share_the_larger_fraction_by_the_mean_of_their_ranks():
    pool = pool_of([1] * 10)
    reference = pool.with_images(replace(image, boxes=()) for image in pool.images)
    first = Step(
        image_table("A", [9, 8, 7, 0, 0, 0, 0, 0, 0, 0], pool), Strategy(kind="relabel", fraction=0.3)
    )
    second = Step(
        image_table("B", [0, 8, 9, 7, 0, 0, 0, 0, 0, 0], pool), Strategy(kind="relabel", fraction=0.2)
    )
    made = compose(pool, [first, second], budget=10, seed=0, reference=reference)
    assert set(made.relabelled[:2]) == {1, 2}
    assert len(made.relabelled) == made.changed == 3
    assert sum(not image.boxes for image in made.images) == 3


def test_what_is_mended_need_not_pass_the_filter():
    pool = pool_of([1] * 10)
    reference = pool.with_images(replace(image, boxes=()) for image in pool.images)
    out = Step(image_table("A", range(10), pool), Strategy(kind="filter", fraction=0.2))
    mend = Step(image_table("B", range(10), pool), Strategy(kind="relabel", fraction=0.25))
    made = compose(pool, [out, mend], budget=8, seed=0, reference=reference)
    drawn = sorted(control_draw(list(range(10)), 8, 0))
    assert made.relabelled == tuple(drawn[-2:][::-1]) == (8, 7)
    assert made.left_out == (9,), "8 is mended"
    assert set(ids_of(made)) == set(drawn), "nothing else that was drawn is doubted"


def test_suspicious_boxes_are_taken_out_of_images_that_stay():
    pool = pool_of([2, 0, 3])
    table = ScoreTable.of("M", "object", "low", np.array([5.0, 1, 4, 0, 9]), pool)
    made = curate(pool, table, Strategy(kind="filter_boxes", fraction=0.4), budget=3, seed=0)
    assert [[box.id for box in image.boxes] for image in made.images] == [[0], [], [2, 4]]


def test_boxes_cannot_be_taken_out_by_scores_of_images():
    pool = pool_of([1, 1])
    with pytest.raises(DataError, match="scores images, so filter_boxes cannot tell their boxes apart"):
        curate(
            pool,
            image_table("M", [0, 1], pool),
            Strategy(kind="filter_boxes", fraction=0.4),
            budget=1,
            seed=0,
        )


def test_mended_images_that_come_back_the_same_are_not_counted_as_changed():
    pool = pool_of([1] * 4)
    nudged = tuple(Box(9, 0, (1.0, 2.0, 3.0, 4.2)) for _ in range(1))
    reference = pool.with_images(
        replace(image, boxes=nudged if image.id < 2 else ()) for image in pool.images
    )
    made = compose(pool, (), budget=4, seed=0, reference=reference, mend=0.99)
    assert (len(made.relabelled), made.changed, made.corrected) == (4, 2, {"spawn": 2})


@given(problems(), problems())
@settings(deadline=None)
def test_a_composition_has_the_budget_and_repeats_itself(one, other):
    pool, table, strategy, budget, seed = one
    _, _, second, _, _ = other
    steps = [Step(table, strategy), Step(table, second)]
    reference = pool.with_images(replace(image, boxes=()) for image in pool.images)
    made = compose(pool, steps, budget=budget, seed=seed, reference=reference)
    assert made == compose(pool, steps, budget=budget, seed=seed, reference=reference)
    assert len(set(ids_of(made))) == budget
    assert not set(ids_of(made)) & set(made.left_out)
    assert set(made.relabelled) <= set(ids_of(made))


def test_every_field_says_what_it_means():
    assert all(field["description"] for field in Strategy.model_json_schema()["properties"].values())
