import numpy as np
from metricsmith.sandbox import Metric, Sample


class ThreeWitnessMedian(Metric):
    """Low: detector and neighbouring frames agree with all annotations; high: they contradict an annotation, or one is missing.

    Predictions and the boxes of the previous and the next frame are clustered, with at
    most one box of each source in a cluster. A cluster's witness is the weighted median
    of its boxes, side by side, and its mass the sum of their weights; its reach is the
    same with the outer weighted quartiles. What an annotation covers beyond the reach of
    its witness counts against it once more, on top of the IoU. The score is the greatest
    doubt of any annotation or unclaimed witness of the image.
    """

    level = "image"
    suspicious = "high"

    MIN_CONFIDENCE = 0.1
    NMS_IOU = 0.5
    MAX_PREDICTIONS = 300
    NEIGHBOUR_WEIGHT = 0.4
    # Below twice the weight of a neighbour: no prediction outvotes both neighbours.
    MAX_VOTE = 0.75
    OUTER = 0.25
    CLUSTER_IOU = 0.3
    FULL_MASS = 0.8
    FULL_UNCLAIMED_MASS = 1.6
    INSIDE = 0.8

    @staticmethod
    def _as_boxes(boxes) -> np.ndarray:
        if boxes is None:
            return np.zeros((0, 4), dtype=np.float64)
        return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)

    @staticmethod
    def _usable(boxes: np.ndarray) -> np.ndarray:
        """Mask of the boxes that are finite and have an area."""
        return (
            np.isfinite(boxes).all(axis=1)
            & (boxes[:, 2] > boxes[:, 0])
            & (boxes[:, 3] > boxes[:, 1])
        )

    @staticmethod
    def _area(boxes: np.ndarray) -> np.ndarray:
        width = np.maximum(boxes[:, 2] - boxes[:, 0], 0.0)
        height = np.maximum(boxes[:, 3] - boxes[:, 1], 0.0)
        return width * height

    @staticmethod
    def _intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        width = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
        height = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
        return np.maximum(width, 0.0) * np.maximum(height, 0.0)

    @classmethod
    def _iou(cls, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        inter = cls._intersection(a, b)
        union = cls._area(a)[:, None] + cls._area(b)[None, :] - inter
        return np.where(union > 0.0, inter / np.maximum(union, 1e-12), 0.0)

    @staticmethod
    def _overlap_boxes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Row by row, the box that two boxes share; it has no area where they share none."""
        return np.concatenate(
            [np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])], axis=1
        )

    @staticmethod
    def _weighted_quantile(values, weights, fraction) -> float:
        """Weighted quantile; the middle of two values where the weight splits exactly there."""
        order = sorted(range(len(values)), key=lambda k: (values[k], k))
        target = fraction * sum(weights)
        total = 0.0
        for position, k in enumerate(order):
            total += weights[k]
            if abs(total - target) <= 1e-9 and position + 1 < len(order):
                return 0.5 * (values[k] + values[order[position + 1]])
            if total > target:
                return values[k]
        return values[order[-1]]

    def _predictions(self, sample: Sample):
        boxes = self._as_boxes(sample.predictions.boxes)
        scores = np.asarray(sample.predictions.scores, dtype=np.float64).reshape(-1)
        scores = np.clip(np.nan_to_num(scores), 0.0, 1.0)
        keep = self._usable(boxes) & (scores >= self.MIN_CONFIDENCE)
        boxes, scores = boxes[keep], scores[keep]
        order = np.argsort(-scores, kind="stable")[: self.MAX_PREDICTIONS]
        boxes, scores = boxes[order], scores[order]
        if len(boxes) > 1:
            overlaps = self._iou(boxes, boxes) > self.NMS_IOU
            alive = np.ones(len(boxes), dtype=bool)
            for i in range(len(boxes)):
                if alive[i]:
                    alive[i + 1:] &= ~overlaps[i, i + 1:]
            boxes, scores = boxes[alive], scores[alive]
        return boxes, scores

    def _neighbours(self, boxes):
        boxes = self._as_boxes(boxes)
        boxes = boxes[self._usable(boxes)]
        return boxes, np.full(len(boxes), self.NEIGHBOUR_WEIGHT, dtype=np.float64)

    def _witnesses(self, sample: Sample):
        """Witness boxes (W, 4), their reaches (W, 4) and their masses (W,)."""
        sources = [
            self._predictions(sample),
            self._neighbours(sample.previous_boxes),
            self._neighbours(sample.next_boxes),
        ]
        boxes = np.concatenate([s[0] for s in sources], axis=0)
        weights = np.concatenate([s[1] for s in sources], axis=0)
        if len(boxes) == 0:
            return boxes, boxes, weights
        sizes = [len(s[0]) for s in sources]
        starts = [0, sizes[0], sizes[0] + sizes[1]]

        # All pairs of boxes from different sources that overlap enough.
        firsts, seconds, overlaps = [], [], []
        for a in range(3):
            for b in range(a + 1, 3):
                if sizes[a] == 0 or sizes[b] == 0:
                    continue
                iou = self._iou(sources[a][0], sources[b][0])
                i, j = np.nonzero(iou >= self.CLUSTER_IOU)
                firsts.append(i + starts[a])
                seconds.append(j + starts[b])
                overlaps.append(iou[i, j])

        # Best pairs first; two clusters merge only if they share no source.
        cluster = list(range(len(boxes)))
        members = [[k] for k in range(len(boxes))]
        mask = [1 << s for s in range(3) for _ in range(sizes[s])]
        if firsts:
            first = np.concatenate(firsts)
            second = np.concatenate(seconds)
            order = np.argsort(-np.concatenate(overlaps), kind="stable")
            for i, j in zip(first[order].tolist(), second[order].tolist()):
                a, b = cluster[i], cluster[j]
                if a == b or mask[a] & mask[b]:
                    continue
                for k in members[b]:
                    cluster[k] = a
                members[a].extend(members[b])
                mask[a] |= mask[b]
                members[b] = []

        box_list = boxes.tolist()
        weight_list = weights.tolist()
        witnesses, reaches, masses = [], [], []
        for group in members:
            if not group:
                continue
            if len(group) == 1:
                witnesses.append(box_list[group[0]])
                reaches.append(box_list[group[0]])
                masses.append(weight_list[group[0]])
                continue
            group = sorted(group)
            votes = [min(weight_list[k], self.MAX_VOTE) for k in group]
            middle, outer = [], []
            for side in range(4):
                values = [box_list[k][side] for k in group]
                fraction = self.OUTER if side < 2 else 1.0 - self.OUTER
                middle.append(self._weighted_quantile(values, votes, 0.5))
                outer.append(self._weighted_quantile(values, votes, fraction))
            witnesses.append(middle)
            reaches.append(outer)
            masses.append(sum(weight_list[k] for k in group))
        return (
            np.asarray(witnesses, dtype=np.float64).reshape(-1, 4),
            np.asarray(reaches, dtype=np.float64).reshape(-1, 4),
            np.asarray(masses, dtype=np.float64),
        )

    def measure(self, sample: Sample) -> float:
        annotations = self._as_boxes(sample.boxes)
        witnesses, reaches, masses = self._witnesses(sample)
        n, w = len(annotations), len(witnesses)
        if w == 0:
            return 1.0 if n > 0 else 0.0

        worst = 0.0
        unclaimed = np.ones(w, dtype=bool)
        if n > 0:
            # The root keeps a light witness that fits from looking like a contradiction.
            support = np.sqrt(np.minimum(1.0, masses / self.FULL_MASS))
            iou = self._iou(annotations, witnesses)
            best = np.argmax(iou * support[None, :], axis=1)
            best_iou = iou[np.arange(n), best]

            # The share of each annotation that its witness can account for: a box that
            # is too large loses here as well as in the IoU, one that is too small does not.
            common = self._overlap_boxes(annotations, reaches[best])
            own_area = np.maximum(self._area(annotations), 1e-12)
            accounted = np.clip(self._area(common) / own_area, 0.0, 1.0)

            # Without any overlap the IoU is 0, so the doubt is 1: no witness.
            worst = float(np.max(1.0 - best_iou * accounted * support[best]))
            unclaimed[best[best_iou > 0.0]] = False

            # A witness is a mere part of an annotated object only where the annotation's
            # own witness reaches too and is no lighter. So an annotation that is too
            # large hides neither its true witness nor those of other objects.
            area = np.maximum(self._area(witnesses), 1e-12)
            inside = self._intersection(common, witnesses) / area[None, :]
            part = (inside >= self.INSIDE) & (masses[None, :] <= masses[best][:, None] + 1e-9)
            unclaimed &= ~part.any(axis=0)

        if unclaimed.any():
            doubt = np.minimum(1.0, masses[unclaimed] / self.FULL_UNCLAIMED_MASS)
            worst = max(worst, float(doubt.max()))

        if not np.isfinite(worst):
            return 1.0
        return float(min(1.0, max(0.0, worst)))
