import cv2
import numpy as np
from metricsmith.sandbox import Metric, Sample


class LoosenessDeviation(Metric):
    """Low: boxes are centred and sized around the silhouette as is usual in this data set; high: off-centre, abnormally sized or missing.

    measure: for each box, a silhouette is cut out of a padded crop (contrast to a robust
    plane of background, at two thresholds). If the bounds at both thresholds agree, the
    first bounds give four numbers: centre offset x and y over the root of the silhouette's
    area, and the logs of box width and height over silhouette width and height.
    rank: robust z of each number within five equally filled bins of silhouette size; the
    score of an image is the greatest |z| of its boxes. Images without a stable silhouette
    get the median score; images without a box get more than all others if a neighbouring
    frame has a box, else 0.
    """

    level = "image"
    suspicious = "high"

    MAX_BOXES = 8  # boxes looked at in one image
    HEAD = 2  # number of boxes, number of neighbouring frames with a box
    SLOT = 6  # state (0 none, 1 unstable, 2 stable), root of area, four numbers
    SIDE = 160  # longest side of the working crop
    STABLE_IOU = 0.6
    BINS = 5
    FLOOR = 0.02  # least robust deviation of a number

    def measure(self, sample: Sample) -> np.ndarray:
        out = np.zeros(self.HEAD + self.MAX_BOXES * self.SLOT, dtype=np.float64)
        boxes = np.array(sample.boxes, dtype=np.float64).reshape(-1, 4)
        out[0] = len(boxes)
        if len(boxes) == 0:
            for near in (sample.previous_boxes, sample.next_boxes):
                if near is not None and len(near) > 0:
                    out[1] += 1.0
            return out
        for i in range(min(len(boxes), self.MAX_BOXES)):
            start = self.HEAD + i * self.SLOT
            out[start] = 1.0
            found = self._silhouette(sample.image, boxes, i)
            if found is None:
                continue
            area, sx1, sy1, sx2, sy2 = found
            x1, y1, x2, y2 = boxes[i]
            root = np.sqrt(max(area, 1.0))
            out[start] = 2.0
            out[start + 1] = root
            out[start + 2] = (0.5 * (x1 + x2) - 0.5 * (sx1 + sx2)) / root
            out[start + 3] = (0.5 * (y1 + y2) - 0.5 * (sy1 + sy2)) / root
            out[start + 4] = np.log(max(x2 - x1, 0.5) / max(sx2 - sx1, 0.5))
            out[start + 5] = np.log(max(y2 - y1, 0.5) / max(sy2 - sy1, 0.5))
        return out

    def rank(self, measurements) -> np.ndarray:
        rows = np.asarray(measurements, dtype=np.float64)
        if rows.size == 0:
            return np.zeros(len(rows), dtype=np.float64)
        rows = rows.reshape(-1, self.HEAD + self.MAX_BOXES * self.SLOT)
        count = len(rows)
        slots = rows[:, self.HEAD:].reshape(count, self.MAX_BOXES, self.SLOT)
        stable = slots[:, :, 0] > 1.5
        has_stable = stable.any(axis=1)
        no_box = rows[:, 0] < 0.5

        scores = np.zeros(count, dtype=np.float64)
        if has_stable.any():
            image_index = np.nonzero(stable)[0]
            values = slots[stable]
            deviation = self._deviation(values[:, 1], values[:, 2:6])
            np.maximum.at(scores, image_index, deviation)
            middle = float(np.median(scores[has_stable]))
        else:
            middle = 0.0
        scores[~has_stable & ~no_box] = middle

        missing = no_box & (rows[:, 1] > 0.5)
        if missing.any():
            top = float(scores.max())
            scores[missing] = top + rows[missing, 1]
        return np.nan_to_num(scores, nan=0.0, posinf=1e9, neginf=0.0)

    def _deviation(self, size, numbers):
        """Greatest |robust z| of each row of numbers against its bin of size."""
        total = len(size)
        bins = int(min(self.BINS, max(1, total // 20)))
        if bins > 1:
            edges = np.quantile(size, np.arange(1, bins) / bins)
            which = np.searchsorted(edges, size, side="right")
        else:
            which = np.zeros(total, dtype=np.int64)
        result = np.zeros(total, dtype=np.float64)
        for b in range(bins):
            members = which == b
            if not members.any():
                continue
            mine = numbers[members]
            norm = mine if len(mine) >= 8 else numbers
            centre = np.median(norm, axis=0)
            mad = 1.4826 * np.median(np.abs(norm - centre), axis=0)
            z = np.abs(mine - centre) / np.maximum(mad, self.FLOOR)
            result[members] = z.max(axis=1)
        return result

    def _silhouette(self, image, boxes, i):
        """Area and first bounds of the stable silhouette of box i, in image pixels, or None."""
        for factor in (0.35, 1.2):
            found, widen = self._look(image, boxes, i, factor)
            if found is not None:
                return found
            if not widen:
                return None
        return None

    def _look(self, image, boxes, i, factor):
        """(silhouette or None, whether a wider crop may help)."""
        height, width = image.shape[:2]
        x1, y1, x2, y2 = boxes[i]
        w = max(x2 - x1, 1.0)
        h = max(y2 - y1, 1.0)
        pad = max(10.0, factor * (w + h))
        cx1 = int(max(0, np.floor(x1 - pad)))
        cy1 = int(max(0, np.floor(y1 - pad)))
        cx2 = int(min(width, np.ceil(x2 + pad)))
        cy2 = int(min(height, np.ceil(y2 + pad)))
        cw, ch = cx2 - cx1, cy2 - cy1
        if cw < 4 or ch < 4:
            return None, False

        crop = np.array(image[cy1:cy2, cx1:cx2, :3])
        scale = min(1.0, self.SIDE / float(max(cw, ch)))
        nw = max(4, int(round(cw * scale)))
        nh = max(4, int(round(ch * scale)))
        if (nw, nh) != (cw, ch):
            crop = cv2.resize(crop, (nw, nh), interpolation=cv2.INTER_AREA)
        fx, fy = nw / float(cw), nh / float(ch)
        work = cv2.GaussianBlur(crop.astype(np.float32), (3, 3), 0.7)
        contrast = self._contrast(work)

        # Pixels count fully inside the box, less and less outside, little in other boxes.
        px = cx1 + (np.arange(nw) + 0.5) / fx
        py = cy1 + (np.arange(nh) + 0.5) / fy
        dx = np.maximum(np.maximum(x1 - px, px - x2), 0.0)
        dy = np.maximum(np.maximum(y1 - py, py - y2), 0.0)
        fall_x = np.exp(-1.5 * dx / (0.5 * w + 4.0))
        fall_y = np.exp(-1.5 * dy / (0.5 * h + 4.0))
        weight = fall_y[:, None] * fall_x[None, :]
        if len(boxes) > 1:
            others = np.delete(boxes, i, axis=0)
            in_x = (px[None, :] >= others[:, 0:1]) & (px[None, :] <= others[:, 2:3])
            in_y = (py[None, :] >= others[:, 1:2]) & (py[None, :] <= others[:, 3:4])
            covered = (in_y.T.astype(np.float32) @ in_x.astype(np.float32)) > 0.5
            own = (dy == 0.0)[:, None] & (dx == 0.0)[None, :]
            weight = np.where(covered & ~own, 0.1 * weight, weight)

        base = float(np.median(contrast))
        spread = 1.4826 * float(np.median(np.abs(contrast - base)))
        near = contrast[weight >= 0.3]
        peak = float(np.percentile(near, 99.0)) if near.size else float(contrast.max())
        rise = max(4.5 * spread, 5.0, 0.25 * (peak - base))

        gain_map = (weight * np.maximum(contrast - base, 0.0)).ravel()
        inner = (cx1 > 0, cy1 > 0, cx2 < width, cy2 < height)
        radius = int(min(3, max(1, round(0.03 * min(w * fx, h * fy)))))
        kernel = cv2.getStructuringElement(
            cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)
        )

        first = self._part(contrast > base + rise, gain_map, inner, kernel)
        if first is None:
            return None, True
        area, left, top, right, bottom, touches = first
        if touches or area > 0.5 * nw * nh:
            return None, True
        second = self._part(contrast > base + 1.5 * rise, gain_map, inner, kernel)
        if second is None:
            return None, False
        if self._iou(first[1:5], second[1:5]) < self.STABLE_IOU:
            return None, False
        return (
            area / (fx * fy),
            cx1 + left / fx,
            cy1 + top / fy,
            cx1 + right / fx,
            cy1 + bottom / fy,
        ), False

    @staticmethod
    def _contrast(work):
        """Distance of each pixel from a plane fitted robustly to the crop's background."""
        nh, nw = work.shape[:2]
        u = np.linspace(-1.0, 1.0, nw)
        v = np.linspace(-1.0, 1.0, nh)
        step = max(1, int(np.sqrt(nh * nw / 2500.0)))
        sub = work[::step, ::step].reshape(-1, 3).astype(np.float64)
        grid_u, grid_v = np.meshgrid(u[::step], v[::step])
        basis = np.stack(
            [np.ones(grid_u.size), grid_u.ravel(), grid_v.ravel()], axis=1
        )
        coef = np.zeros((3, 3), dtype=np.float64)
        coef[0] = np.median(sub, axis=0)
        for _ in range(4):
            residual = sub - basis @ coef
            distance = np.sqrt(np.mean(residual * residual, axis=1))
            keep = distance <= max(2.5 * float(np.median(distance)), 2.0)
            kept = basis[keep]
            gram = kept.T @ kept + 1e-3 * np.eye(3)
            coef = np.linalg.solve(gram, kept.T @ sub[keep])
        plane = (
            coef[0][None, None, :]
            + u[None, :, None] * coef[1][None, None, :]
            + v[:, None, None] * coef[2][None, None, :]
        )
        difference = work - plane.astype(np.float32)
        return np.sqrt(np.mean(difference * difference, axis=2))

    @staticmethod
    def _part(mask, gain_map, inner, kernel):
        """Area, bounds and border contact of the connected part with most weighted contrast."""
        mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
        nh, nw = mask.shape
        n, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        if n < 2:
            return None
        gain = np.bincount(labels.ravel(), weights=gain_map, minlength=n)
        left = stats[:, cv2.CC_STAT_LEFT]
        top = stats[:, cv2.CC_STAT_TOP]
        right = left + stats[:, cv2.CC_STAT_WIDTH]
        bottom = top + stats[:, cv2.CC_STAT_HEIGHT]
        area = stats[:, cv2.CC_STAT_AREA]
        touches = np.zeros(n, dtype=bool)
        if inner[0]:
            touches |= left <= 0
        if inner[1]:
            touches |= top <= 0
        if inner[2]:
            touches |= right >= nw
        if inner[3]:
            touches |= bottom >= nh
        gain = np.where(touches, 0.3 * gain, gain)
        gain[area < 4] = 0.0
        gain[0] = 0.0
        best = int(np.argmax(gain))
        if best == 0 or gain[best] <= 0.0:
            return None
        return (
            float(area[best]),
            float(left[best]),
            float(top[best]),
            float(right[best]),
            float(bottom[best]),
            bool(touches[best]),
        )

    @staticmethod
    def _iou(a, b):
        across = min(a[2], b[2]) - max(a[0], b[0])
        down = min(a[3], b[3]) - max(a[1], b[1])
        if across <= 0 or down <= 0:
            return 0.0
        both = across * down
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
        return both / max(union, 1e-9)
