import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from metricsmith.sandbox import Metric, Sample

MAX_BOXES = 6          # boxes of an image that get a silhouette
HEAD = 4               # number of boxes, worst of the remaining boxes, width, height
FIELDS = 18            # valid, box (4), silhouette (4), quality, previous (4), next (4)
ROW = HEAD + MAX_BOXES * FIELDS
DEFAULT_PADDING = 1.2  # box / silhouette where the data set is too small for a norm
USUAL = 0.7            # quantile of the deviations that counts as usual
FAR = 1e4


def _background(crop, inside):
    """Robust quadratic surface through the sky of a crop, one per channel."""
    height, width = crop.shape[:2]
    y, x = np.mgrid[-1:1:height * 1j, -1:1:width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    step = max(1, int(np.sqrt(height * width / 4000.0)))
    design = terms[::step, ::step].reshape(-1, 6)
    pixels = crop[::step, ::step].reshape(-1, 3).astype(np.float64)
    outside = ~inside[::step, ::step].reshape(-1)
    if outside.sum() < 30:
        outside = np.ones(len(pixels), dtype=bool)
    deviation = np.abs(pixels - np.median(pixels[outside], axis=0)).max(axis=1)
    keep = outside & (deviation <= np.quantile(deviation[outside], 0.85))
    coefficients = np.zeros((6, 3))
    coefficients[0] = np.median(pixels[outside], axis=0)
    for _ in range(4):
        if keep.sum() < 12:
            break
        part = design[keep]
        coefficients = np.linalg.lstsq(part.T @ part, part.T @ pixels[keep], rcond=None)[0]
        residual = np.abs(pixels - design @ coefficients).max(axis=1)
        keep = residual <= max(2.0, 2.5 * 1.4826 * float(np.median(residual)))
    return (terms.reshape(-1, 6) @ coefficients).reshape(height, width, 3)


def _hat(crop, inside, ref_w, ref_h):
    """What is darker (or brighter) than its surroundings and no larger than the object.

    Unlike the surface through the sky it is not disturbed by a horizon or by buildings.
    Returns the contrast and the threshold below which it is noise.
    """
    gray = np.clip(crop.mean(axis=2), 0, 255).astype(np.uint8)
    gray = cv2.GaussianBlur(gray, (3, 3), 0)
    kernel_w = min(151, 2 * int(0.75 * ref_w + 2.0) + 1)
    kernel_h = min(151, 2 * int(0.75 * ref_h + 2.0) + 1)
    kernel = np.ones((kernel_h, kernel_w), dtype=np.uint8)
    outside = ~inside
    if outside.sum() < 16:
        outside = np.ones_like(inside)
    best = None
    for kind in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT):
        hat = cv2.morphologyEx(gray, kind, kernel).astype(np.float32)
        sky = hat[outside]
        level = float(np.median(sky))
        noise = 1.4826 * float(np.median(np.abs(sky - level)))
        excess = float(hat[inside].mean()) - level
        if best is None or excess > best[0]:
            best = (excess, np.maximum(hat - level, 0.0), max(6.0, 5.0 * noise))
    return best[1], best[2]


