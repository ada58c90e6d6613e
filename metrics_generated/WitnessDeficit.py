import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from metricsmith.sandbox import Metric, Sample


def as_boxes(boxes) -> np.ndarray:
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of each box of a with each box of b, shape (len(a), len(b)); 0 for empty boxes."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(axis=2)
    area_a = np.clip(a[:, 2:] - a[:, :2], 0, None).prod(axis=1)
    area_b = np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=1)
    union = area_a[:, None] + area_b[None, :] - inter
    return inter / np.maximum(union, 1e-9)


class WitnessDeficit(Metric):
    """Low: neighbouring frames and predictions support the boxes; high: a wrong, extra or missing box.

    Only predictions with a confidence of at least 0.3 count, as witnesses and in the groups.
    Groups are connected components of IoU > 0.3. Without any witness, a box has deficit 1.
    """

    level = "image"
    suspicious = "high"

    def measure(self, sample: Sample) -> float:
        boxes = as_boxes(sample.boxes)
        neighbours = (sample.previous_boxes, sample.next_boxes)
        frames = [as_boxes(n) for n in neighbours if n is not None]
        scores = np.asarray(sample.predictions.scores, dtype=np.float64)
        sure = scores >= 0.3
        sources = frames + [as_boxes(sample.predictions.boxes)[sure]]
        voters = np.concatenate(sources)

        # Box deficits: how far each box is from its best witness.
        witnesses = voters
        if len(frames) == 2:
            i, j = np.nonzero(iou(frames[0], frames[1]) > 0.2)
            witnesses = np.concatenate([voters, (frames[0][i] + frames[1][j]) / 2])
        total = float((1.0 - iou(boxes, witnesses).max(axis=1, initial=0.0)).sum())
        if len(voters) == 0:
            return total

        # One column of votes per existing neighbour (0 or 1), the last for the confidence.
        source = np.repeat(np.arange(len(sources)), [len(s) for s in sources])
        strength = np.concatenate([np.ones(len(f)) for f in frames] + [scores[sure]])
        votes = np.zeros((len(voters), len(sources)))
        votes[np.arange(len(voters)), source] = strength

        # Missing terms: groups of voters that no annotated box explains.
        unexplained = iou(voters, boxes).max(axis=1, initial=0.0) < 0.3
        linked = csr_matrix((iou(voters, voters) > 0.3).astype(np.float64))
        count, group = connected_components(linked, directed=False)
        for g in range(count):
            members = group == g
            if unexplained[members].all():
                total += float(votes[members].max(axis=0).mean())
        return total
