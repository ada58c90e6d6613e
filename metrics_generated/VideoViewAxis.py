from functools import reduce

import cv2
import numpy as np
from metricsmith.sandbox import Metric, Sample

PRIME = 2**52 - 47  # the hash stays exact in a float64


def group_key(name: str) -> int:
    """Same number in every process, unlike hash()."""
    return reduce(lambda h, c: (h + ord(c) + 1) * 6364136223846793005 % PRIME, name, 0)


class VideoViewAxis(Metric):
    """Low and high: opposite ends of the views of the frame's video (low is mostly early, high mostly late).

    The score is the projection of the frame's normalised thumbnail on the first principal
    component of its video; neighbours on this axis are near-duplicates. Videos of fewer than
    3 frames or without variance get the frame number, stills get 0.
    """

    level = "image"
    suspicious = "none"

    def measure(self, sample: Sample) -> np.ndarray:
        grey = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY)
        # Pre-shrink, so that the blur has the same relative width for every image size.
        grey = cv2.resize(grey, (128, 72), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        grey = cv2.GaussianBlur(grey, (0, 0), 4.0)
        thumb = cv2.resize(grey, (32, 18), interpolation=cv2.INTER_AREA).astype(np.float64)
        thumb = (thumb - thumb.mean()) / max(thumb.std(), 0.02)
        key = -1 if sample.group is None else group_key(sample.group)
        return np.concatenate([[float(key), float(sample.frame or 0)], thumb.ravel()])

    def rank(self, measurements: np.ndarray) -> np.ndarray:
        rows = np.asarray(measurements, dtype=np.float64)
        if len(rows) == 0:
            return np.zeros(0)
        scores = rows[:, 1].copy()
        order = np.lexsort(rows.T[::-1])  # by video, frame, thumbnail: independent of input order
        for key in np.unique(rows[:, 0]):
            video = order[rows[order, 0] == key]
            if key < 0 or len(video) < 3:
                continue
            views = rows[video, 2:] - rows[video, 2:].mean(axis=0)
            _, strength, axes = np.linalg.svd(views, full_matrices=False)
            if strength[0] < 1e-6:
                continue
            projection = views @ axes[0]
            frames = rows[video, 1]
            if projection @ (frames - frames.mean()) < 0:
                projection = -projection
            scores[video] = projection
        return scores