def _blobs(contrast, base, inside, spot, small_others, cut, limits, smallest, kernel):
    """Best blob at the box for each of several thresholds.

    Returns a list of (rectangle, weight), the number of thresholds, and contrast over noise.
    """
    hot = contrast[inside & (contrast > base)]
    if hot.size < 2:
        return [], 3, 0.0
    typical = float(np.median(hot))
    height, width = contrast.shape
    ix1, iy1, ix2, iy2 = spot
    limit_w, limit_h = limits
    found = []
    runs = 0
    last = None
    for factor in (0.35, 0.55, 0.75):
        threshold = max(base, factor * typical)
        if threshold == last:
            continue
        last = threshold
        runs += 1
        mask = (contrast > threshold).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
        count, names, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
        if count < 2:
            continue
        flat = names.ravel()
        mass = np.bincount(flat, weights=contrast.ravel(), minlength=count)
        inner = np.bincount(flat, weights=(contrast * inside).ravel(), minlength=count)
        worth = np.sqrt(np.maximum(mass * inner, 0.0))
        worth[0] = -1.0
        candidates = []
        for i in np.argsort(-worth, kind="stable")[:8]:
            if worth[i] <= 0:
                continue
            cx, cy = float(centres[i, 0]) + 0.5, float(centres[i, 1]) + 0.5
            own = ix1 <= cx <= ix2 and iy1 <= cy <= iy2
            foreign = bool(np.any(
                (small_others[:, 0] <= cx) & (cx <= small_others[:, 2])
                & (small_others[:, 1] <= cy) & (cy <= small_others[:, 3])
            ))
            value = float(worth[i]) * (0.1 if foreign and not own else 1.0)
            a1, b1 = int(stats[i, cv2.CC_STAT_LEFT]), int(stats[i, cv2.CC_STAT_TOP])
            a2 = a1 + int(stats[i, cv2.CC_STAT_WIDTH])
            b2 = b1 + int(stats[i, cv2.CC_STAT_HEIGHT])
            touches = (
                (a1 == 0 and cut[0]) or (b1 == 0 and cut[1])
                or (a2 == width and cut[2]) or (b2 == height and cut[3])
            )
            valid = (
                not touches
                and int(stats[i, cv2.CC_STAT_AREA]) >= 3
                and a2 - a1 <= limit_w and b2 - b1 <= limit_h
            )
            candidates.append((value, (a1, b1, a2, b2), valid, own, foreign, float(mass[i])))
        candidates.sort(key=lambda c: -c[0])

        for position, main in enumerate(candidates):
            if not main[2]:
                continue
            a1, b1, a2, b2 = main[1]
            reach = 0.25 * max(a2 - a1, b2 - b1) + 1.0
            for other in candidates:
                if other is main or not other[2] or not other[3] or other[4]:
                    continue
                if other[5] < 0.15 * main[5]:
                    continue
                c1, d1, c2, d2 = other[1]
                gap = max(c1 - main[1][2], main[1][0] - c2, d1 - main[1][3], main[1][1] - d2)
                if gap > reach:
                    continue
                m1, n1, m2, n2 = min(a1, c1), min(b1, d1), max(a2, c2), max(b2, d2)
                if m2 - m1 <= limit_w and n2 - n1 <= limit_h:
                    a1, b1, a2, b2 = m1, n1, m2, n2
            if (a2 - a1) * (b2 - b1) < smallest:
                continue
            found.append(((a1, b1, a2, b2), 1.0 if position == 0 else 0.5))
            break
    return found, max(runs, 1), typical / base


