import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import spearmanr

from metricsmith.evaluation.dataset import Box, Dataset, Image
from metricsmith.evaluation.scores import ScoreTable, read_scores, spearman, write_scores
from metricsmith.sandbox.errors import RunError


def dataset_of(box_counts, tmp_path, image_id=lambda n: n, box_id=lambda n: n):
    images, boxes = [], 0
    for number, count in enumerate(box_counts):
        own = tuple(Box(box_id(boxes + k), k % 2, (0.0, 0.0, 5.0, 5.0)) for k in range(count))
        boxes += count
        name = f"{number}.png"
        images.append(Image(image_id(number), tmp_path / name, name, 10, 10, own))
    return Dataset("toy", tmp_path, tuple(images), ("cat", "dog"))


def image_table(values, suspicious="low", metric="M", tmp_path=None):
    return ScoreTable.of(
        metric, "image", suspicious, np.array(values), dataset_of([0] * len(values), tmp_path)
    )


@pytest.mark.parametrize(
    ("suspicious", "expected"),
    [
        ("low", [1, 0.75, 0.375, 0.375, 0]),
        ("high", [0, 0.25, 0.625, 0.625, 1]),
        ("both", [1, 0.5, 0.25, 0.25, 1]),
        ("none", [0, 0, 0, 0, 0]),
    ],
)
def test_suspicion_is_the_rank_from_the_suspicious_end(suspicious, expected, tmp_path):
    table = image_table([-5.0, 1.0, 2.0, 2.0, 900.0], suspicious, tmp_path=tmp_path)
    assert table.suspicion().tolist() == expected


def test_single_row_is_not_suspicious(tmp_path):
    assert image_table([3.0], tmp_path=tmp_path).suspicion().tolist() == [0]


def test_image_is_as_suspicious_as_its_worst_box(tmp_path):
    table = ScoreTable.of("M", "object", "high", np.array([1.0, 5.0, 2.0]), dataset_of([2, 0, 1], tmp_path))
    assert table.image_suspicion() == {0: 1.0, 1: 0.0, 2: 0.5}
    assert table.image_values() == {0: 3.0, 2: 2.0}


def test_scores_of_another_number_are_refused(tmp_path):
    with pytest.raises(ValueError, match="3 rows"):
        ScoreTable.of("M", "object", "low", np.zeros(2), dataset_of([2, 0, 1], tmp_path))


def test_table_cannot_be_written_to(tmp_path):
    with pytest.raises(ValueError, match="read-only"):
        image_table([1.0, 2.0], tmp_path=tmp_path).values[0] = 3


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_spearman_equals_scipy(tmp_path, pairs):
    a, b = (image_table(np.array(side, float), tmp_path=tmp_path) for side in zip(*pairs, strict=True))
    if len(set(a.values)) > 1 and len(set(b.values)) > 1:
        assert spearman(a, b) == pytest.approx(spearmanr(a.values, b.values).statistic)
    else:
        assert spearman(a, b) == 0


def test_spearman_looks_at_common_images_only(tmp_path):
    dataset = dataset_of([0] * 6, tmp_path)
    a = ScoreTable.of("A", "image", "low", np.array([1.0, 2, 3, 4, 5, 6]), dataset)
    few = dataset.subset([0, 2, 4, 5])
    assert spearman(a, ScoreTable.of("B", "image", "low", np.array([9.0, 8, 7, 6]), few)) == pytest.approx(-1)
    assert spearman(a, ScoreTable.of("B", "image", "low", np.array([9.0, 8]), dataset.subset([0, 1]))) == 0


def test_spearman_between_levels_takes_the_mean_of_the_boxes(tmp_path):
    dataset = dataset_of([2, 1, 0, 1], tmp_path)
    boxes = ScoreTable.of("A", "object", "low", np.array([0.0, 8.0, 3.0, 2.0]), dataset)
    images = ScoreTable.of("B", "image", "low", np.array([9.0, 8.0, -100.0, 7.0]), dataset)
    assert spearman(boxes, images) == pytest.approx(1)


def test_summary_on_hand_made_scores(tmp_path):
    summary = image_table([*range(100), 1000], tmp_path=tmp_path).summary()
    assert (summary.rows, summary.distinct) == (101, 101)
    assert summary.quantiles == {0: 0, 1: 1, 5: 5, 25: 25, 50: 50, 75: 75, 95: 95, 99: 99, 100: 1000}
    assert summary.histogram == (100, 0, 0, 0, 0, 0, 0, 0, 0, 1)


