import math

import cv2
import numpy as np
from metricsmith.sandbox import Metric, Sample


class SilhouetteBoxIoU(Metric):
    """Low: a loose, shifted, cropped or missing box (0: image without boxes); high: every box fits its silhouette tightly.

    The background around each box is modelled as a plane in Lab; the strongest region that
    deviates from it is the silhouette. The score is the IoU of the bounding rectangle of the
    silhouette with the box, minimum over the boxes. A box without a visible silhouette takes
    the median of the data set.
    """

    level = "image"
    suspicious = "low"

    max_boxes = 32  # only a bound on the time in very crowded images
    pixel_budget = 150000  # window pixels of all boxes of an image together
    min_outside = 12  # background pixels needed to fit the planes
    min_component = 6  # pixels

    def measure(self, sample: Sample) -> np.ndarray:
        """The lowest IoU, the number of boxes with a silhouette and the number without one."""
        boxes = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4)
        count = len(boxes)
        if count == 0:
            return np.zeros(3, dtype=np.float64)
        if count > self.max_boxes:
            picked = np.linspace(0, count - 1, self.max_boxes).round().astype(int)
            boxes = boxes[picked]
        limit = max(1024.0, self.pixel_budget / len(boxes))

        lowest = 1.0
        measured = 0
        missing = 0
        for box in boxes:
            iou = self._box_iou(sample.image, box, limit)
            if iou is None:
                missing += 1
            else:
                measured += 1
                lowest = min(lowest, iou)
        if measured == 0:
            lowest = 0.0
        return np.array([lowest, measured, missing], dtype=np.float64)

    def rank(self, measurements: np.ndarray) -> np.ndarray:
        rows = np.asarray(measurements, dtype=np.float64).reshape(-1, 3)
        lowest = rows[:, 0]
        has = rows[:, 1] > 0
        absent = rows[:, 2] > 0
        median = float(np.median(lowest[has])) if has.any() else 0.5

        scores = np.zeros(len(rows), dtype=np.float64)  # images without boxes stay at 0
        scores[has] = lowest[has]
        both = has & absent
        scores[both] = np.minimum(lowest[both], median)
        scores[absent & ~has] = median
        return scores

    def _box_iou(self, image, box, limit):
        """IoU of the box with its silhouette's rectangle; None if there is no silhouette."""
        height, width = image.shape[:2]
        x1, x2 = sorted((float(box[0]), float(box[2])))
        y1, y2 = sorted((float(box[1]), float(box[3])))

        # The window: the box with both sides doubled, clipped to the image. The margin of at
        # least 2 pixels only keeps boxes thinner than 4 pixels measurable.
        margin_x = max(0.5 * (x2 - x1), 2.0)
        margin_y = max(0.5 * (y2 - y1), 2.0)
        left = max(0, math.floor(x1 - margin_x))
        right = min(width, math.ceil(x2 + margin_x))
        top = max(0, math.floor(y1 - margin_y))
        bottom = min(height, math.ceil(y2 + margin_y))
        w = right - left
        h = bottom - top
        if w < 1 or h < 1:
            return None
        crop = np.array(image[top:bottom, left:right], order="C")

        scale_x = scale_y = 1.0
        if w * h > limit:
            factor = math.sqrt(limit / (w * h))
            new_w = max(min(w, 8), int(round(w * factor)))
            new_h = max(min(h, 8), int(round(h * factor)))
            crop = cv2.resize(crop, (new_w, new_h), interpolation=cv2.INTER_AREA)
            scale_x = new_w / w
            scale_y = new_h / h
            w, h = new_w, new_h

        # The box in the coordinates of the window.
        bx1 = (x1 - left) * scale_x
        bx2 = (x2 - left) * scale_x
        by1 = (y1 - top) * scale_y
        by2 = (y2 - top) * scale_y

        outside = np.ones((h, w), dtype=bool)
        outside[
            max(0, math.floor(by1)):max(0, math.ceil(by2)),
            max(0, math.floor(bx1)):max(0, math.ceil(bx2)),
        ] = False
        if int(outside.sum()) < self.min_outside:
            return None

        lab = cv2.cvtColor(crop.astype(np.float32) / np.float32(255.0), cv2.COLOR_RGB2LAB)
        lab = cv2.GaussianBlur(lab, (3, 3), 0, borderType=cv2.BORDER_REPLICATE)

        residual = self._plane_residual(lab, outside)
        background = residual[outside]
        mad = float(np.median(np.abs(background - np.median(background))))
        threshold = max(3.0, 5.0 * 1.4826 * mad)
        mask = (residual > threshold).astype(np.uint8)
        if not mask.any():
            return None

        # Padded, so that closing does not stretch regions to the border of the window.
        pad = 4
        padded = cv2.copyMakeBorder(mask, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
        padded = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((5, 5), dtype=np.uint8))
        mask = np.ascontiguousarray(padded[pad:pad + h, pad:pad + w])

        number, components, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        if number < 2:
            return None
        sums = np.bincount(components.ravel(), weights=residual.ravel(), minlength=number)
        sums[0] = -1.0
        sums[stats[:, cv2.CC_STAT_AREA] < self.min_component] = -1.0
        best = int(np.argmax(sums))
        if best == 0 or sums[best] < 0:
            return None

        sx1 = float(stats[best, cv2.CC_STAT_LEFT])
        sy1 = float(stats[best, cv2.CC_STAT_TOP])
        sx2 = sx1 + float(stats[best, cv2.CC_STAT_WIDTH])
        sy2 = sy1 + float(stats[best, cv2.CC_STAT_HEIGHT])

        overlap = max(0.0, min(bx2, sx2) - max(bx1, sx1)) * max(0.0, min(by2, sy2) - max(by1, sy1))
        union = (bx2 - bx1) * (by2 - by1) + (sx2 - sx1) * (sy2 - sy1) - overlap
        return float(min(1.0, max(0.0, overlap / max(union, 1e-9))))

    def _plane_residual(self, lab, outside):
        """Colour distance of each pixel from the planes fitted to the pixels outside the box."""
        h, w = lab.shape[:2]
        design = np.empty((h, w, 3), dtype=np.float64)
        design[:, :, 0] = 1.0
        design[:, :, 1] = np.linspace(-1.0, 1.0, w)[None, :]
        design[:, :, 2] = np.linspace(-1.0, 1.0, h)[:, None]
        design = design.reshape(-1, 3)
        values = lab.reshape(-1, 3).astype(np.float64)

        chosen = outside.ravel()
        x = design[chosen]
        y = values[chosen]
        first = self._length(y - x @ self._fit(x, y))
        kth = int(0.8 * (len(first) - 1))
        keep = first <= np.partition(first, kth)[kth]
        planes = self._fit(x[keep], y[keep])
        return self._length(values - design @ planes).reshape(h, w)

    @staticmethod
    def _fit(x, y):
        return np.linalg.pinv(x.T @ x, 1e-9, hermitian=True) @ (x.T @ y)

    @staticmethod
    def _length(difference):
        return np.sqrt(np.einsum("ij,ij->i", difference, difference))