def _overlaps(rects):
    """IoU of each rectangle with each other."""
    low = np.maximum(rects[:, None, :2], rects[None, :, :2])
    high = np.minimum(rects[:, None, 2:], rects[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    area = np.prod(np.maximum(rects[:, 2:] - rects[:, :2], 0.0), axis=1)
    return shared / np.maximum(area[:, None] + area[None, :] - shared, 1e-9)


def _silhouette(image, box, others, expected, max_side):
    """Bounding box of what stands out at the box and how far it can be trusted, or None."""
    image_h, image_w = image.shape[:2]
    x1, y1, x2, y2 = (float(v) for v in box)
    box_w, box_h = max(x2 - x1, 1.0), max(y2 - y1, 1.0)
    if expected is None:
        ref_w, ref_h = box_w, box_h
    else:
        ref_w, ref_h = max(float(expected[0]), 1.0), max(float(expected[1]), 1.0)
    reach_w, reach_h = max(box_w, ref_w), max(box_h, ref_h)
    margin_x = max(reach_w, 0.5 * reach_h) + 8.0
    margin_y = max(reach_h, 0.5 * reach_w) + 8.0
    left = int(max(0, np.floor(x1 - margin_x)))
    top = int(max(0, np.floor(y1 - margin_y)))
    right = int(min(image_w, np.ceil(x2 + margin_x)))
    bottom = int(min(image_h, np.ceil(y2 + margin_y)))
    if right - left < 5 or bottom - top < 5:
        return None
    crop = np.ascontiguousarray(image[top:bottom, left:right])
    scale = min(1.0, max_side / float(max(crop.shape[:2])))
    width = max(5, int(round(crop.shape[1] * scale)))
    height = max(5, int(round(crop.shape[0] * scale)))
    sx, sy = width / float(right - left), height / float(bottom - top)
    if (height, width) != crop.shape[:2]:
        crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
    crop = crop.astype(np.float32)
    small_w, small_h = ref_w * sx, ref_h * sy
    if min(small_w, small_h) >= 24:
        crop = cv2.GaussianBlur(crop, (3, 3), 0)

    ix1 = int(np.clip(np.floor((x1 - left) * sx), 0, width - 1))
    iy1 = int(np.clip(np.floor((y1 - top) * sy), 0, height - 1))
    ix2 = int(np.clip(np.ceil((x2 - left) * sx), ix1 + 1, width))
    iy2 = int(np.clip(np.ceil((y2 - top) * sy), iy1 + 1, height))
    inside = np.zeros((height, width), dtype=bool)
    inside[iy1:iy2, ix1:ix2] = True

    contrast = np.abs(crop - _background(crop, inside)).max(axis=2)
    sky = contrast[~inside]
    if sky.size < 16:
        sky = contrast.ravel()
    base = max(5.0, 4.0 * 1.4826 * float(np.median(sky)))
    hat, hat_base = _hat(crop, inside, small_w, small_h)

    small_others = (others - np.array([left, top, left, top])) * np.array([sx, sy, sx, sy])
    radius = int(np.clip(round(0.03 * min(small_w, small_h)), 1, 4))
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), dtype=np.uint8)
    limits = (1.8 * small_w + 4.0 * sx, 1.8 * small_h + 4.0 * sy)
    smallest = 0.04 * small_w * small_h
    cut = (left > 0, top > 0, right < image_w, bottom < image_h)
    spot = (ix1, iy1, ix2, iy2)

    found = []
    runs = 0
    strength = 0.0
    for level, noise in ((contrast, base), (hat, hat_base)):
        blobs, tried, ratio = _blobs(
            level, noise, inside, spot, small_others, cut, limits, smallest, kernel
        )
        found.extend(blobs)
        runs += tried
        strength = max(strength, ratio)
    if not found:
        return None

    # The blob the thresholds and both contrasts agree on, and how well they agree.
    rects = np.array([f[0] for f in found], dtype=np.float64)
    weights = np.array([f[1] for f in found])
    overlaps = _overlaps(rects)
    support = overlaps @ weights / float(runs)
    if expected is None:
        plausible = np.full(len(rects), 0.7)
    else:
        size = (rects[:, 2:] - rects[:, :2]) / np.array([sx, sy]) * DEFAULT_PADDING
        gap = np.abs(np.log(np.maximum(size, 1e-6) / np.array([ref_w, ref_h]))).sum(axis=1)
        plausible = np.exp(-0.7 * gap)
    best = int(np.argmax(support * plausible))
    a1, b1, a2, b2 = np.median(rects[overlaps[best] >= 0.6], axis=0)
    quality = float(support[best] * plausible[best])
    quality *= 0.5 + 0.5 * float(np.clip((strength - 1.0) / 3.0, 0.0, 1.0))
    silhouette = np.array([left + a1 / sx, top + b1 / sy, left + a2 / sx, top + b2 / sy])
    return silhouette, quality


