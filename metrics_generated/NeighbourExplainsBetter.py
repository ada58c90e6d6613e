import numpy as np
from scipy.optimize import linear_sum_assignment
from metricsmith.sandbox import Metric, Sample


MIN_CONFIDENCE = 0.1
NMS_IOU = 0.5
MIN_REFERENCE = 0.25


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of each box of a (N, 4) with each box of b (M, 4), shape (N, M)."""
    width = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
    height = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    inter = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    area_a = np.maximum(a[:, 2] - a[:, 0], 0.0) * np.maximum(a[:, 3] - a[:, 1], 0.0)
    area_b = np.maximum(b[:, 2] - b[:, 0], 0.0) * np.maximum(b[:, 3] - b[:, 1], 0.0)
    union = area_a[:, None] + area_b[None, :] - inter
    return np.where(union > 1e-9, inter / np.maximum(union, 1e-9), 0.0)


def _best_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Highest IoU of each box with any of the others; 0 where there are none."""
    if len(boxes) == 0 or len(others) == 0:
        return np.zeros(len(boxes), dtype=np.float64)
    return _iou(boxes, others).max(axis=1)


def _of_class(boxes, labels, label) -> np.ndarray:
    """The boxes of one class as float64 (K, 4); empty where there is no frame."""
    if boxes is None or labels is None:
        return np.zeros((0, 4), dtype=np.float64)
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    labels = np.asarray(labels).reshape(-1)
    return boxes[labels == label]


def _nms(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Indices kept by greedy non-maximum suppression, by falling score."""
    order = np.argsort(-scores, kind="stable")
    keep = []
    while len(order) > 0:
        first = order[0]
        keep.append(int(first))
        rest = order[1:]
        if len(rest) == 0:
            break
        overlap = _iou(boxes[first:first + 1], boxes[rest])[0]
        order = rest[overlap <= NMS_IOU]
    return np.array(keep, dtype=np.int64)


def _midway(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Coordinate means of the optimally matched boxes, if the counts are equal."""
    if len(before) == 0 or len(before) != len(after):
        return np.zeros((0, 4), dtype=np.float64)
    if len(before) == 1:
        return 0.5 * (before + after)
    # IoU decides; the distance of the centres only settles ties, as between
    # pairs that do not overlap at all.
    centre_before = 0.5 * (before[:, :2] + before[:, 2:])
    centre_after = 0.5 * (after[:, :2] + after[:, 2:])
    difference = centre_before[:, None, :] - centre_after[None, :, :]
    distance = np.sqrt((difference ** 2).sum(axis=2))
    distance = distance / max(float(distance.max()), 1e-9)
    cost = 1.0 - _iou(before, after) + 1e-3 * distance
    rows, columns = linear_sum_assignment(cost)
    return 0.5 * (before[rows] + after[columns])


class NeighbourExplainsBetter(Metric):
    """Low: no neighbouring label fits a detection better than this image's own; high: one does, so this label is likely wrong.

    For each confident detection, the IoU with the image's own labels is compared
    with the IoU with the labels of the previous frame, the next frame and the
    mean of the two (at least 0.25). The score is the largest
    confidence * max(0, reference - own); 0 without predictions.
    """

    level = "image"
    suspicious = "high"

    def measure(self, sample: Sample) -> float:
        boxes = np.asarray(sample.predictions.boxes, dtype=np.float64).reshape(-1, 4)
        labels = np.asarray(sample.predictions.labels).reshape(-1)
        scores = np.asarray(sample.predictions.scores, dtype=np.float64).reshape(-1)

        # The float32 value of 0.1 counts as 0.1.
        usable = (scores >= MIN_CONFIDENCE - 1e-6) & np.isfinite(scores)
        usable &= np.isfinite(boxes).all(axis=1)
        boxes, labels, scores = boxes[usable], labels[usable], scores[usable]
        if len(boxes) == 0:
            return 0.0

        worst = 0.0
        for label in np.unique(labels):
            of_label = labels == label
            found, confidence = boxes[of_label], scores[of_label]
            keep = _nms(found, confidence)
            found, confidence = found[keep], confidence[keep]

            annotated = _of_class(sample.boxes, sample.labels, label)
            before = _of_class(sample.previous_boxes, sample.previous_labels, label)
            after = _of_class(sample.next_boxes, sample.next_labels, label)

            own = _best_iou(found, annotated)
            reference = np.full(len(found), MIN_REFERENCE, dtype=np.float64)
            for candidates in (before, after, _midway(before, after)):
                reference = np.maximum(reference, _best_iou(found, candidates))

            gain = confidence * np.maximum(reference - own, 0.0)
            worst = max(worst, float(gain.max()))

        return float(worst) if np.isfinite(worst) else 0.0
