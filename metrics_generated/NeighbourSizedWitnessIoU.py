import cv2
import numpy as np
from metricsmith.sandbox import Metric, Sample


class NeighbourSizedWitnessIoU(Metric):
    """Low: the box agrees with a witness box; high: it is probably shifted or too large.

    The witness has the size of the smaller box of the neighbouring frames and the centre
    of the silhouette that stands out from a smooth sky around the box.
    """

    level = "object"
    suspicious = "high"

    def measure(self, sample: Sample) -> np.ndarray:
        boxes = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4)
        scores = np.zeros(len(boxes))
        for i, box in enumerate(boxes):
            half = self._size(box, (sample.previous_boxes, sample.next_boxes)) / 2
            centre = self._centre(sample.image, box)
            witness = np.concatenate([centre - half, centre + half])
            scores[i] = 1.0 - self._iou(box, witness)
        return scores

    @staticmethod
    def _size(box, neighbours):
        """Width and height of the smaller neighbour; of the box itself if there is none."""
        own = box[2:] - box[:2]
        sizes = []
        for others in neighbours:
            if others is None or len(others) == 0:
                continue
            others = np.asarray(others, dtype=np.float64)
            size = others[:, 2:] - others[:, :2]
            offset = (others[:, :2] + others[:, 2:] - box[:2] - box[2:]) / 2
            distance = np.hypot(offset[:, 0], offset[:, 1])
            distance[size.prod(axis=1) < 0.2 * own.prod()] = np.inf
            nearest = int(np.argmin(distance))  # the same object, if there are several
            if np.isfinite(distance[nearest]):
                sizes.append(size[nearest])
        return min(sizes, key=np.prod) if sizes else own

    def _centre(self, image, box):
        """Centre of the silhouette in a crop of 3x the box; of the box if there is none."""
        centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        limit = np.array([image.shape[1], image.shape[0]])
        low = np.clip(np.floor(centre - 1.5 * size), 0, limit - 1).astype(int)
        high = np.clip(np.ceil(centre + 1.5 * size), low + 1, limit).astype(int)
        crop = np.array(image[low[1]:high[1], low[0]:high[0]])
        shrink = min(1.0, 200.0 / max(crop.shape[:2]))
        width = max(1, int(round(crop.shape[1] * shrink)))
        height = max(1, int(round(crop.shape[0] * shrink)))
        crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
        scale = np.array([width, height]) / (high - low)

        lab = cv2.cvtColor(crop.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        residual = cv2.GaussianBlur(self._sky_residual(lab), (0, 0), 1.0)
        r = np.linalg.norm(residual, axis=2)
        middle = np.median(r)
        noise = 1.4826 * np.median(np.abs(r - middle))
        # The floor of 0.5 Lab units keeps rounding errors of a flat image out of the mask.
        mask = (r > max(middle + 4 * noise, 0.12 * r.max(), 0.5)).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        start = stats[:, :2].astype(np.float64)
        end = start + stats[:, 2:4]
        valid = (start > 0).all(axis=1) & (end < [width, height]).all(axis=1)
        valid &= stats[:, 4] >= 0.01 * (size * scale).prod()  # no speckles
        valid[0] = False  # the background
        if not valid.any():
            return centre

        strength = np.bincount(parts.ravel(), weights=r.ravel(), minlength=count)
        best = int(np.argmax(np.where(valid, strength, -1.0)))
        gap = np.maximum(np.maximum(start - end[best], start[best] - end), 0)
        near = valid & (np.hypot(gap[:, 0], gap[:, 1]) <= 0.5 * stats[best, 2:4].max())
        middle_xy = (start[near].min(axis=0) + end[near].max(axis=0)) / 2
        return low + middle_xy / scale

    @staticmethod
    def _sky_residual(lab):
        """What is left of each channel after a robust quadratic fit of the sky."""
        height, width = lab.shape[:2]
        y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
        basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
        step = 1 + min(height, width) // 50  # the fit needs only some of the pixels
        a = basis[::step, ::step].reshape(-1, 6)
        target = lab[::step, ::step].reshape(-1, 3).astype(np.float64)
        weight = np.ones(len(a))
        for _ in range(8):
            weighted = (a * weight[:, None]).T
            fit = np.linalg.solve(weighted @ a + 1e-6 * np.eye(6), weighted @ target)
            error = np.linalg.norm(target - a @ fit, axis=1)
            spread = max(2 * np.median(error), 0.2)
            weight = 1 / (1 + (error / spread) ** 2) ** 2
        return (lab - basis @ fit).astype(np.float32)

    @staticmethod
    def _iou(a, b):
        sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
        inter = np.maximum(sides, 0).prod()
        union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inter
        return inter / union if union > 1e-9 else 0.0