def _match(boxes, labels, centres, near_boxes, near_labels):
    """Width, height and centre of each box's partner in a neighbouring frame; 0 where none."""
    partners = np.zeros((len(boxes), 4))
    if near_boxes is None or len(near_boxes) == 0 or len(boxes) == 0:
        return partners
    near = np.asarray(near_boxes, dtype=np.float64).reshape(-1, 4)
    near_size = near[:, 2:] - near[:, :2]
    near_centre = 0.5 * (near[:, 2:] + near[:, :2])
    size = boxes[:, 2:] - boxes[:, :2]
    own_side = np.sqrt(np.maximum(size[:, 0] * size[:, 1], 1.0))
    near_side = np.sqrt(np.maximum(near_size[:, 0] * near_size[:, 1], 1.0))
    distance = np.linalg.norm(centres[:, None, :] - near_centre[None, :, :], axis=2)
    ratio = own_side[:, None] / near_side[None, :]
    cost = distance / (0.5 * (own_side[:, None] + near_side[None, :]) + 1.0) + np.abs(np.log(ratio))
    bad = np.zeros(cost.shape, dtype=bool)
    bad |= (near_size.min(axis=1) <= 0.5)[None, :]
    if near_labels is not None and len(near_labels) == len(near):
        bad |= np.asarray(labels)[:, None] != np.asarray(near_labels)[None, :]
    thin = size.min(axis=1) < 1.0
    bad |= ((ratio > 3.5) | (ratio < 1.0 / 3.5)) & ~thin[:, None]
    cost = np.where(bad, FAR, np.minimum(cost, FAR / 2))
    rows, columns = linear_sum_assignment(cost)
    for i, j in zip(rows, columns):
        if not bad[i, j]:
            partners[i, :2] = near_size[j]
            partners[i, 2:] = near_centre[j]
    return partners


def _neighbour_size(previous, following):
    """Typical size of a box's partners in the neighbouring frames, or None."""
    sizes = [p[:2] for p in (previous, following) if (p[:2] > 0).all()]
    if not sizes:
        return None
    return np.exp(np.mean(np.log(np.array(sizes)), axis=0))


def _consensus_size(previous, following, padded):
    """Median of three witnesses, the smaller of two, or the only one; and their number."""
    witnesses = np.stack([previous, following, padded], axis=1)
    present = (witnesses > 0).all(axis=2)
    count = present.sum(axis=1)
    # Missing witnesses sort to the end: the first of one or two, the middle of three.
    ordered = np.sort(np.where(present[:, :, None], witnesses, np.inf), axis=1)
    size = np.where((count == 3)[:, None], ordered[:, 1], ordered[:, 0])
    return np.where((count > 0)[:, None], size, 0.0), count


def _disagreement(box, centre, size, width, height):
    """1 - IoU of each box (P, 4) and its expected box."""
    bounds = np.stack([width, height], axis=1)
    low = np.clip(centre - 0.5 * size, 0.0, bounds)
    high = np.clip(centre + 0.5 * size, 0.0, bounds)
    overlap = np.maximum(np.minimum(high, box[:, 2:]) - np.maximum(low, box[:, :2]), 0.0)
    shared = overlap[:, 0] * overlap[:, 1]
    union = (
        np.prod(np.maximum(high - low, 0.0), axis=1)
        + np.prod(np.maximum(box[:, 2:] - box[:, :2], 0.0), axis=1)
        - shared
    )
    return np.clip(1.0 - shared / np.maximum(union, 1e-9), 0.0, 1.0)


def _gain(deviation, tolerance):
    """Near 0 for a deviation well below the usual one, near 1 for one well above it."""
    return deviation ** 2 / np.maximum(deviation ** 2 + tolerance ** 2, 1e-12)


def _tolerance(values, members, classes, default):
    """The usual deviation of the data set, for each class of witnesses that is large enough."""
    result = np.full(len(values), float(default))
    if members.sum() >= 5:
        result[:] = np.quantile(values[members], USUAL)
    for k in np.unique(classes[members]):
        chosen = members & (classes == k)
        if chosen.sum() >= 8:
            result[classes == k] = np.quantile(values[chosen], USUAL)
    return np.maximum(result, 0.05)


