import numpy as np
from metricsmith.sandbox import Metric, Sample


def _as_boxes(boxes) -> np.ndarray:
    """Boxes as a float64 array of shape (K, 4); a missing frame gives (0, 4)."""
    if boxes is None:
        return np.zeros((0, 4), dtype=np.float64)
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of every box of a with every box of b, shape (len(a), len(b)), within 0..1."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    size = np.maximum(bottom_right - top_left, 0.0)
    intersection = size[..., 0] * size[..., 1]
    area_a = np.maximum(a[:, 2] - a[:, 0], 0.0) * np.maximum(a[:, 3] - a[:, 1], 0.0)
    area_b = np.maximum(b[:, 2] - b[:, 0], 0.0) * np.maximum(b[:, 3] - b[:, 1], 0.0)
    union = area_a[:, None] + area_b[None, :] - intersection
    return np.clip(intersection / np.maximum(union, 1e-9), 0.0, 1.0)


class NeighbourContradiction(Metric):
    """Low: the neighbouring frames confirm the boxes (or cannot judge them); high: they contradict them.

    Own-box doubt is 1 - the greatest IoU of a box with any box of the previous or next frame.
    Gap doubt is, for each previous-next pair that agrees (IoU A >= 0.4), 1 - the greatest IoU
    of an own box with either of the two; it is 1 if the frame is empty but a neighbour is not.
    The score is the greatest doubt times (0.5 + 0.5 * greatest A), A being 0 without such a pair.
    """

    level = "image"
    suspicious = "high"

    min_agreement = 0.4

    def measure(self, sample: Sample) -> float:
        if sample.previous_boxes is None and sample.next_boxes is None:
            return 0.0

        own = _as_boxes(sample.boxes)
        previous = _as_boxes(sample.previous_boxes)
        following = _as_boxes(sample.next_boxes)
        if len(own) + len(previous) + len(following) == 0:
            return 0.0

        # How well the two neighbours agree with each other.
        agreement = _iou(previous, following)
        agreeing = agreement >= self.min_agreement
        greatest_agreement = float(agreement[agreeing].max()) if agreeing.any() else 0.0

        if len(own) == 0:
            # Here at least one neighbour has a box.
            doubt = 1.0
        else:
            with_previous = _iou(own, previous)
            with_following = _iou(own, following)

            # Own boxes that no neighbour supports.
            support = np.maximum(
                with_previous.max(axis=1, initial=0.0),
                with_following.max(axis=1, initial=0.0),
            )
            doubt = float(1.0 - support.min())

            # Boxes the neighbours agree on and that this frame lacks.
            if agreeing.any():
                cover_previous = with_previous.max(axis=0, initial=0.0)
                cover_following = with_following.max(axis=0, initial=0.0)
                cover = np.maximum(cover_previous[:, None], cover_following[None, :])
                doubt = max(doubt, float(1.0 - cover[agreeing].min()))

        score = doubt * (0.5 + 0.5 * greatest_agreement)
        return float(score) if np.isfinite(score) else 0.0
