import numpy as np
from metricsmith.sandbox import Metric, Sample


class SizeConsensus(Metric):
    """Low: the witnesses confirm the box's size (or there are none); high: agreeing witnesses say it is too large or too small.

    The witnesses of a box are the nearest box by centre in each neighbouring frame
    (distance below 1.5 * sqrt(area)) and the prediction with the greatest
    confidence * IoU (confidence >= 0.1, IoU >= 0.2). For log width and log height:
    |own - median of witnesses| / (0.15 + median absolute deviation of witnesses),
    with a denominator of 0.45 for one witness; the score is the greater of both.
    """

    level = "object"
    suspicious = "high"

    reach = 1.5
    min_confidence = 0.1
    min_iou = 0.2
    tolerance = 0.15
    lone_denominator = 0.45

    @staticmethod
    def _as_boxes(boxes) -> np.ndarray:
        return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)

    @staticmethod
    def _sizes(boxes: np.ndarray) -> np.ndarray:
        # Sides below one pixel count as one pixel, so that logarithms stay finite.
        return np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)

    @staticmethod
    def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        low = np.maximum(a[:, None, :2], b[None, :, :2])
        high = np.minimum(a[:, None, 2:], b[None, :, 2:])
        overlap = np.prod(np.maximum(high - low, 0.0), axis=2)
        area_a = np.prod(np.maximum(a[:, 2:] - a[:, :2], 0.0), axis=1)
        area_b = np.prod(np.maximum(b[:, 2:] - b[:, :2], 0.0), axis=1)
        union = area_a[:, None] + area_b[None, :] - overlap
        return overlap / np.maximum(union, 1e-9)

    def measure(self, sample: Sample) -> np.ndarray:
        boxes = self._as_boxes(sample.boxes)
        n = len(boxes)
        scores = np.zeros(n, dtype=np.float64)
        if n == 0:
            return scores

        sizes = self._sizes(boxes)
        own = np.log(sizes)
        centres = 0.5 * (boxes[:, :2] + boxes[:, 2:])
        limit = self.reach * np.sqrt(np.prod(sizes, axis=1))
        rows = np.arange(n)

        # Slots: previous frame, next frame, prediction.
        witnesses = np.zeros((n, 3, 2), dtype=np.float64)
        valid = np.zeros((n, 3), dtype=bool)

        for slot, neighbours in enumerate((sample.previous_boxes, sample.next_boxes)):
            if neighbours is None:
                continue
            neighbours = self._as_boxes(neighbours)
            if len(neighbours) == 0:
                continue
            other = 0.5 * (neighbours[:, :2] + neighbours[:, 2:])
            offset = centres[:, None, :] - other[None, :, :]
            distance = np.hypot(offset[..., 0], offset[..., 1])
            nearest = np.argmin(distance, axis=1)
            valid[:, slot] = distance[rows, nearest] < limit
            witnesses[:, slot] = np.log(self._sizes(neighbours))[nearest]

        predicted = self._as_boxes(sample.predictions.boxes)
        confidence = np.asarray(sample.predictions.scores, dtype=np.float64).reshape(-1)
        # The scores are float32: the margin keeps a confidence of exactly 0.1.
        keep = confidence >= self.min_confidence - 1e-6
        predicted, confidence = predicted[keep], confidence[keep]
        if len(predicted):
            iou = self._iou(boxes, predicted)
            support = np.where(iou >= self.min_iou, iou * confidence[None, :], -1.0)
            best = np.argmax(support, axis=1)
            valid[:, 2] = support[rows, best] > 0.0
            witnesses[:, 2] = np.log(self._sizes(predicted))[best]

        count = valid.sum(axis=1)
        for k in (1, 2, 3):
            chosen = np.flatnonzero(count == k)
            if len(chosen) == 0:
                continue
            values = witnesses[chosen][valid[chosen]].reshape(len(chosen), k, 2)
            median = np.median(values, axis=1)
            if k == 1:
                denominator = self.lone_denominator
            else:
                spread = np.median(np.abs(values - median[:, None, :]), axis=1)
                denominator = self.tolerance + spread
            scores[chosen] = np.max(np.abs(own[chosen] - median) / denominator, axis=1)

        return np.nan_to_num(scores, nan=0.0, posinf=0.0, neginf=0.0)
