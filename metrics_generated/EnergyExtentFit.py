import math

import cv2
import numpy as np
from metricsmith.sandbox import Metric, Sample


class EnergyExtentFit(Metric):
    """Low: the worst box is loose, shifted or off its object (0: no boxes); high: every box is tight.

    Each box is compared with the extent of the soft residual energy around it: the window
    (box enlarged 2x) minus a robust plane fitted to the pixels outside the box, per Lab
    channel. The score is the lowest IoU between box and energy rectangle. A box without
    energy gets the median of the data set. Energy of clearly different neighbouring boxes
    is ignored, so that crowded images are not punished for their neighbours.
    """

    level = "image"
    suspicious = "low"

    max_boxes = 48          # more boxes than this: an even selection, to stay fast
    min_half = 4.0          # least half side of a window, for very thin boxes
    min_outside = 16        # fewest background pixels for a fit
    ridge = 1e-3            # stops wild slopes when the background is a thin strip
    floor = 1.0             # least residual (Lab units) that counts as energy
    trim = 0.02             # share of the energy cut at each end

    @classmethod
    def _plane(cls, coords, values):
        """Slopes (2, 3) and intercepts (3,) of one plane per channel."""
        centre = coords.mean(axis=0)
        level = values.mean(axis=0)
        shifted = coords - centre
        gram = shifted.T @ shifted + cls.ridge * len(coords) * np.eye(2)
        slope = np.linalg.solve(gram, shifted.T @ (values - level))
        return slope, level - centre @ slope

    @staticmethod
    def _norm(coords, values, slope, intercept):
        """Length of the residual vector of each pixel."""
        rest = values - (coords @ slope + intercept)
        return np.sqrt((rest * rest).sum(axis=1))

    @classmethod
    def _extent(cls, sums):
        """Sub-pixel positions of the low and high percentile of a profile."""
        total = np.concatenate(([0.0], np.cumsum(sums)))
        marks = np.array([cls.trim, 1.0 - cls.trim]) * total[-1]
        low, high = np.interp(marks, total, np.arange(len(total), dtype=np.float64))
        return float(low), float(high)

    @classmethod
    def _fit(cls, image, boxes, index, area_cap):
        """IoU of one box with its energy rectangle, or None if there is no energy."""
        height, width = image.shape[:2]
        bx1, by1, bx2, by2 = (float(v) for v in boxes[index])
        cx, cy = 0.5 * (bx1 + bx2), 0.5 * (by1 + by2)
        half_w = max(bx2 - bx1, cls.min_half)
        half_h = max(by2 - by1, cls.min_half)

        # the window, clipped to the image
        left = min(max(int(math.floor(cx - half_w)), 0), width - 1)
        top = min(max(int(math.floor(cy - half_h)), 0), height - 1)
        right = min(max(int(math.ceil(cx + half_w)), left + 1), width)
        bottom = min(max(int(math.ceil(cy + half_h)), top + 1), height)
        crop = np.array(image[top:bottom, left:right])
        full_h, full_w = crop.shape[:2]

        scale = math.sqrt(area_cap / float(full_h * full_w))
        if scale < 1.0:
            new_w = max(1, int(round(full_w * scale)))
            new_h = max(1, int(round(full_h * scale)))
            crop = cv2.resize(crop, (new_w, new_h), interpolation=cv2.INTER_AREA)
        h, w = crop.shape[:2]
        sx, sy = w / float(full_w), h / float(full_h)

        lab = cv2.cvtColor(crop.astype(np.float32) / np.float32(255.0), cv2.COLOR_RGB2LAB)
        lab = cv2.GaussianBlur(lab, (0, 0), 1.0)
        values = lab.reshape(-1, 3).astype(np.float64)

        # all boxes in window pixels
        local = (boxes - np.array([left, top, left, top], dtype=np.float64)) * np.array(
            [sx, sy, sx, sy]
        )
        x1, y1, x2, y2 = (float(v) for v in local[index])
        px = np.arange(w) + 0.5
        py = np.arange(h) + 0.5
        inside = ((py >= y1) & (py <= y2))[:, None] & ((px >= x1) & (px <= x2))[None, :]

        # pixels of clearly different neighbours
        ignored = np.zeros((h, w), dtype=bool)
        iw = np.maximum(np.minimum(local[:, 2], x2) - np.maximum(local[:, 0], x1), 0.0)
        ih = np.maximum(np.minimum(local[:, 3], y2) - np.maximum(local[:, 1], y1), 0.0)
        areas = np.maximum(local[:, 2] - local[:, 0], 0.0) * np.maximum(
            local[:, 3] - local[:, 1], 0.0
        )
        own_area = max(x2 - x1, 0.0) * max(y2 - y1, 0.0)
        overlap = iw * ih / np.maximum(np.minimum(areas, own_area), 1e-6)
        near = (
            (local[:, 0] < w) & (local[:, 2] > 0) & (local[:, 1] < h) & (local[:, 3] > 0)
        )
        others = near & (overlap < 0.5) & (areas > 0)
        others[index] = False
        for k in np.flatnonzero(others):
            ox1 = min(max(int(math.floor(local[k, 0])) - 1, 0), w)
            oy1 = min(max(int(math.floor(local[k, 1])) - 1, 0), h)
            ox2 = min(max(int(math.ceil(local[k, 2])) + 1, 0), w)
            oy2 = min(max(int(math.ceil(local[k, 3])) + 1, 0), h)
            ignored[oy1:oy2, ox1:ox2] = True
        ignored &= ~inside

        outside = np.flatnonzero(~(inside | ignored).ravel())
        if outside.size < cls.min_outside:
            return None

        # robust plane per channel
        coords = np.empty((h, w, 2), dtype=np.float64)
        coords[:, :, 0] = (2.0 * px / w - 1.0)[None, :]
        coords[:, :, 1] = (2.0 * py / h - 1.0)[:, None]
        coords = coords.reshape(-1, 2)
        out_coords = coords[outside]
        out_values = values[outside]
        slope, intercept = cls._plane(out_coords, out_values)
        first = cls._norm(out_coords, out_values, slope, intercept)
        keep = first <= np.percentile(first, 80.0)
        slope, intercept = cls._plane(out_coords[keep], out_values[keep])

        # soft energy above the noise of the background
        residual = cls._norm(coords, values, slope, intercept)
        background = residual[outside]
        median = float(np.median(background))
        mad = float(np.median(np.abs(background - median)))
        threshold = max(cls.floor, median + 4.0 * 1.4826 * mad)
        energy = np.maximum(residual - threshold, 0.0).reshape(h, w)
        energy[ignored] = 0.0
        if not float(energy.sum()) > 1e-3:
            return None

        ex1, ex2 = cls._extent(energy.sum(axis=0))
        ey1, ey2 = cls._extent(energy.sum(axis=1))
        inter = max(min(x2, ex2) - max(x1, ex1), 0.0) * max(min(y2, ey2) - max(y1, ey1), 0.0)
        union = own_area + max(ex2 - ex1, 0.0) * max(ey2 - ey1, 0.0) - inter
        if union <= 1e-9:
            return 0.0
        return min(max(inter / union, 0.0), 1.0)

    def measure(self, sample: Sample) -> np.ndarray:
        # row: has boxes, has a measured box, lowest IoU, has a box without energy
        boxes = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4)
        count = len(boxes)
        if count == 0:
            return np.zeros(4, dtype=np.float64)

        if count > self.max_boxes:
            chosen = np.linspace(0, count - 1, self.max_boxes).astype(np.int64)
        else:
            chosen = np.arange(count)
        area_cap = min(max(120000.0 / len(chosen), 2500.0), 40000.0)

        lowest = 1.0
        measured = False
        blank = False
        for index in chosen:
            value = self._fit(sample.image, boxes, int(index), area_cap)
            if value is None or not math.isfinite(value):
                blank = True
            else:
                measured = True
                lowest = min(lowest, value)
        return np.array(
            [1.0, float(measured), round(lowest, 6) if measured else 0.0, float(blank)],
            dtype=np.float64,
        )

    def rank(self, measurements) -> np.ndarray:
        rows = np.asarray(measurements, dtype=np.float64).reshape(-1, 4)
        if len(rows) == 0:
            return np.zeros(0, dtype=np.float64)
        has_boxes = rows[:, 0] > 0.5
        measured = rows[:, 1] > 0.5
        blank = rows[:, 3] > 0.5
        middle = float(np.median(rows[measured, 2])) if measured.any() else 0.5
        scores = np.where(measured, rows[:, 2], middle)
        # a box without energy counts as a box with the median fit
        scores = np.where(blank, np.minimum(scores, middle), scores)
        return np.where(has_boxes, scores, 0.0)
