import numpy as np
from scipy.stats import rankdata

from metricsmith.sandbox import Metric, Sample


MATCH_IOU = 0.2  # a previous and a next box above this IoU give a midpoint box
MISSED_IOU = 0.1  # a midpoint box below this IoU with every annotated box is a missing box
MAX_MIDPOINTS = 1000  # bounds the time on very crowded frames
NEUTRAL = 0.5
# Residues below 2**24 are exact even in float32; together they identify a video.
MODULI = (16777213, 8388593, 4194301)


def _as_boxes(boxes) -> np.ndarray:
    """Boxes as float64 (N, 4); a missing frame gives no boxes."""
    if boxes is None:
        return np.zeros((0, 4), dtype=np.float64)
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of every box of a with every box of b, shape (len(a), len(b))."""
    if len(a) == 0 or len(b) == 0:
        return np.zeros((len(a), len(b)), dtype=np.float64)
    width = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
    height = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    inter = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    area_a = np.maximum(a[:, 2] - a[:, 0], 0.0) * np.maximum(a[:, 3] - a[:, 1], 0.0)
    area_b = np.maximum(b[:, 2] - b[:, 0], 0.0) * np.maximum(b[:, 3] - b[:, 1], 0.0)
    union = area_a[:, None] + area_b[None, :] - inter
    return np.clip(inter / np.maximum(union, 1e-9), 0.0, 1.0)


def _midpoints(previous: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Coordinate means of the previous and next boxes that overlap each other."""
    overlap = _iou(previous, following)
    i, j = np.nonzero(overlap > MATCH_IOU)
    if len(i) > MAX_MIDPOINTS:
        best = np.argsort(-overlap[i, j], kind="stable")[:MAX_MIDPOINTS]
        i, j = i[best], j[best]
    return 0.5 * (previous[i] + following[j])


def _video_code(group) -> list:
    """Numbers that stand for the video, the same in every process; -1 for a still."""
    if group is None:
        return [-1.0] * len(MODULI)
    number = int.from_bytes(str(group).encode("utf-8", "backslashreplace"), "big")
    return [float(number % modulus) for modulus in MODULI]


class WithinVideoBestNeighbourAgreement(Metric):
    """Low: the frame's boxes are contradicted by its neighbouring frames; high: they are confirmed.

    Each box takes its highest IoU with a previous box, a next box or a midpoint
    box; the image takes the minimum over its boxes, or 0 where a midpoint box
    has no annotated box. The score is the percentile of that value within the
    video. Stills, and frames with boxes but no neighbouring frame, offer no
    evidence: they score a neutral 0.5 and stay out of the percentiles.
    """

    level = "image"
    suspicious = "low"

    def measure(self, sample: Sample) -> np.ndarray:
        boxes = _as_boxes(sample.boxes)
        previous = _as_boxes(sample.previous_boxes)
        following = _as_boxes(sample.next_boxes)
        has_neighbour = sample.previous_boxes is not None or sample.next_boxes is not None

        known = sample.group is not None
        if len(boxes) == 0:
            value = 0.0 if len(previous) or len(following) else 1.0
        elif not has_neighbour:
            known = False
            value = NEUTRAL
        else:
            middle = _midpoints(previous, following)
            with_middle = _iou(boxes, middle)
            if len(middle) and with_middle.max(axis=0).min() < MISSED_IOU:
                value = 0.0
            else:
                overlaps = np.concatenate(
                    [_iou(boxes, previous), _iou(boxes, following), with_middle], axis=1
                )
                # Neighbours exist but hold no boxes: nothing confirms these boxes.
                value = float(overlaps.max(axis=1).min()) if overlaps.shape[1] else 0.0

        row = [float(value), 1.0 if known else 0.0] + _video_code(sample.group)
        return np.array(row, dtype=np.float64)

    def rank(self, measurements: np.ndarray) -> np.ndarray:
        rows = np.asarray(measurements, dtype=np.float64)
        if rows.size == 0:
            return np.zeros(0, dtype=np.float64)
        rows = rows.reshape(-1, 2 + len(MODULI))

        scores = np.full(len(rows), NEUTRAL, dtype=np.float64)
        known = np.flatnonzero(rows[:, 1] > 0.5)
        if len(known) == 0:
            return scores

        _, video = np.unique(rows[known, 2:], axis=0, return_inverse=True)
        video = np.asarray(video).reshape(-1)
        order = np.argsort(video, kind="stable")
        starts = np.flatnonzero(np.diff(video[order])) + 1
        for part in np.split(order, starts):
            members = known[part]
            # Mid-rank percentile: ties share a score, a lone frame gets 0.5.
            ranks = rankdata(rows[members, 0], method="average")
            scores[members] = (ranks - 0.5) / len(members)
        return scores
