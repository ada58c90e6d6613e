import numpy as np

from metricsmith.sandbox import Metric, Sample

MIN_CONFIDENCE = 0.1
MIN_IOU = 0.6
MIN_SIDE = 0.5  # pixels; keeps the logarithms of degenerate boxes finite
SIZE_BINS = 5
MIN_BIN = 10  # fewer rows than this give no trustworthy median and MAD
MAD_FLOOR = 0.03

# What the last column of a measured row says about its image.
EMPTY, MISSING, NO_WITNESS, JUDGED = 0.0, 1.0, 2.0, 3.0


def _as_boxes(boxes) -> np.ndarray:
    """Boxes as a (K, 4) float64 array; None becomes an array without rows."""
    if boxes is None:
        return np.zeros((0, 4))
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def _iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """IoU of one box with each of several boxes; 0 where the union is empty."""
    width = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])
    height = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])
    shared = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return shared / np.maximum(area + areas - shared, 1e-9)


def _centres(boxes: np.ndarray) -> np.ndarray:
    return 0.5 * (boxes[..., :2] + boxes[..., 2:])


def _log_sides(box: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(box[2:] - box[:2], MIN_SIDE))


def _nearest(boxes: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The box that overlaps the reference most; equal overlaps: nearest centre."""
    distance = np.linalg.norm(_centres(boxes) - _centres(reference), axis=1)
    return boxes[np.lexsort((distance, -_iou(reference, boxes)))[0]]


def _consensus(sample: Sample):
    """Most confident prediction averaged with those that agree with it, or None."""
    scores = np.asarray(sample.predictions.scores, dtype=np.float64).reshape(-1)
    if scores.size == 0 or scores[0] < MIN_CONFIDENCE:
        return None
    boxes = _as_boxes(sample.predictions.boxes).copy()
    # Annotations lie inside the image, so the predictions are cut to it as well.
    height, width = sample.image.shape[:2]
    boxes[:, 0::2] = np.clip(boxes[:, 0::2], 0.0, width)
    boxes[:, 1::2] = np.clip(boxes[:, 1::2], 0.0, height)
    agreeing = _iou(boxes[0], boxes) >= MIN_IOU
    agreeing[0] = True
    return np.average(boxes[agreeing], axis=0, weights=scores[agreeing])


def _absolute_robust_z(values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """|z| of each value within its bin; 0 for NaN. Sparse bins use all rows."""
    result = np.zeros(values.shape[0])
    known = np.isfinite(values)
    if not known.any():
        return result
    for index in np.unique(bins):
        rows = known & (bins == index)
        if not rows.any():
            continue
        enough = np.count_nonzero(rows) >= MIN_BIN
        reference = values[rows] if enough else values[known]
        centre = np.median(reference)
        mad = max(float(np.median(np.abs(reference - centre))), MAD_FLOOR)
        result[rows] = np.abs(values[rows] - centre) / (1.4826 * mad)
    return result


class ConsensusBoxDeviation(Metric):
    """Low: the box agrees with its witnesses; high: it is misplaced, mis-sized or missing.

    The witnesses are the held-out detector's consensus prediction p (position and
    size) and the boxes of the previous and next frame (size only). The size of the
    witness is the median of their log widths and of their log heights. A row holds
    the centre offset from p in units of the witness's size, the log width and log
    height ratio of annotation to witness, the witness's log size, whether p exists
    (without it, `rank` treats the offsets as NaN), and the state of the image.
    `rank` turns these into robust z values within five bins of witness size.
    """

    level = "image"
    suspicious = "high"

    def measure(self, sample: Sample) -> np.ndarray:
        row = np.zeros(7)
        boxes = _as_boxes(sample.boxes)
        neighbours = [_as_boxes(sample.previous_boxes), _as_boxes(sample.next_boxes)]
        neighbours = [found for found in neighbours if len(found)]

        if len(boxes) == 0:
            row[6] = MISSING if neighbours else EMPTY
            return row

        prediction = _consensus(sample)
        if prediction is None and not neighbours:
            row[6] = NO_WITNESS
            return row

        # With several annotations, judge the one that p means, else the largest.
        if prediction is not None:
            box = _nearest(boxes, prediction)
            reference = prediction
        else:
            areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
            box = boxes[int(np.argmax(areas))]
            reference = box

        sides = [_log_sides(_nearest(found, reference)) for found in neighbours]
        if prediction is not None:
            sides.append(_log_sides(prediction))
        witness = np.median(np.stack(sides), axis=0)
        log_size = 0.5 * float(witness.sum())

        if prediction is not None:
            row[0:2] = (_centres(box) - _centres(prediction)) / np.exp(log_size)
            row[5] = 1.0
        row[2:4] = _log_sides(box) - witness
        row[4] = log_size
        row[6] = JUDGED
        return row

    def rank(self, measurements: np.ndarray) -> np.ndarray:
        rows = np.asarray(measurements, dtype=np.float64)
        if rows.size == 0:
            return np.zeros(0)
        rows = rows.reshape(-1, 7)
        state = rows[:, 6]
        scores = np.zeros(rows.shape[0])

        judged = state == JUDGED
        middle, top = 0.0, 1.0
        if judged.any():
            numbers = rows[judged, 0:4].copy()
            numbers[rows[judged, 5] < 0.5, 0:2] = np.nan
            size = rows[judged, 4]
            count = min(SIZE_BINS, max(1, size.size // MIN_BIN))
            if count > 1:
                edges = np.quantile(size, np.arange(1, count) / count)
                bins = np.searchsorted(edges, size, side="right")
            else:
                bins = np.zeros(size.size, dtype=np.int64)
            deviations = [_absolute_robust_z(numbers[:, k], bins) for k in range(4)]
            greatest = np.max(np.stack(deviations), axis=0)
            scores[judged] = greatest
            middle = float(np.median(greatest))
            top = float(np.max(greatest)) + 1.0

        scores[state == NO_WITNESS] = middle
        scores[state == MISSING] = top
        return scores
