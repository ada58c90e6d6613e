import numpy as np
from metricsmith.sandbox import Metric, Sample

MIN_CONFIDENCE = 0.1
MIN_IOU = 0.1
MIN_VIDEO_BOXES = 5
SOFTENING = 0.1
WORST = 10.0
CAP = 32  # matched boxes kept per image, so that every row has the same length
HEAD = 7  # three hash pieces, has video, boxes, unmatched boxes, matched boxes kept
PARTS = 4  # centre offset x, centre offset y, log width ratio, log height ratio


def _video_code(group):
    """Three 20-bit pieces of an FNV-1a hash of the video's name (same in every process)."""
    value = 14695981039346656037
    for byte in str(group).encode("utf-8", "surrogatepass"):
        value = ((value ^ byte) * 1099511628211) & 0xFFFFFFFFFFFFFFFF
    return value & 0xFFFFF, (value >> 20) & 0xFFFFF, (value >> 40) & 0xFFFFF


def _iou(a, b):
    """IoU of every box of a with every box of b."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.maximum(bottom_right - top_left, 0.0), axis=2)
    area_a = np.prod(np.maximum(a[:, 2:] - a[:, :2], 0.0), axis=1)
    area_b = np.prod(np.maximum(b[:, 2:] - b[:, :2], 0.0), axis=1)
    union = area_a[:, None] + area_b[None, :] - inter
    return inter / np.maximum(union, 1e-12)


def _spread(vectors):
    """Median and median absolute deviation of each component."""
    centre = np.median(vectors, axis=0)
    return centre, np.median(np.abs(vectors - centre), axis=0)


class VideoBiasedPlace(Metric):
    """Low: every box deviates from its prediction as its video usually does; high: a box is misplaced, mis-sized, unsupported or missing.

    Each box is matched to the prediction (confidence and IoU at least 0.1) with the
    greatest confidence x IoU. The signed place and size errors are freed of the
    video's own bias (median) and spread (0.1 + MAD); the norm, at most 10, is the
    box's score. An unmatched box and an image without boxes get 10. The image gets
    the greatest score of its boxes.
    """

    level = "image"
    suspicious = "high"

    def measure(self, sample: Sample) -> np.ndarray:
        row = np.zeros(HEAD + CAP * PARTS, dtype=np.float64)
        if sample.group is not None:
            row[0:3] = _video_code(sample.group)
            row[3] = 1.0

        boxes = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4)
        count = len(boxes)
        row[4] = count
        if count == 0:
            return row

        predicted = np.asarray(sample.predictions.boxes, dtype=np.float64).reshape(-1, 4)
        confidence = np.asarray(sample.predictions.scores, dtype=np.float64).reshape(-1)
        keep = confidence >= MIN_CONFIDENCE
        predicted, confidence = predicted[keep], confidence[keep]
        if len(predicted) == 0:
            row[5] = count
            return row

        overlap = _iou(boxes, predicted)
        value = np.where(overlap >= MIN_IOU, overlap * confidence[None, :], -1.0)
        best = np.argmax(value, axis=1)
        matched = value[np.arange(count), best] > 0.0
        row[5] = count - int(matched.sum())
        if not matched.any():
            return row

        box = boxes[matched]
        pred = predicted[best[matched]]
        box_size = np.maximum(box[:, 2:] - box[:, :2], 1e-6)
        pred_size = np.maximum(pred[:, 2:] - pred[:, :2], 1e-6)
        offset = 0.5 * (box[:, :2] + box[:, 2:] - pred[:, :2] - pred[:, 2:]) / pred_size
        vectors = np.concatenate([offset, np.log(box_size / pred_size)], axis=1)
        vectors = np.nan_to_num(vectors, nan=0.0, posinf=100.0, neginf=-100.0)

        if len(vectors) > CAP:  # the worst ones decide the image's score
            order = np.argsort(-np.linalg.norm(vectors, axis=1), kind="stable")
            vectors = vectors[order[:CAP]]
        row[6] = len(vectors)
        row[HEAD:HEAD + vectors.size] = vectors.ravel()
        return row

    def rank(self, measurements) -> np.ndarray:
        rows = np.asarray(measurements, dtype=np.float64)
        if rows.size == 0:
            return np.zeros(0, dtype=np.float64)
        rows = np.atleast_2d(rows)
        total = len(rows)

        empty = rows[:, 4] < 0.5
        unmatched = rows[:, 5] > 0.5
        scores = np.where(empty | unmatched, WORST, 0.0)

        kept = np.rint(rows[:, 6]).astype(np.int64)
        valid = np.arange(CAP)[None, :] < kept[:, None]
        vectors = rows[:, HEAD:].reshape(total, CAP, PARTS)[valid]
        owner = np.nonzero(valid)[0]
        if len(vectors) == 0:
            return scores

        if len(vectors) >= MIN_VIDEO_BOXES:
            pool_centre, pool_mad = _spread(vectors)
        else:  # too few boxes to know any bias: the raw deviation
            pool_centre, pool_mad = np.zeros(PARTS), np.zeros(PARTS)
        centre = np.tile(pool_centre, (len(vectors), 1))
        mad = np.tile(pool_mad, (len(vectors), 1))

        _, video = np.unique(rows[:, :4], axis=0, return_inverse=True)
        video = np.asarray(video).reshape(-1)[owner]
        order = np.argsort(video, kind="stable")
        cuts = np.nonzero(np.diff(video[order]))[0] + 1
        for members in np.split(order, cuts):
            in_video = rows[owner[members[0]], 3] > 0.5
            if in_video and len(members) >= MIN_VIDEO_BOXES:
                video_centre, video_mad = _spread(vectors[members])
                centre[members] = video_centre
                mad[members] = video_mad

        deviation = np.linalg.norm((vectors - centre) / (SOFTENING + mad), axis=1)
        deviation = np.minimum(deviation, WORST)
        np.maximum.at(scores, owner, deviation)
        return scores