class ConsensusBoxMismatch(Metric):
    """Low: every box agrees with its expected box; high: a box is misplaced, too large or left out.

    The expected box lies on the centre of the silhouette, backed by the path between the
    neighbouring boxes where the silhouette is missing or poor; its width and height are the
    median of the previous box, the next box and the silhouette times the usual padding of the
    data set (the smaller of two witnesses). Deviations that are usual for witnesses of that
    quality in the data set are discounted. The score is 1 - IoU of the worst box, and 1 for an
    image without boxes.
    """

    level = "image"
    suspicious = "high"

    def measure(self, sample: Sample) -> np.ndarray:
        row = np.zeros(ROW)
        image = sample.image
        image_h, image_w = image.shape[:2]
        boxes = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4)
        labels = np.asarray(sample.labels).reshape(-1)
        total = len(boxes)
        row[0], row[2], row[3] = total, image_w, image_h
        if total == 0:
            return row

        own_centres = 0.5 * (boxes[:, :2] + boxes[:, 2:])
        centres = own_centres.copy()
        previous = _match(boxes, labels, centres, sample.previous_boxes, sample.previous_labels)
        following = _match(boxes, labels, centres, sample.next_boxes, sample.next_labels)
        chosen = np.arange(total)
        if total > MAX_BOXES:
            size, count = _consensus_size(previous[:, :2], following[:, :2], np.zeros((total, 2)))
            own = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.5)
            change = np.log(np.where((count > 0)[:, None], size, own) / own)
            gain = _gain(np.abs(change).max(axis=1), 0.2)
            rough = _disagreement(
                boxes, own_centres, own * np.exp(gain[:, None] * change),
                np.full(total, float(image_w)), np.full(total, float(image_h)),
            )
            rough = np.where(count > 0, rough, 0.0)
            order = np.argsort(-rough, kind="stable")
            chosen = order[:MAX_BOXES]
            row[1] = float(rough[order[MAX_BOXES:]].max())

        max_side = 160 if total <= 3 else 112
        silhouettes = np.zeros((total, 4))
        qualities = np.zeros(total)
        for i in chosen:
            found = _silhouette(
                image, boxes[i], np.delete(boxes, i, axis=0),
                _neighbour_size(previous[i], following[i]), max_side,
            )
            if found is not None:
                silhouettes[i], qualities[i] = found
                centres[i] = 0.5 * (silhouettes[i, :2] + silhouettes[i, 2:])

        if total > 1:
            previous = _match(boxes, labels, centres, sample.previous_boxes, sample.previous_labels)
            following = _match(boxes, labels, centres, sample.next_boxes, sample.next_labels)
        slots = row[HEAD:].reshape(MAX_BOXES, FIELDS)
        for slot, i in enumerate(chosen):
            slots[slot, 0] = 1.0
            slots[slot, 1:5] = boxes[i]
            slots[slot, 5:9] = silhouettes[i]
            slots[slot, 9] = qualities[i]
            slots[slot, 10:14] = previous[i]
            slots[slot, 14:18] = following[i]
        return np.nan_to_num(row, nan=0.0, posinf=0.0, neginf=0.0)

    def rank(self, measurements) -> np.ndarray:
        rows = np.asarray(measurements, dtype=np.float64)
        if rows.size == 0:
            return np.zeros(len(rows))
        rows = rows.reshape(-1, ROW)
        images = len(rows)
        slots = rows[:, HEAD:].reshape(images * MAX_BOXES, FIELDS)
        valid = slots[:, 0] > 0.5
        box = slots[:, 1:5]
        silhouette = slots[:, 5:9]
        quality = slots[:, 9]
        previous = slots[:, 10:14]
        following = slots[:, 14:18]
        box_size = np.maximum(box[:, 2:] - box[:, :2], 0.5)
        box_centre = 0.5 * (box[:, :2] + box[:, 2:])
        size = silhouette[:, 2:] - silhouette[:, :2]
        has = valid & (size > 0).all(axis=1)

        # The padding norm: median box / silhouette per third of the silhouette's size.
        ratio = box_size / np.where(has[:, None], size, 1.0)
        extent = np.sqrt(np.maximum(size[:, 0] * size[:, 1], 0.0))
        usable = has & (ratio > 0.3).all(axis=1) & (ratio < 6.0).all(axis=1)
        norm = np.full((len(slots), 2), DEFAULT_PADDING)
        if usable.sum() >= 5:
            norm[:] = np.median(ratio[usable], axis=0)
            first, second = np.quantile(extent[usable], [1.0 / 3.0, 2.0 / 3.0])
            third = (extent > first).astype(int) + (extent > second).astype(int)
            for k in range(3):
                members = usable & (third == k)
                if members.sum() >= 5:
                    norm[third == k] = np.median(ratio[members], axis=0)
        padded = np.where(has[:, None], size * norm, 0.0)

        # The expected size. A silhouette far from the only neighbour's size is no witness of it.
        near_p = valid & (previous[:, :2] > 0).all(axis=1)
        near_n = valid & (following[:, :2] > 0).all(axis=1)
        near = near_p.astype(int) + near_n.astype(int)
        has_near = near > 0
        log_near = (
            np.log(np.maximum(previous[:, :2], 1e-6)) * near_p[:, None]
            + np.log(np.maximum(following[:, :2], 1e-6)) * near_n[:, None]
        ) / np.maximum(near, 1)[:, None]
        gap = np.abs(np.log(np.maximum(padded, 1e-6)) - log_near).mean(axis=1)
        sized = has & ((near != 1) | (gap <= np.log(1.8)))
        expected, count = _consensus_size(
            previous[:, :2], following[:, :2], np.where(sized[:, None], padded, 0.0)
        )
        known = valid & (count > 0)
        expected = np.where(known[:, None], expected, box_size)
        side = np.maximum(np.sqrt(expected[:, 0] * expected[:, 1]), 1.0)

        # How far silhouettes of this quality usually lie from their boxes.
        grade = np.zeros(len(slots), dtype=int)
        if has.sum() >= 8:
            cuts = np.quantile(quality[has], [0.25, 0.5, 0.75])
            grade = np.searchsorted(cuts, quality, side="right").astype(int)
        offset_s = np.where(
            has[:, None], 0.5 * (silhouette[:, :2] + silhouette[:, 2:]) - box_centre, 0.0
        )
        away_s = np.linalg.norm(offset_s, axis=1) / side
        usual_s = _tolerance(away_s, has, grade, 0.12)

        # How far boxes usually lie from the path between their neighbours.
        start = np.where(near_p[:, None], previous[:, 2:], following[:, 2:])
        end = np.where(near_n[:, None], following[:, 2:], previous[:, 2:])
        track = end - start
        length = np.linalg.norm(track, axis=1)
        along = ((box_centre - start) * track).sum(axis=1) / np.maximum(length ** 2, 1e-9)
        nearest = start + np.clip(along, 0.0, 1.0)[:, None] * track
        offset_n = np.where(has_near[:, None], nearest - box_centre, 0.0)
        reach = side + 0.5 * length
        away_n = np.linalg.norm(offset_n, axis=1)
        usual_n = _tolerance(away_n / reach, has_near, near, 0.4) * reach / side
        # A path that passes far away says that the object jumped, not that the box is shifted.
        believable = np.clip((1.6 - away_n / side) / 0.6, 0.0, 1.0)

        # The expected centre: each witness weighs as much as it is usually right.
        weight_s = np.where(has, 1.0 / usual_s ** 2, 0.0)
        weight_n = np.where(has_near, believable / usual_n ** 2, 0.0)
        weight = np.maximum(weight_s + weight_n, 1e-9)
        offset = (offset_s * weight_s[:, None] + offset_n * weight_n[:, None]) / weight[:, None]
        moved = _gain(np.linalg.norm(offset, axis=1) / side, 1.0 / np.sqrt(weight))
        centre = box_centre + moved[:, None] * offset

        # The same for the size, by number of neighbours and quality of the silhouette.
        change = np.log(np.maximum(expected, 1e-6) / box_size)
        amount = np.abs(change).max(axis=1)
        state = near * 3 + np.where(sized, 1 + (grade >= 2).astype(int), 0)
        resized = _gain(amount, _tolerance(amount, known, state, 0.2))
        final = box_size * np.exp(resized[:, None] * change)

        score = _disagreement(
            box, centre, final,
            np.repeat(rows[:, 2], MAX_BOXES), np.repeat(rows[:, 3], MAX_BOXES),
        )
        score = np.where(known, score, 0.0).reshape(images, MAX_BOXES).max(axis=1)
        score = np.maximum(score, rows[:, 1])
        score = np.where(rows[:, 0] < 0.5, 1.0, score)
        return np.nan_to_num(score, nan=0.0, posinf=1.0, neginf=0.0)
