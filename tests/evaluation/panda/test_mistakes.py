from collections import Counter

import numpy as np
import pytest

from metricsmith.evaluation.corruption import XYWH, Harm
from metricsmith.evaluation.panda.mistakes import Mask, harm, mask_box, to_indices

SHAPE = (90, 160)


def ellipse(x: float, y: float, rx: float, ry: float) -> Mask:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return ((columns - x) / rx) ** 2 + ((rows - y) / ry) ** 2 <= 1


def iou(a: XYWH, b: XYWH) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(w, 0) * max(h, 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


PANDA = ellipse(60, 45, 20, 12)
BROWN_BEAR = ellipse(130, 45, 20, 12)


def many(truth: dict[int, Mask], others: list[Mask], count: int) -> list[tuple[dict[int, Mask], list[Harm]]]:
    rng = np.random.default_rng(0)
    return [harm(f"v/{k:05d}", truth, others, rng) for k in range(count)]


def test_box_of_a_mask_counts_whole_pixels() -> None:
    mask = np.zeros(SHAPE, np.bool_)
    assert mask_box(mask) is None
    mask[3:5, 7] = True
    assert mask_box(mask) == (7, 3, 1, 2)


def test_later_objects_lie_on_top() -> None:
    both = to_indices({1: PANDA, 2: PANDA}, SHAPE)
    assert set(np.unique(both)) == {0, 2}


def test_mistakes_come_at_their_rates() -> None:
    counts = Counter(h.kind for _, harms in many({1: PANDA}, [], 3000) for h in harms)
    total = counts.total()
    assert total / 3000 == pytest.approx(0.41, abs=0.03)
    for kind, share in (("drop", 0.3), ("enlarge", 0.4), ("shift", 0.15), ("misplace", 0.15)):
        assert counts[kind] / total == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("others", [[], [BROWN_BEAR]])
def test_each_kind_harms_in_its_way_and_the_ledger_tells_the_masks(others: list[Mask]) -> None:
    for masks, harms in many({1: PANDA}, others, 300):
        if not harms:
            assert (masks[1] == PANDA).all()
            continue
        (found,) = harms
        assert found.before == mask_box(PANDA)
        assert found.box_id == f"{found.image_id}/1"
        assert found.after == (mask_box(masks[1]) if masks else None)
        if found.kind == "drop":
            assert not masks
            continue
        assert found.before
        assert found.after
        overlap = iou(found.before, found.after)
        if found.kind == "misplace":
            assert overlap == 0
            assert not others or (masks[1] == BROWN_BEAR).all()
        else:
            assert 0.15 < overlap < 0.7
        if found.kind == "enlarge":
            assert masks[1][PANDA].all()


def test_good_label_stays_on_top_of_a_mistake() -> None:
    beside = ellipse(85, 45, 10, 12)
    for masks, harms in many({1: PANDA & ~beside, 2: beside}, [], 200):
        if 2 not in {int(str(h.box_id).rsplit("/", 1)[1]) for h in harms}:
            assert (masks[2] == beside).all()


def test_panda_that_fills_the_frame_is_shifted_instead_of_enlarged() -> None:
    whole = np.ones(SHAPE, np.bool_)
    kinds = {h.kind for _, harms in many({1: whole}, [], 200) for h in harms}
    assert kinds == {"drop", "shift"}


def test_covered_mistake_is_a_drop() -> None:
    harms = [h for _, found in many({1: PANDA, 2: PANDA}, [], 200) for h in found]
    assert all((h.kind == "drop") == (h.after is None) == (h.label_after is None) for h in harms)


def test_frame_without_a_panda_has_no_mistakes() -> None:
    assert harm("v/00000", {}, [BROWN_BEAR], np.random.default_rng(0)) == ({}, [])
