import numpy as np
from metricsmith.sandbox import Metric, Sample


class LocalSizeSurplus(Metric):
    """High: log area larger than the neighbouring frames imply (enlarged box); near zero or low: size agrees or is smaller.

    Each box is compared with a Theil-Sen line of log area against frame number, fitted to
    the eight nearest other annotated frames of the same video. In a frame with several
    boxes, the one whose centre is nearest is taken. With fewer than four such frames, the
    previous and next frame of the sample are used, or else the median of the one to three
    frames there are, and the residual is shrunk. Without any neighbouring frame, the
    reference is the median share of the image area in the same class, and the residual is
    shrunk strongly.
    """

    level = "object"
    suspicious = "high"

    NEIGHBOURS = 8
    MIN_NEIGHBOURS = 4
    MIN_CLASS = 5
    STILL_WEIGHT = 0.25
    MIN_SIDE = 0.1
    COLUMNS = 11
    PRIME = 16777213  # below 2**24, so each name code is exact even as a float32

    def measure(self, sample: Sample) -> np.ndarray:
        boxes = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4)
        out = np.zeros((len(boxes), self.COLUMNS), dtype=np.float64)
        if len(boxes) == 0:
            return out
        cx, cy, y = self._geometry(boxes)
        if sample.group is not None and sample.frame is not None:
            first, second = self._name_codes(str(sample.group))
            out[:, 0] = 1.0
            out[:, 1] = first
            out[:, 2] = second
            out[:, 3] = float(sample.frame)
        out[:, 4] = cx
        out[:, 5] = cy
        out[:, 6] = y

        # Log areas in the frames next to this one: their number and their mean.
        sides = []
        for others in (sample.previous_boxes, sample.next_boxes):
            matched = self._matched(others, cx, cy)
            if matched is not None:
                sides.append(matched)
        if sides:
            out[:, 7] = float(len(sides))
            out[:, 8] = np.mean(np.stack(sides, axis=0), axis=0)

        # For boxes without any neighbouring frame: class and share of the image area.
        out[:, 9] = np.asarray(sample.labels, dtype=np.float64).reshape(-1)
        image_height, image_width = sample.image.shape[:2]
        out[:, 10] = y - np.log(max(float(image_height) * float(image_width), 1.0))
        return out

    def rank(self, measurements) -> np.ndarray:
        rows = np.asarray(measurements, dtype=np.float64)
        scores = np.zeros(len(rows), dtype=np.float64)
        if rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1] < self.COLUMNS:
            return scores
        support = np.zeros(len(rows), dtype=np.int64)

        used = np.flatnonzero(rows[:, 0] > 0.5)
        if used.size > 0:
            key = rows[used, 1] * float(2 ** 24) + rows[used, 2]
            # Sorted by video, frame, centre and size: the result does not depend on row order.
            position = np.lexsort(
                (rows[used, 6], rows[used, 5], rows[used, 4], rows[used, 3], key)
            )
            order = used[position]
            cuts = np.flatnonzero(np.diff(key[position])) + 1
            for index in np.split(order, cuts):
                residual, n = self._surplus(
                    rows[index, 3], rows[index, 4], rows[index, 5], rows[index, 6]
                )
                scores[index] = residual
                support[index] = n

        # Too few frames for a line: the previous and next frame come first.
        side = (support < self.MIN_NEIGHBOURS) & (rows[:, 7] > 0.5)
        scores[side] = rows[side, 6] - rows[side, 8]
        support[side] = np.rint(rows[side, 7]).astype(np.int64)
        few = (support > 0) & (support < self.MIN_NEIGHBOURS)
        scores[few] *= support[few] / (support[few] + 1.0)

        # No neighbouring frame at all: the usual size of the class.
        alone = support == 0
        if np.any(alone):
            label = rows[:, 9]
            share = rows[:, 10]
            overall = float(np.median(share))
            for value in np.unique(label[alone]):
                same = label == value
                if np.count_nonzero(same) >= self.MIN_CLASS:
                    reference = float(np.median(share[same]))
                else:
                    reference = overall
                target = alone & same
                scores[target] = self.STILL_WEIGHT * (share[target] - reference)
        return np.nan_to_num(scores, nan=0.0, posinf=0.0, neginf=0.0)

    @classmethod
    def _geometry(cls, boxes):
        """Centre and log area of each box."""
        width = np.maximum(boxes[:, 2] - boxes[:, 0], cls.MIN_SIDE)
        height = np.maximum(boxes[:, 3] - boxes[:, 1], cls.MIN_SIDE)
        cx = 0.5 * (boxes[:, 0] + boxes[:, 2])
        cy = 0.5 * (boxes[:, 1] + boxes[:, 3])
        return cx, cy, np.log(width * height)

    @classmethod
    def _matched(cls, others, cx, cy):
        """Log area of the box of another frame whose centre is nearest, or None."""
        if others is None:
            return None
        others = np.asarray(others, dtype=np.float64).reshape(-1, 4)
        if len(others) == 0:
            return None
        other_x, other_y, other_area = cls._geometry(others)
        distance = np.hypot(
            other_x[None, :] - cx[:, None], other_y[None, :] - cy[:, None]
        )
        return other_area[np.argmin(distance, axis=1)]

    @classmethod
    def _name_codes(cls, name):
        """Two numbers for a video name, the same in every process."""
        first, second = 7, 11
        for byte in name.encode("utf-8", "replace"):
            first = (first * 257 + byte + 1) % cls.PRIME
            second = (second * 65599 + byte + 1) % cls.PRIME
        return float(first), float(second)

    @classmethod
    def _surplus(cls, frame, cx, cy, y):
        """Signed residuals of the boxes of one video, rows sorted by frame, and the number of neighbours."""
        frames, start, inverse, count = np.unique(
            frame, return_index=True, return_inverse=True, return_counts=True
        )
        inverse = np.ravel(inverse)
        total = len(frames)
        n = min(cls.NEIGHBOURS, total - 1)
        if n < 1:
            return np.zeros(len(y), dtype=np.float64), 0

        # The n nearest other frames of each frame.
        reach = np.arange(1, cls.NEIGHBOURS + 1)
        offsets = np.concatenate((-reach, reach))
        candidates = np.arange(total)[:, None] + offsets[None, :]
        valid = (candidates >= 0) & (candidates < total)
        candidates = np.clip(candidates, 0, total - 1)
        gap = np.where(valid, np.abs(frames[candidates] - frames[:, None]), np.inf)
        pick = np.argsort(gap, axis=1, kind="stable")[:, :n]
        near = np.take_along_axis(candidates, pick, axis=1)[inverse]

        # In each of these frames, the box whose centre is nearest.
        dx = frames[near] - frame[:, None]
        values = np.empty(near.shape, dtype=np.float64)
        most = int(count.max())
        for k in range(n):
            which = near[:, k]
            best = start[which].copy()
            best_distance = np.hypot(cx[best] - cx, cy[best] - cy)
            for slot in range(1, most):
                has = np.flatnonzero(count[which] > slot)
                if has.size == 0:
                    break
                other = start[which[has]] + slot
                distance = np.hypot(cx[other] - cx[has], cy[other] - cy[has])
                closer = distance < best_distance[has]
                best[has[closer]] = other[closer]
                best_distance[has[closer]] = distance[closer]
            values[:, k] = y[best]

        # Too few points for a slope: their median.
        if n < cls.MIN_NEIGHBOURS:
            return y - np.median(values, axis=1), n

        # Theil-Sen line; with dx = 0 at this frame, the intercept is the prediction.
        i, j = np.triu_indices(n, 1)
        slope = np.median(
            (values[:, j] - values[:, i]) / (dx[:, j] - dx[:, i]), axis=1
        )
        prediction = np.median(values - slope[:, None] * dx, axis=1)
        return y - prediction, n
