import cv2
import numpy as np
from metricsmith.sandbox import Metric, Sample

SLOTS = 6  # boxes measured in an image, largest first
WIDTH = 10  # numbers a box: state (0 none, 1 no silhouette, 2 silhouette), box, silhouette's box, trust


def sky_residual(lab: np.ndarray) -> np.ndarray:
    """Norm of the lightly blurred difference to a robust quadratic sky in each channel."""
    h, w = lab.shape[:2]
    y, x = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    step = max(1, int((h * w / 2500) ** 0.5))
    a = terms[::step, ::step].reshape(-1, 6)
    b = lab[::step, ::step].reshape(-1, 3).astype(np.float64)
    weight = np.ones(len(a))
    for _ in range(8):
        aw = a * weight[:, None]
        coef = np.linalg.solve(a.T @ aw + 1e-6 * np.eye(6), aw.T @ b)
        distance = np.linalg.norm(b - a @ coef, axis=1)
        scale = 1.5 * max(np.median(distance), 0.5)
        weight = 1 / (1 + (distance / scale) ** 2) ** 2
    residual = (lab - terms @ coef).astype(np.float32)
    return np.linalg.norm(cv2.GaussianBlur(residual, (3, 3), 0), axis=2)


def silhouette(image: np.ndarray, box: np.ndarray):
    """Box (x1, y1, x2, y2) around what stands out from the sky in the box, and its trust; or None.

    Trust is the silhouette's share of all that stands out in the crop: low in clutter.
    """
    height, width = image.shape[:2]
    centre, side = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    half = np.maximum(1.5 * side, 0.5 * side + 8)  # a tiny box still needs some sky around it
    x0, y0 = np.maximum(np.floor(centre - half), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(centre + half), [width, height]).astype(int)
    full = np.array([x1 - x0, y1 - y0])
    shrink = min(1.0, 200 / full.max())
    small = np.maximum(np.rint(full * shrink), 1).astype(int)
    crop = cv2.resize(image[y0:y1, x0:x1], (int(small[0]), int(small[1])),
                      interpolation=cv2.INTER_AREA)
    r = sky_residual(cv2.cvtColor(crop, cv2.COLOR_RGB2LAB).astype(np.float32))

    scaled = (box - [x0, y0, x0, y0]) * np.tile(small / full, 2)
    low = np.clip(np.floor(scaled[:2]), 0, small - 1).astype(int)
    high = np.maximum(np.minimum(np.ceil(scaled[2:]), small), low + 1).astype(int)
    in_box = (slice(low[1], high[1]), slice(low[0], high[0]))

    noise = max(float(np.median(r)), 0.5)  # median absolute deviation from the fitted sky
    threshold = max(4 * noise, 0.12 * float(r[in_box].max()))
    border_low = np.array([x0, y0]) == 0  # the image ends here: a cut plane may touch it
    border_high = np.array([x1, y1]) == [width, height]
    for factor in (1.0, 1.5, 2.25):  # higher if the plane is merged with clutter from outside
        mask = (r > factor * threshold).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        start = stats[:, :2].astype(np.float64)
        end = start + stats[:, 2:4]
        inside = ((start > 0) | border_low).all(axis=1) & ((end < small) | border_high).all(axis=1)
        inside[0] = False  # the background
        box_energy = np.bincount(labels[in_box].ravel(), weights=r[in_box].ravel(), minlength=count)
        box_energy[0] = 0
        main = int(np.argmax(box_energy))
        if inside[main]:
            break
    else:
        return None
    energy = np.bincount(labels.ravel(), weights=r.ravel(), minlength=count)
    reach = 0.5 * np.sqrt(np.prod(end[main] - start[main]))
    gap = np.maximum(start - end[main], start[main] - end)
    near = inside & (gap <= reach).all(axis=1) & (energy >= 0.1 * energy[main])  # no specks
    corners = np.concatenate([start[near].min(axis=0), end[near].max(axis=0)])
    trust = energy[near].sum() / max(energy[inside].sum(), 1e-9)
    return np.append(corners * np.tile(full / small, 2) + [x0, y0, x0, y0], trust)


class PaddedSilhouetteIoU(Metric):
    """Low: every box fits the silhouette in it, padded as is usual; high: a box is misplaced or missing.

    The usual padding is the pool's median for boxes of similar size, so that small planes that
    are boxed loosely, as always, do not count as wrong. (Not for silhouettes of similar size: small
    ones are often fragments, whose huge padding would then be usual for whole small planes.)
    The less a silhouette can be trusted, the closer its score is to that of no silhouette.
    """

    level = "image"
    suspicious = "high"

    def measure(self, sample: Sample) -> np.ndarray:
        height, width = sample.image.shape[:2]
        boxes = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4)
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        order = np.argsort(-area, kind="stable")[:SLOTS]
        rows = np.zeros((SLOTS, WIDTH))
        for row, box in zip(rows, boxes[order]):
            found = silhouette(sample.image, box)
            row[0] = 1 if found is None else 2
            row[1:5] = box
            if found is not None:
                row[5:] = found
        return np.concatenate([[width, height], rows.ravel()])

    def rank(self, measurements: np.ndarray) -> np.ndarray:
        data = np.asarray(measurements, dtype=np.float64).reshape(-1, 2 + SLOTS * WIDTH)
        slots = data[:, 2:].reshape(-1, SLOTS, WIDTH)
        state = slots[..., 0]
        found = state == 2
        scores = np.full(state.shape, -1.0)
        no_silhouette = 0.5
        if found.any():
            box, sil, trust = slots[found][:, 1:5], slots[found][:, 5:9], slots[found][:, 9]
            limit = np.repeat(data[:, None, :2], SLOTS, axis=1)[found]
            box_side, side = box[:, 2:] - box[:, :2], sil[:, 2:] - sil[:, :2]
            padding = (box_side - side) / np.maximum(side, 1e-6)
            good = trust >= np.median(trust)
            size = np.sqrt(np.prod(box_side, axis=1))
            quintile = np.searchsorted(np.quantile(size, [0.2, 0.4, 0.6, 0.8]), size)
            for q in np.unique(quintile):
                group = quintile == q
                usual = group & good if (group & good).any() else group
                padding[group] = np.median(padding[usual], axis=0)
            grow = padding * side / 2
            low = np.maximum(sil[:, :2] - grow, 0)
            high = np.minimum(sil[:, 2:] + grow, limit)
            overlap = np.minimum(high, box[:, 2:]) - np.maximum(low, box[:, :2])
            inter = np.prod(np.maximum(overlap, 0), axis=1)
            padded_area = np.prod(np.maximum(high - low, 0), axis=1)
            union = padded_area + np.prod(box_side, axis=1) - inter
            iou = inter / np.maximum(union, 1e-9)
            no_silhouette = np.quantile(1 - iou[good], 0.4)
            trust = trust * np.clip(iou / 0.2, 0, 1)  # hardly any overlap: a fragment or clutter
            scores[found] = no_silhouette + trust * (1 - iou - no_silhouette)
        scores[state == 1] = no_silhouette
        return np.where((state > 0).any(axis=1), scores.max(axis=1), 1.1)
