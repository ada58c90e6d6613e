import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.evaluation.draws import control_draw, oracle_draw, permutation, spread
from metricsmith.sandbox.errors import DataError


def test_permutation_is_the_same_for_ever():
    assert permutation(list("abcdefgh"), 0) == ["d", "c", "b", "g", "a", "h", "e", "f"]
    assert permutation(range(8), 1) == [2, 4, 7, 5, 0, 6, 3, 1]


def test_permutation_does_not_depend_on_the_hash_seed():
    code = "from metricsmith.evaluation.draws import permutation; print(permutation(['a', 'b', 'c', 'd'], 7))"
    for hash_seed in ("1", "2"):
        answer = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout.strip() == str(permutation(["a", "b", "c", "d"], 7))


def test_every_position_is_equally_likely():
    firsts = [permutation(range(5), seed)[0] for seed in range(2000)]
    assert all(340 < firsts.count(item) < 460 for item in range(5))


@given(st.lists(st.integers() | st.text(), unique=True, min_size=1), st.data())
def test_larger_draw_contains_the_smaller_in_the_order_given(ids, data):
    budget = data.draw(st.integers(1, len(ids)))
    seed = data.draw(st.integers(0, 2**32))
    drawn = control_draw(ids, budget, seed)
    assert len(set(drawn)) == budget
    assert drawn == sorted(drawn, key=ids.index)
    assert set(drawn) <= set(control_draw(ids, len(ids), seed))
    assert set(drawn) == set(permutation(ids, seed)[:budget])


@pytest.mark.parametrize("budget", [0, -1, 4])
def test_impossible_budget_is_named(budget):
    with pytest.raises(DataError, match=rf"{budget} images cannot be drawn from 3; .*1 to 3"):
        control_draw([1, 2, 3], budget, 0)


def test_oracle_shares_every_unharmed_image_with_the_control():
    ids, harmed = list(range(40)), set(range(0, 40, 3))
    drawn = oracle_draw(ids, 20, 5, harmed)
    assert drawn is not None
    assert len(drawn) == 20
    assert drawn == sorted(drawn)
    assert not set(drawn) & harmed
    assert set(control_draw(ids, 20, 5)) - harmed <= set(drawn)


def test_there_is_no_oracle_where_too_much_is_harmed():
    assert oracle_draw([1, 2, 3], 2, 0, {1, 2}) is None


def test_spread_gives_each_group_its_turn():
    groups = {1: "a", 2: "a", 3: "a", 4: "b", 5: "b", 6: "c"}
    assert spread([1, 2, 3, 4, 5, 6], groups) == [1, 4, 6, 2, 5, 3]


def test_spread_takes_a_still_for_a_group_of_its_own():
    assert spread([1, 2, 3, 4], {1: "a", 2: "a", 3: None}) == [1, 3, 4, 2]
