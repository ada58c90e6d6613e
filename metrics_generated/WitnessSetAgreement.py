import numpy as np
from scipy.optimize import linear_sum_assignment
from metricsmith.sandbox import Metric, Sample


def _clean(boxes) -> np.ndarray:
    """Boxes as a finite float64 array of shape (N, 4)."""
    array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    return np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of every box of a with every box of b; 0 where the union is empty."""
    left_top = np.maximum(a[:, None, :2], b[None, :, :2])
    right_bottom = np.minimum(a[:, None, 2:], b[None, :, 2:])
    side = np.maximum(right_bottom - left_top, 0.0)
    inter = side[..., 0] * side[..., 1]
    area_a = np.prod(np.maximum(a[:, 2:] - a[:, :2], 0.0), axis=1)
    area_b = np.prod(np.maximum(b[:, 2:] - b[:, :2], 0.0), axis=1)
    union = area_a[:, None] + area_b[None, :] - inter
    result = np.zeros_like(inter)
    np.divide(inter, union, out=result, where=union > 1e-9)
    return np.clip(result, 0.0, 1.0)


def _agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Greatest total IoU of a one-to-one matching over the larger count."""
    if len(a) == 0 and len(b) == 0:
        return 1.0
    if len(a) == 0 or len(b) == 0:
        return 0.0
    iou = _iou(a, b)
    rows, cols = linear_sum_assignment(-iou)
    total = float(iou[rows, cols].sum())
    return min(max(total / max(len(a), len(b)), 0.0), 1.0)


def _nms(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Greedy non-maximum suppression, whatever the class."""
    order = np.argsort(-scores, kind="stable")
    remaining = boxes[order]
    kept = []
    while len(remaining):
        best = remaining[:1]
        kept.append(best[0])
        remaining = remaining[1:]
        if len(remaining):
            remaining = remaining[_iou(best, remaining)[0] <= threshold]
    return np.asarray(kept, dtype=np.float64).reshape(-1, 4)


class WitnessSetAgreement(Metric):
    """Low: neighbouring frames or predictions support the annotation; high: agreeing witnesses contradict it.

    Witnesses are the box sets of the previous frame, of the next frame and of
    the confident predictions after NMS. Two sets agree by the greatest total IoU
    of a one-to-one matching over the larger count, so dropped, spawned, shifted
    and enlarged boxes all lower the agreement. The score is one minus the mean
    of the two best agreements of the annotation with a witness, weighted by how
    well the two best-agreeing witnesses support each other. No witness: 0.
    """

    level = "image"
    suspicious = "high"

    min_confidence = 0.3
    nms_iou = 0.5

    def measure(self, sample: Sample) -> float:
        witnesses = []
        if sample.previous_boxes is not None:
            witnesses.append(_clean(sample.previous_boxes))
        if sample.next_boxes is not None:
            witnesses.append(_clean(sample.next_boxes))

        scores = np.asarray(sample.predictions.scores, dtype=np.float64).reshape(-1)
        predicted = _clean(sample.predictions.boxes)
        # The scores are float32: 0.3 itself must pass.
        confident = scores >= self.min_confidence - 1e-6
        if confident.any():
            predicted = _nms(predicted[confident], scores[confident], self.nms_iou)
            if len(predicted):
                witnesses.append(predicted)

        if not witnesses:
            return 0.0

        annotation = _clean(sample.boxes)
        support = sorted((_agreement(annotation, w) for w in witnesses), reverse=True)
        best = support[:2]
        b = sum(best) / len(best)

        a = 0.5
        if len(witnesses) >= 2:
            a = max(
                _agreement(witnesses[i], witnesses[j])
                for i in range(len(witnesses))
                for j in range(i + 1, len(witnesses))
            )

        return float((1.0 - b) * (0.5 + 0.5 * a))
