import numpy as np
from metricsmith.sandbox import Metric, Sample


class PredictionAnnotationMismatch(Metric):
    """Low: predictions and annotated boxes agree; high: the detector contradicts their place or number.

    Predictions with confidence >= 0.2 and annotated boxes are matched one to one by
    greedily descending IoU (at least 0.1), whatever their labels. The score is the mean
    cost over matched pairs and unmatched items:
    - matched pair: (1 - IoU) * confidence
    - unmatched prediction: confidence
    - unmatched annotation: the image's highest confidence, at least 0.5
    An image without predictions and annotations scores 0.
    """

    level = "image"
    suspicious = "high"

    MIN_CONFIDENCE = 0.2
    MIN_IOU = 0.1
    MIN_MISSED_COST = 0.5

    @staticmethod
    def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """IoU of every box of a with every box of b, shape (len(a), len(b))."""
        top_left = np.maximum(a[:, None, :2], b[None, :, :2])
        bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
        size = np.maximum(bottom_right - top_left, 0.0)
        inter = size[..., 0] * size[..., 1]
        area_a = np.prod(np.maximum(a[:, 2:] - a[:, :2], 0.0), axis=1)
        area_b = np.prod(np.maximum(b[:, 2:] - b[:, :2], 0.0), axis=1)
        union = area_a[:, None] + area_b[None, :] - inter
        return np.clip(inter / np.maximum(union, 1e-9), 0.0, 1.0)

    def measure(self, sample: Sample) -> float:
        boxes = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4)
        all_scores = np.asarray(sample.predictions.scores, dtype=np.float64).reshape(-1)
        all_pred = np.asarray(sample.predictions.boxes, dtype=np.float64).reshape(-1, 4)

        keep = all_scores >= self.MIN_CONFIDENCE
        scores = all_scores[keep]
        pred = all_pred[keep]

        n_pred = len(pred)
        n_box = len(boxes)
        if n_pred == 0 and n_box == 0:
            return 0.0

        highest = float(scores.max()) if n_pred else 0.0
        missed_cost = max(highest, self.MIN_MISSED_COST)

        pred_free = np.ones(n_pred, dtype=bool)
        n_pairs = 0
        total = 0.0

        if n_pred and n_box:
            iou = self._iou(pred, boxes)
            # Ties go to the more confident prediction, then to the earlier annotation,
            # because argmax returns the first maximum and predictions are sorted.
            for _ in range(min(n_pred, n_box)):
                p, b = divmod(int(np.argmax(iou)), n_box)
                best = float(iou[p, b])
                if not best >= self.MIN_IOU:
                    break
                total += (1.0 - best) * float(scores[p])
                n_pairs += 1
                pred_free[p] = False
                iou[p, :] = -1.0
                iou[:, b] = -1.0

        n_missed = n_box - n_pairs
        n_extra = n_pred - n_pairs
        total += float(scores[pred_free].sum()) + missed_cost * n_missed

        return float(total / (n_pairs + n_missed + n_extra))
