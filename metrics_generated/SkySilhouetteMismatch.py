import math

import cv2
import numpy as np
from metricsmith.sandbox import Metric, Sample


class SkySilhouetteMismatch(Metric):
    """Low: each box fits the silhouette that stands out there; high: a box misses it, or a plane has no box.

    The silhouette is looked for in the Lab gradient of a window of 2.5 box sides, at
    several thresholds (closed components) and as the rectangle that gathers most
    gradient for its area. What gathers the most gradient above the background, for its
    area, gives the bounds. The second pass takes out how much larger than their
    silhouettes the boxes of this data set usually are, and draws boxes whose silhouette
    hardly stands out towards the usual score. The score is 1 - IoU of the worst box, 1 if
    nothing stands out. An image without boxes scores 1 if a compact, isolated component
    lies away from its borders, else 0.
    """

    level = "image"
    suspicious = "high"

    # Search in images without boxes.
    MIN_LEVELS = 4.0
    QUARTILE_FACTOR = 6.0
    PEAK_FACTOR = 0.2
    BORDER = 60

    # Search around a box.
    MIN_PEAK = 4.0  # levels; below it nothing stands out
    MIN_PEAK_TO_QUARTILE = 4.0  # below it the window holds nothing but noise
    GROUND = 3.0  # background level, in lower quartiles
    CLOSING = 0.15
    MARGIN = 0.75  # on each side, so that the window is 2.5 box sides
    MIN_MARGIN = 8.0
    SIGMA = 1.07  # of the preference for the centre, in margins
    EDGE_PENALTY = 0.75  # for each side of the window that a candidate touches
    GRID = 48

    MAX_BOXES = 24
    SLOTS = 8
    FIELDS = 6

    def measure(self, sample: Sample) -> np.ndarray:
        image = sample.image
        row = np.zeros(1 + self.SLOTS * self.FIELDS, dtype=np.float64)
        row[0] = -1.0
        boxes = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4)
        count = len(boxes)
        if count == 0:
            row[0] = float(self._unlabelled(image))
            return row
        if count > self.MAX_BOXES:
            chosen = np.linspace(0, count - 1, self.MAX_BOXES).astype(int)
        else:
            chosen = np.arange(count)
        if len(chosen) <= 4:
            limit, steps, grid = 128, 5, self.GRID
        elif len(chosen) <= 12:
            limit, steps, grid = 96, 4, 40
        else:
            limit, steps, grid = 64, 3, 32
        entries = []
        for index in chosen:
            others = np.delete(boxes, index, axis=0)
            found = self._silhouette(image, boxes[index], others, limit, steps, grid)
            entries.append(self._entry(boxes[index], found))
        entries.sort(key=lambda pair: -pair[0])
        for slot, (_, values) in enumerate(entries[: self.SLOTS]):
            start = 1 + slot * self.FIELDS
            row[start:start + self.FIELDS] = values
        return row

    def rank(self, measurements) -> np.ndarray:
        rows = np.asarray(measurements, dtype=np.float64)
        if rows.size == 0:
            return np.zeros(len(rows), dtype=np.float64)
        rows = rows.reshape(len(rows), -1)
        fixed = rows[:, 0]
        slots = rows[:, 1:].reshape(len(rows), self.SLOTS, self.FIELDS)
        state = slots[:, :, 0]
        off_x, off_y = slots[:, :, 1], slots[:, :, 2]
        log_w, log_h = slots[:, :, 3], slots[:, :, 4]
        sureness = np.clip(slots[:, :, 5], 0.0, 1.0)
        found = (state > 0.5) & (state < 1.5)
        missing = state >= 1.5

        # How the boxes of this data set usually lie around their silhouettes.
        sure = found & (sureness >= 0.3)
        number = int(sure.sum())
        trust = number / (number + 10.0)

        def usual(values, low, high):
            if number == 0:
                return 0.0
            return trust * float(np.clip(np.median(values[sure]), low, high))

        usual_w = usual(log_w, math.log(0.5), math.log(1.3))
        usual_h = usual(log_h, math.log(0.5), math.log(1.3))
        usual_x = usual(off_x, -0.15, 0.15)
        usual_y = usual(off_y, -0.15, 0.15)

        # IoU in units of the box, which is the square from -0.5 to 0.5.
        width, height = np.exp(log_w - usual_w), np.exp(log_h - usual_h)
        cx, cy = off_x - usual_x, off_y - usual_y
        inter_w = np.minimum(0.5, cx + width / 2) - np.maximum(-0.5, cx - width / 2)
        inter_h = np.minimum(0.5, cy + height / 2) - np.maximum(-0.5, cy - height / 2)
        inter = np.maximum(inter_w, 0.0) * np.maximum(inter_h, 0.0)
        union = width * height + 1.0 - inter
        miss = 1.0 - np.clip(inter / np.maximum(union, 1e-9), 0.0, 1.0)

        neutral = 0.5
        if found.any():
            middle = float(np.clip(np.median(miss[found]), 0.2, 0.8))
            neutral = 0.5 * (1.0 - trust) + trust * middle
        weight = 0.25 + 0.75 * sureness
        score = weight * miss + (1.0 - weight) * neutral
        score = np.where(found, score, np.where(missing, 1.0, 0.0))
        worst = score.max(axis=1)
        result = np.where(fixed >= 0.0, fixed, worst)
        return np.nan_to_num(result, nan=0.0, posinf=1.0, neginf=0.0)

    def _entry(self, box, found):
        """(how bad it looks, the numbers of one box for the second pass)."""
        if found is None:
            return 2.0, (2.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        bounds, sureness = found
        cx, cy = (box[0] + box[2]) / 2.0, (box[1] + box[3]) / 2.0
        box_w, box_h = max(box[2] - box[0], 1.0), max(box[3] - box[1], 1.0)
        whole = (cx - box_w / 2, cy - box_h / 2, cx + box_w / 2, cy + box_h / 2)
        found_w = max(bounds[2] - bounds[0], 0.5)
        found_h = max(bounds[3] - bounds[1], 0.5)
        off_x = ((bounds[0] + bounds[2]) / 2.0 - cx) / box_w
        off_y = ((bounds[1] + bounds[3]) / 2.0 - cy) / box_h
        values = (
            1.0,
            float(np.clip(off_x, -20.0, 20.0)),
            float(np.clip(off_y, -20.0, 20.0)),
            float(np.clip(math.log(found_w / box_w), -4.0, 4.0)),
            float(np.clip(math.log(found_h / box_h), -4.0, 4.0)),
            float(sureness),
        )
        return (0.25 + 0.75 * sureness) * (1.0 - self._iou(bounds, whole)), values

    @staticmethod
    def _iou(a, b) -> float:
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        if width <= 0 or height <= 0:
            return 0.0
        inter = width * height
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
        return float(min(1.0, inter / union)) if union > 1e-9 else 0.0

    @staticmethod
    def _shrunk(crop, limit):
        """A writable copy of the crop, its longer side at most `limit`, with both scales."""
        crop = np.array(crop, dtype=np.uint8, order="C")
        height, width = crop.shape[:2]
        factor = limit / float(max(height, width))
        if factor >= 1.0:
            return crop, 1.0, 1.0
        new_w = max(4, int(round(width * factor)))
        new_h = max(4, int(round(height * factor)))
        small = cv2.resize(crop, (new_w, new_h), interpolation=cv2.INTER_AREA)
        return small, new_w / float(width), new_h / float(height)

    @staticmethod
    def _gradient(rgb):
        """Lab gradient magnitude: levels of difference across two pixels."""
        lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
        lab = cv2.blur(lab, (3, 3))
        gx = cv2.Sobel(lab, cv2.CV_32F, 1, 0, ksize=3, scale=0.25)
        gy = cv2.Sobel(lab, cv2.CV_32F, 0, 1, ksize=3, scale=0.25)
        energy = gx * gx + gy * gy
        return np.sqrt(energy[:, :, 0] + energy[:, :, 1] + energy[:, :, 2])

    @staticmethod
    def _closed_components(strong, weights, kernel_w, kernel_h):
        """Closed components of the strong pixels, with weight and strong pixels of each."""
        closed = cv2.morphologyEx(
            strong.astype(np.uint8),
            cv2.MORPH_CLOSE,
            np.ones((kernel_h, kernel_w), np.uint8),
        )
        number, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
        of_strong = labels[strong]
        weight = np.bincount(
            of_strong, weights=weights[strong].astype(np.float64), minlength=number
        )
        pixels = np.bincount(of_strong, minlength=number)
        weight[0] = 0.0
        return labels, stats, weight, pixels

    @staticmethod
    def _tighten(low, high, size):
        """Take off one pixel of blur halo at each end that does not touch the window's edge."""
        halo = min(1.0, max(0.0, (high - low - 2.0) / 2.0))
        new_low = low + halo if low > 0 else low
        new_high = high - halo if high < size else high
        return float(new_low), float(new_high)

    def _kernel(self, side):
        return max(3, 2 * int(round(self.CLOSING * side / 2.0)) + 1)

    @staticmethod
    def _integral(values):
        table = np.zeros((values.shape[0] + 1, values.shape[1] + 1), dtype=np.float64)
        table[1:, 1:] = np.cumsum(np.cumsum(values, axis=0), axis=1)
        return table

    @staticmethod
    def _densest(gain, grid):
        """The rectangle (x1, y1, x2, y2) with the largest sum, or None."""
        rows, cols = gain.shape
        small_h, small_w = min(rows, grid), min(cols, grid)
        if (small_h, small_w) != (rows, cols):
            # Scaled up so that float32 keeps enough of these small fractions.
            scaled = (gain * float(rows * cols)).astype(np.float32)
            small = cv2.resize(scaled, (small_w, small_h), interpolation=cv2.INTER_AREA)
            small = small.astype(np.float64)
        else:
            small = gain * float(rows * cols)
        table = np.zeros((small_h + 1, small_w), dtype=np.float64)
        table[1:] = np.cumsum(small, axis=0)
        first, last = np.triu_indices(small_h + 1, 1)
        path = np.zeros((len(first), small_w + 1), dtype=np.float64)
        path[:, 1:] = np.cumsum(table[last] - table[first], axis=1)
        rise = path - np.minimum.accumulate(path, axis=1)
        pair, end = divmod(int(np.argmax(rise)), small_w + 1)
        if rise[pair, end] <= 0:
            return None
        start = int(np.argmin(path[pair, :end + 1]))
        if end <= start:
            return None
        x1 = int(round(start * cols / float(small_w)))
        x2 = int(round(end * cols / float(small_w)))
        y1 = int(round(first[pair] * rows / float(small_h)))
        y2 = int(round(last[pair] * rows / float(small_h)))
        if x2 <= x1 or y2 <= y1:
            return None
        return x1, y1, x2, y2

    def _silhouette(self, image, box, others, limit, steps, grid):
        """(bounds of what stands out in the window, how clearly it does, 0 to 1) or None."""
        height, width = image.shape[:2]
        x1, y1, x2, y2 = (float(v) for v in box)
        box_w, box_h = max(x2 - x1, 1.0), max(y2 - y1, 1.0)
        margin_x = max(self.MARGIN * box_w, self.MIN_MARGIN)
        margin_y = max(self.MARGIN * box_h, self.MIN_MARGIN)
        left = max(0, int(math.floor(x1 - margin_x)))
        top = max(0, int(math.floor(y1 - margin_y)))
        right = min(width, int(math.ceil(x2 + margin_x)))
        bottom = min(height, int(math.ceil(y2 + margin_y)))
        if right - left < 3 or bottom - top < 3:
            return None
        crop, sx, sy = self._shrunk(image[top:bottom, left:right], limit)
        gradient = self._gradient(crop)
        rows, cols = gradient.shape

        # Other annotated planes must not pass for this one.
        allowed = np.ones((rows, cols), dtype=bool)
        if len(others):
            near = others[
                (others[:, 0] < right)
                & (others[:, 2] > left)
                & (others[:, 1] < bottom)
                & (others[:, 3] > top)
            ]
            if len(near):
                for o in near:
                    a = max(0, int(math.floor((o[0] - left) * sx)) - 2)
                    b = max(0, int(math.ceil((o[2] - left) * sx)) + 2)
                    c = max(0, int(math.floor((o[1] - top) * sy)) - 2)
                    d = max(0, int(math.ceil((o[3] - top) * sy)) + 2)
                    allowed[c:d, a:b] = False
                a = max(0, int(math.floor((x1 - left) * sx)))
                b = max(0, int(math.ceil((x2 - left) * sx)))
                c = max(0, int(math.floor((y1 - top) * sy)))
                d = max(0, int(math.ceil((y2 - top) * sy)))
                allowed[c:d, a:b] = True
        seen = gradient[allowed]
        if seen.size < 16:
            return None
        quartile, peak = (float(v) for v in np.percentile(seen, (25, 99.5)))
        if peak < self.MIN_PEAK or peak < self.MIN_PEAK_TO_QUARTILE * quartile:
            return None
        ground = max(1.5, self.GROUND * quartile)

        # Gradient above the background, compressed, so that weak outlines count as well;
        # a gentle preference for the centre keeps clutter at the edges from winning.
        px = ((np.arange(cols) + 0.5) / sx + left - (x1 + x2) / 2.0) / (self.SIGMA * margin_x)
        py = ((np.arange(rows) + 0.5) / sy + top - (y1 + y2) / 2.0) / (self.SIGMA * margin_y)
        # The box itself is as wide as 1.33 margins unless it is tiny or the margin is the least.
        prior = np.exp(-0.5 * py * py)[:, None] * np.exp(-0.5 * px * px)[None, :]
        prior = prior * allowed
        excess = np.clip(gradient.astype(np.float64) - ground, 0.0, max(peak - ground, 0.5))
        energy = np.sqrt(excess) * prior
        total, mass = float(energy.sum()), float(prior.sum())
        if total <= 1e-9 or mass <= 1e-9:
            return None
        energy = energy / total
        reference = prior / mass
        energy_table = self._integral(energy)
        reference_table = self._integral(reference)

        rectangles = []
        dense = self._densest(energy - reference, grid)
        if dense is not None:
            rectangles.append(dense)
        lowest, highest = max(2.5, ground), 0.6 * peak
        if highest <= lowest:
            levels = [lowest]
        else:
            ratio = highest / lowest
            levels = [lowest * ratio ** (k / float(max(steps - 1, 1))) for k in range(steps)]
        kernel_w, kernel_h = self._kernel(box_w * sx), self._kernel(box_h * sy)
        for threshold in levels:
            strong = (gradient > threshold) & allowed
            if not strong.any():
                continue
            labels, _, weight, pixels = self._closed_components(
                strong, energy, kernel_w, kernel_h
            )
            weight[pixels < 5] = 0.0
            for label in np.argsort(-weight, kind="stable")[:2]:
                if weight[label] <= 0.0:
                    continue
                member = strong & (labels == label)
                xs = np.flatnonzero(member.any(axis=0))
                ys = np.flatnonzero(member.any(axis=1))
                rectangles.append(
                    (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1)
                )
        if not rectangles:
            return None

        # What gathers the most gradient for its area is the silhouette.
        qualities, areas = [], []
        for a, c, b, d in rectangles:
            part = energy_table[d, b] - energy_table[c, b] - energy_table[d, a] + energy_table[c, a]
            area = (
                reference_table[d, b]
                - reference_table[c, b]
                - reference_table[d, a]
                + reference_table[c, a]
            )
            touched = (
                int(a <= 0 and left > 0)
                + int(c <= 0 and top > 0)
                + int(b >= cols and right < width)
                + int(d >= rows and bottom < height)
            )
            qualities.append(float(part - area) * self.EDGE_PENALTY ** touched)
            areas.append(float(area))
        best = int(np.argmax(qualities))
        if qualities[best] <= 0.02:
            return None
        sum_weight = 0.0
        bounds = np.zeros(4, dtype=np.float64)
        for rectangle, quality in zip(rectangles, qualities):
            if quality <= 0.0 or self._iou(rectangle, rectangles[best]) < 0.5:
                continue
            share = (quality / qualities[best]) ** 4
            fx1, fx2 = self._tighten(float(rectangle[0]), float(rectangle[2]), cols)
            fy1, fy2 = self._tighten(float(rectangle[1]), float(rectangle[3]), rows)
            bounds += share * np.array([fx1, fy1, fx2, fy2])
            sum_weight += share
        if sum_weight <= 0.0:
            return None
        bounds = bounds / sum_weight
        found = (
            left + float(bounds[0]) / sx,
            top + float(bounds[1]) / sy,
            left + float(bounds[2]) / sx,
            top + float(bounds[3]) / sy,
        )
        sureness = qualities[best] / max(1.0 - areas[best], 1e-3)
        return found, float(min(1.0, max(0.0, sureness)))

    def _unlabelled(self, image) -> float:
        """1 if a compact component stands out at least 60 px from the borders, else 0."""
        height, width = image.shape[:2]
        border = self.BORDER
        if height - 2 * border < 16 or width - 2 * border < 16:
            return 0.0
        inner = image[border:height - border, border:width - border]
        small, sx, sy = self._shrunk(inner, 960)
        gradient = self._gradient(small)
        rows, cols = gradient.shape
        quartile, peak = np.percentile(gradient, (25, 99))
        threshold = max(
            self.MIN_LEVELS,
            self.QUARTILE_FACTOR * float(quartile),
            self.PEAK_FACTOR * float(peak),
        )
        strong = gradient > threshold
        if not strong.any():
            return 0.0
        _, stats, weight, pixels = self._closed_components(strong, gradient, 5, 5)
        x = stats[:, cv2.CC_STAT_LEFT].astype(np.float64)
        y = stats[:, cv2.CC_STAT_TOP].astype(np.float64)
        w = stats[:, cv2.CC_STAT_WIDTH].astype(np.float64)
        h = stats[:, cv2.CC_STAT_HEIGHT].astype(np.float64)
        area = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
        longer, shorter = np.maximum(w, h), np.maximum(np.minimum(w, h), 1.0)
        compact = (
            (pixels >= 9)
            & (shorter >= 4)
            & (longer <= 6.0 * shorter)
            & (w <= 0.4 * cols)
            & (h <= 0.4 * rows)
            & (area >= 0.2 * w * h)
            & (x > 0)
            & (y > 0)
            & (x + w < cols)
            & (y + h < rows)
        )
        compact[0] = False
        candidates = np.flatnonzero(compact)
        if len(candidates) == 0:
            return 0.0
        order = np.argsort(-weight[candidates], kind="stable")
        nobody = np.zeros((0, 4), dtype=np.float64)
        for index in candidates[order[:5]]:
            cx1, cx2 = self._tighten(x[index], x[index] + w[index], cols)
            cy1, cy2 = self._tighten(y[index], y[index] + h[index], rows)
            candidate = (cx1 / sx, cy1 / sy, cx2 / sx, cy2 / sy)
            # It must also stand out in its own window, as a labelled plane would.
            found = self._silhouette(inner, candidate, nobody, 96, 4, 40)
            if found is None:
                continue
            if found[1] >= 0.3 and self._iou(found[0], candidate) >= 0.35:
                return 1.0
        return 0.0