def test_summary_without_any_box(tmp_path):
    table = ScoreTable.of("M", "object", "low", np.zeros(0), dataset_of([0, 0], tmp_path))
    assert table.summary().rows == 0
    assert table.image_suspicion() == {0: 0, 1: 0}


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(allow_nan=False, allow_infinity=False)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_summary_counts_every_finite_score(tmp_path, values):
    summary = image_table(values, tmp_path=tmp_path).summary()
    assert sum(summary.histogram) == len(values)
    assert (summary.quantiles[0], summary.quantiles[100]) == (values.min(), values.max())


IDS = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "str": st.text(st.characters(exclude_categories=["Cs"])),
    "mixed": st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
}


@pytest.mark.parametrize("kind", IDS)
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_scores_come_back_as_they_were_written(tmp_path, kind, data):
    counts = data.draw(st.lists(st.integers(0, 3), max_size=8))
    image_ids = data.draw(st.lists(IDS[kind], min_size=len(counts), max_size=len(counts), unique=True))
    boxes = sum(counts)
    box_ids = data.draw(st.lists(IDS[kind], min_size=boxes, max_size=boxes, unique=True))
    dataset = dataset_of(counts, tmp_path, image_ids.__getitem__, box_ids.__getitem__)
    finite = st.floats(allow_nan=False, allow_infinity=False)
    tables = [
        ScoreTable.of(
            "Boxes", "object", "both", data.draw(hnp.arrays(float, boxes, elements=finite)), dataset
        ),
        ScoreTable.of(
            "Images", "image", "none", data.draw(hnp.arrays(float, len(counts), elements=finite)), dataset
        ),
    ]
    write_scores(tmp_path / "scores.parquet", dataset, tables)
    for before, after in zip(tables, read_scores(tmp_path / "scores.parquet").values(), strict=True):
        assert np.array_equal(before.values, after.values)
        assert (before.metric, before.level, before.suspicious) == (
            after.metric,
            after.level,
            after.suspicious,
        )
        assert (before.image_ids, before.box_ids) == (after.image_ids, after.box_ids)
        assert before.scored_images == after.scored_images
        assert [type(i) for i in before.image_ids] == [type(i) for i in after.image_ids]


def test_file_reads_as_a_plain_table(tmp_path):
    dataset = dataset_of([1, 0], tmp_path)
    tables = [
        ScoreTable.of("Tight", "object", "low", np.array([0.5]), dataset),
        ScoreTable.of("Sharp", "image", "low", np.array([7.0, 8.0]), dataset),
    ]
    write_scores(tmp_path / "scores.parquet", dataset, tables)
    assert pq.read_table(tmp_path / "scores.parquet").to_pydict() == {
        "image_id": [0, 0, 1],
        "file_name": ["0.png", "0.png", "1.png"],
        "box_id": [None, 0, None],
        "label": [None, "cat", None],
        "Tight": [None, 0.5, None],
        "Sharp": [7.0, None, 8.0],
    }


def test_scores_of_another_data_set_are_not_written(tmp_path):
    table = ScoreTable.of("M", "object", "low", np.zeros(3), dataset_of([2, 1], tmp_path))
    with pytest.raises(ValueError, match="not those of toy"):
        write_scores(tmp_path / "scores.parquet", dataset_of([1, 2], tmp_path), [table])
    assert not (tmp_path / "scores.parquet").exists()


def test_two_metrics_of_one_name_are_not_written(tmp_path):
    dataset = dataset_of([1], tmp_path)
    table = ScoreTable.of("M", "object", "low", np.zeros(1), dataset)
    with pytest.raises(ValueError, match="named M"):
        write_scores(tmp_path / "scores.parquet", dataset, [table, table])


@pytest.mark.parametrize("content", [None, b"", b"PAR1 but not really"])
def test_damaged_file_is_named_with_a_next_step(tmp_path, content):
    path = tmp_path / "scores.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"scores\.parquet: .* resume"):
        read_scores(path)


def test_truncated_file_is_named(tmp_path):
    dataset = dataset_of([1], tmp_path)
    write_scores(tmp_path / "s.parquet", dataset, [ScoreTable.of("M", "object", "low", np.zeros(1), dataset)])
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "s.parquet").read_bytes()[:-20])
    with pytest.raises(RunError, match="cannot be read"):
        read_scores(tmp_path / "cut.parquet")
