import numpy as np
from metricsmith.sandbox import Metric, Sample


def _iou_one_to_many(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of one xyxy box with each of (K, 4) boxes; 0 where the union is empty."""
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    inter = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    area = max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)
    areas = np.maximum(others[:, 2] - others[:, 0], 0.0) * np.maximum(
        others[:, 3] - others[:, 1], 0.0
    )
    union = area + areas - inter
    iou = np.where(union > 1e-9, inter / np.maximum(union, 1e-9), 0.0)
    return np.clip(iou, 0.0, 1.0)


class UnexplainedConfidence(Metric):
    """Low: labels explain all confident detections (or there are none); high: a confident detection has no label or a badly placed one.

    Predictions with confidence >= 0.1 go through greedy NMS per class at IoU 0.5.
    Each one kept gives confidence * (1 - highest IoU with an annotated box of its
    class), that IoU being 0 without such a box. The score is the maximum, or 0
    without predictions.
    """

    level = "image"
    suspicious = "high"

    min_confidence = 0.1
    nms_iou = 0.5

    def measure(self, sample: Sample) -> float:
        scores = np.asarray(sample.predictions.scores, dtype=np.float32).reshape(-1)
        if scores.size == 0:
            return 0.0
        scores = np.nan_to_num(scores, nan=0.0, posinf=1.0, neginf=0.0)
        confident = np.flatnonzero(scores >= np.float32(self.min_confidence))
        if confident.size == 0:
            return 0.0

        # Stable sort by falling score, so that ties keep their given order.
        order = confident[np.argsort(-scores[confident], kind="stable")]
        scores = np.clip(scores[order].astype(np.float64), 0.0, 1.0)
        boxes = np.asarray(sample.predictions.boxes, dtype=np.float64).reshape(-1, 4)
        boxes = np.nan_to_num(boxes[order], nan=0.0, posinf=1e6, neginf=-1e6)
        classes = np.asarray(sample.predictions.labels).reshape(-1)[order]

        truth = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4)
        truth = np.nan_to_num(truth, nan=0.0, posinf=1e6, neginf=-1e6)
        truth_classes = np.asarray(sample.labels).reshape(-1)

        best = 0.0
        remaining = np.arange(scores.size)
        while remaining.size > 0:
            current = remaining[0]
            # A value never exceeds its confidence and confidences only fall
            # from here, so no later prediction can raise the maximum.
            if scores[current] <= best:
                break

            same_class = truth[truth_classes == classes[current]]
            if same_class.shape[0] > 0:
                explained = float(_iou_one_to_many(boxes[current], same_class).max())
            else:
                explained = 0.0
            best = max(best, float(scores[current]) * (1.0 - explained))

            # Greedy NMS: drop the weaker duplicates of the same class.
            rest = remaining[1:]
            overlap = _iou_one_to_many(boxes[current], boxes[rest])
            duplicate = (classes[rest] == classes[current]) & (overlap > self.nms_iou)
            remaining = rest[~duplicate]

        return float(best)
