import math

import cv2
import numpy as np
from metricsmith.sandbox import Metric, Sample


class SkySilhouetteWorstSideGap(Metric):
    """Low: the box fits the silhouette against the sky tightly; high: it is shifted, loose or empty.

    The sky around each box is modelled by a robust quadratic surface per Lab channel. What stands
    out from it and touches the box is the silhouette; the score is the largest distance between
    an edge of the box and the same edge of the silhouette, over the box's side, capped at 1.
    """

    level = "object"
    suspicious = "high"

    ENLARGE = 2.2
    MAX_SIDE = 160
    MIN_MARGIN = 4.0
    KEEP_PERCENTILE = 80.0
    MIN_RESIDUAL = 2.0
    SIGMAS = 5.0
    CLOSE_FRACTION = 0.10
    MIN_AREA = 4
    FULL_SIZE_BOXES = 6

    def measure(self, sample: Sample) -> np.ndarray:
        boxes = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4)
        count = boxes.shape[0]
        scores = np.ones(count, dtype=np.float64)
        if count == 0:
            return scores

        # Crowded images get smaller crops, so that the time stays bounded.
        limit = self.MAX_SIDE
        if count > self.FULL_SIZE_BOXES:
            limit = int(max(40.0, limit * math.sqrt(self.FULL_SIZE_BOXES / count)))

        for i in range(count):
            if not np.all(np.isfinite(boxes[i])):
                continue
            value = self._gap(sample.image, boxes[i], limit)
            if math.isfinite(value):
                scores[i] = min(1.0, max(0.0, value))
        return scores

    def _gap(self, image, box, limit):
        height, width = image.shape[:2]
        x1, y1, x2, y2 = (float(v) for v in box)
        bw = max(x2 - x1, 0.0)
        bh = max(y2 - y1, 0.0)

        # Crop around the box, clipped to the image.
        cx0, cx1 = self._span(x1, x2, width)
        cy0, cy1 = self._span(y1, y2, height)
        crop = np.array(image[cy0:cy1, cx0:cx1, :3], dtype=np.uint8, order="C", copy=True)
        ch, cw = crop.shape[:2]
        tw, th = min(cw, limit), min(ch, limit)
        if (tw, th) != (cw, ch):
            crop = cv2.resize(crop, (tw, th), interpolation=cv2.INTER_AREA)
        sx, sy = tw / cw, th / ch

        lab = cv2.cvtColor(crop.astype(np.float32) / np.float32(255.0), cv2.COLOR_RGB2LAB)
        pixels = lab.reshape(-1, 3).astype(np.float64)

        # Quadratic sky model, fitted twice: on all pixels, then without the worst ones.
        design = self._design(tw, th)
        residual = pixels - design @ self._fit(design, pixels)
        norm = np.sqrt((residual * residual).sum(axis=1))
        keep = norm <= np.percentile(norm, self.KEEP_PERCENTILE)
        residual = pixels - design @ self._fit(design[keep], pixels[keep])
        norm = np.sqrt((residual * residual).sum(axis=1))

        # Noise: the MAD-sigma of the noisiest channel.
        center = np.median(residual, axis=0)
        sigma = 1.4826 * float(np.median(np.abs(residual - center), axis=0).max())
        threshold = max(self.MIN_RESIDUAL, self.SIGMAS * sigma)
        mask = (norm > threshold).astype(np.uint8).reshape(th, tw)
        if not mask.any():
            return 1.0

        # Closing over gaps of up to 10 % of the box's side, with padding against border effects.
        rx = int(0.5 * self.CLOSE_FRACTION * bw * sx + 0.5)
        ry = int(0.5 * self.CLOSE_FRACTION * bh * sy + 0.5)
        if rx > 0 or ry > 0:
            kernel = np.ones((2 * ry + 1, 2 * rx + 1), dtype=np.uint8)
            px, py = rx + 1, ry + 1
            padded = np.pad(mask, ((py, py), (px, px)))
            closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)
            mask = np.ascontiguousarray(closed[py:py + th, px:px + tw])

        number, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        if number <= 1:
            return 1.0

        # Components that touch the box and are not specks.
        bx0, bx1 = self._cells((x1 - cx0) * sx, (x2 - cx0) * sx, tw)
        by0, by1 = self._cells((y1 - cy0) * sy, (y2 - cy0) * sy, th)
        touching = np.unique(labels[by0:by1, bx0:bx1])
        box_area = bw * sx * bh * sy
        min_area = min(self.MIN_AREA, max(1, int(math.ceil(0.3 * box_area))))
        touching = touching[touching > 0]
        touching = touching[stats[touching, cv2.CC_STAT_AREA] >= min_area]
        if touching.size == 0:
            return 1.0

        energy = np.bincount(labels.ravel(), weights=norm, minlength=number)
        best = int(touching[int(np.argmax(energy[touching]))])

        left = float(stats[best, cv2.CC_STAT_LEFT])
        top = float(stats[best, cv2.CC_STAT_TOP])
        right = left + float(stats[best, cv2.CC_STAT_WIDTH])
        bottom = top + float(stats[best, cv2.CC_STAT_HEIGHT])

        side_x = max(bw, 1.0)
        side_y = max(bh, 1.0)
        return max(
            abs(x1 - (cx0 + left / sx)) / side_x,
            abs(x2 - (cx0 + right / sx)) / side_x,
            abs(y1 - (cy0 + top / sy)) / side_y,
            abs(y2 - (cy0 + bottom / sy)) / side_y,
        )

    def _span(self, low, high, size):
        """Pixel range of the enlarged box along one axis, never empty."""
        side = max(high - low, 0.0)
        middle = 0.5 * (low + high)
        half = max(0.5 * self.ENLARGE * side, 0.5 * side + self.MIN_MARGIN)
        start = int(min(max(math.floor(middle - half), 0), size - 1))
        stop = int(min(max(math.ceil(middle + half), start + 1), size))
        return start, stop

    @staticmethod
    def _cells(low, high, size):
        """Pixel range of the crop that the box covers along one axis, never empty."""
        start = int(min(max(math.floor(low + 1e-6), 0), size - 1))
        stop = int(min(max(math.ceil(high - 1e-6), start + 1), size))
        return start, stop

    @staticmethod
    def _design(width, height):
        """Terms of a quadratic in x and y, for each pixel of a crop."""
        xs = (np.arange(width, dtype=np.float64) + 0.5) * (2.0 / width) - 1.0
        ys = (np.arange(height, dtype=np.float64) + 0.5) * (2.0 / height) - 1.0
        x = np.tile(xs, height)
        y = np.repeat(ys, width)
        return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)

    @staticmethod
    def _fit(design, values):
        """Least squares by the normal equations; the minimum norm where they are singular."""
        gram = design.T @ design
        target = design.T @ values
        return np.linalg.lstsq(gram, target, rcond=1e-10)[0]
