import math

import cv2
import numpy as np
from metricsmith.sandbox import Metric, Sample

MAX_SIDE = 1280      # larger images are downscaled to this long side
MAX_WINDOW = 160     # larger windows are looked at in a halved copy of the image
MAX_MEASURED = 32    # boxes looked at in one image
MAX_KEPT = 12        # boxes kept in the row of one image (the worst ones)
HEAD = 4             # group hash (2), number of boxes, peak of a box-free image
FIELDS = 11          # status, dx, dy, rw, rh, peak, image edges l, t, r, b, evidence
FITTED = 1.0         # status: a silhouette was found
NOTHING = 2.0        # status: no gradient energy in the box
WINDOW = 2.5
MIN_HALF_WINDOW = 8.0
BORDER = 64
LINES = 51           # grid lines over the window, on each axis
STARTS = (0.5, 0.28, 0.8)   # half heights, in boxes, from which the search starts
ROUNDS = 3
MIN_LENGTH = 0.2     # smallest side of a silhouette, in boxes
REACH = 0.3          # a silhouette reaches this near to the box centre, in boxes
PRIOR = 0.2          # cost of a silhouette unlike the box: decides where evidence is weak
EXCESS = 0.5         # weight of the silhouette's area outside of the annotation
MAX_EVIDENCE = 4.0
WEAK = 0.3           # what is left of a fit without any evidence
MIN_VIDEO_BOXES = 5  # a video with fewer boxes uses the values of the whole data set


class GradientSilhouetteMisfit(Metric):
    """Low: every box fits the silhouette its gradients draw; high: a box misses it or an unboxed object is likely.

    In a window 2.5 times the box, the silhouette is the rectangle in which the gradient
    energy stands out most from the rest of the window (scan statistic), so that neither
    even clutter nor the size of the window sets its size. The second pass corrects it by
    the usual annotated/silhouette offsets and size ratios of the video and scores
    1 - overlap with the annotation, where silhouette outside of the annotation counts
    half; weak contrast for the video raises the score, and a video in which silhouettes
    fit badly is levelled. An image gets its worst box. An image without boxes gets 0.6
    to 1 by how strong its gradient peak is among the peaks of all annotated boxes.
    """

    level = "image"
    suspicious = "high"

    def measure(self, sample: Sample) -> np.ndarray:
        row = np.zeros(HEAD + MAX_KEPT * FIELDS, dtype=np.float64)
        row[0], row[1] = self._group_code(sample.group)

        grey, scale_x, scale_y = self._grey(sample.image)
        gradient = self._gradient(grey)
        height, width = gradient.shape

        boxes = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4)
        boxes = np.nan_to_num(boxes) * np.array([scale_x, scale_y, scale_x, scale_y])
        row[2] = len(boxes)

        if len(boxes) == 0:
            bx = min(int(round(BORDER * scale_x)), width // 4)
            by = min(int(round(BORDER * scale_y)), height // 4)
            row[3] = float(gradient[by:height - by, bx:width - bx].max())
            return row

        if len(boxes) > MAX_MEASURED:
            half = MAX_MEASURED // 2
            boxes = np.concatenate([boxes[:half], boxes[-half:]])
        levels = [(grey, gradient)]
        found = [self._fit(levels, boxes, i) for i in range(len(boxes))]
        if len(found) > MAX_KEPT:
            raw = np.array([f[0] for f in found])
            order = np.argsort(-raw, kind="stable")[:MAX_KEPT]
            found = [found[int(i)] for i in order]
        for k, (_, fields) in enumerate(found):
            start = HEAD + k * FIELDS
            row[start:start + FIELDS] = fields
        return np.nan_to_num(row)

    def rank(self, measurements: np.ndarray) -> np.ndarray:
        rows = np.asarray(measurements, dtype=np.float64)
        if rows.size == 0 or rows.ndim != 2:
            return np.zeros(len(rows), dtype=np.float64)

        count = len(rows)
        table = rows[:, HEAD:].reshape(count, MAX_KEPT, FIELDS)
        status = table[:, :, 0]
        fitted = status == FITTED
        nothing = status == NOTHING
        present = fitted | nothing

        code = rows[:, 0] * 65536.0 + rows[:, 1]
        names, inverse = np.unique(code, return_inverse=True)
        inverse = np.asarray(inverse).reshape(-1)
        owners = np.broadcast_to(inverse[:, None], fitted.shape)

        # Usual offset, annotated/silhouette ratio and evidence of each video.
        usual = np.tile(np.array([0.0, 0.0, 1.0, 1.0, 1.0]), (len(names), 1))
        reliable = fitted & (table[:, :, 10] > 0.5)
        if not reliable.any():
            reliable = fitted
        if reliable.any():
            values = table[reliable][:, [1, 2, 3, 4, 10]]
            usual, _ = self._by_video(owners[reliable], values, len(names))
        usual = usual[inverse]
        offset_x = np.clip(usual[:, 0:1], -0.25, 0.25)
        offset_y = np.clip(usual[:, 1:2], -0.25, 0.25)
        ratio_x = np.clip(usual[:, 2:3], 0.5, 2.5)
        ratio_y = np.clip(usual[:, 3:4], 0.5, 2.5)

        # Overlap in the frame in which the annotated box is the unit square around 0.
        dx, dy = table[:, :, 1] - offset_x, table[:, :, 2] - offset_y
        half_w = 0.5 * ratio_x / np.maximum(table[:, :, 3], 1e-6)
        half_h = 0.5 * ratio_y / np.maximum(table[:, :, 4], 1e-6)
        left = np.maximum(dx - half_w, table[:, :, 6])
        top = np.maximum(dy - half_h, table[:, :, 7])
        right = np.minimum(dx + half_w, table[:, :, 8])
        bottom = np.minimum(dy + half_h, table[:, :, 9])
        area = np.maximum(right - left, 0.0) * np.maximum(bottom - top, 0.0)
        over_x = np.maximum(np.minimum(right, 0.5) - np.maximum(left, -0.5), 0.0)
        over_y = np.maximum(np.minimum(bottom, 0.5) - np.maximum(top, -0.5), 0.0)
        inter = over_x * over_y
        overlap = inter / (1.0 + EXCESS * np.maximum(area - inter, 0.0))

        # A silhouette that stands out far less than is usual in its video proves little.
        enough = np.maximum(0.6 * usual[:, 4:5], 0.1)
        trust = WEAK + (1.0 - WEAK) * np.clip(table[:, :, 10] / enough, 0.0, 1.0)
        box_score = np.where(fitted, 1.0 - overlap * trust, 1.0)
        box_score = np.clip(np.nan_to_num(box_score), 0.002, 0.998)

        # Level the videos in which silhouettes fit generally well or generally badly.
        if present.any():
            logit = np.log(box_score / (1.0 - box_score))
            middle, sizes = self._by_video(
                owners[present], logit[present].reshape(-1, 1), len(names))
            centre = float(np.median(logit[present]))
            change = np.clip(middle[:, 0] - centre, -1.0, 1.0)
            change = 0.6 * change * sizes / (sizes + 5.0)
            box_score = 1.0 / (1.0 + np.exp(change[inverse][:, None] - logit))
        box_score = np.where(present, box_score, 0.0)

        # The worst box, and a little of the others so that each of them counts.
        worst = box_score.max(axis=1)
        others = np.maximum(present.sum(axis=1) - 1, 1)
        rest = np.maximum(box_score.sum(axis=1) - worst, 0.0) / others
        scores = worst + 0.15 * (1.0 - worst) * rest

        # Images without boxes: how object-like is their strongest gradient?
        empty = rows[:, 2] < 0.5
        if empty.any():
            peaks = np.sort(table[:, :, 5][present])
            if len(peaks):
                part = np.searchsorted(peaks, rows[empty, 3], side="right") / len(peaks)
            else:
                part = np.full(int(empty.sum()), 0.5)
            scores[empty] = 0.6 + 0.4 * part

        return np.clip(np.nan_to_num(scores), 0.0, 1.0)

    @staticmethod
    def _by_video(owner, values, count):
        """Medians of the rows of values for each video, and how many rows it has."""
        medians = np.tile(np.median(values, axis=0), (count, 1))
        sizes = np.bincount(owner, minlength=count).astype(np.float64)
        order = np.argsort(owner, kind="stable")
        owner, values = owner[order], values[order]
        cuts = np.flatnonzero(np.diff(owner)) + 1
        starts = np.concatenate([[0], cuts])
        ends = np.concatenate([cuts, [len(owner)]])
        for a, b in zip(starts, ends):
            if b - a >= MIN_VIDEO_BOXES:
                medians[owner[a]] = np.median(values[a:b], axis=0)
        return medians, sizes

    @staticmethod
    def _group_code(group):
        """A hash of the video's name that is the same in every process (FNV-1a)."""
        if group is None:
            return -1.0, 0.0
        value = 2166136261
        for byte in str(group).encode("utf-8", "replace"):
            value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
        return float(value >> 16), float(value & 0xFFFF)

    @staticmethod
    def _grey(image):
        """Grey image, and the scale it was taken at."""
        grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        height, width = grey.shape
        scale_x = scale_y = 1.0
        longest = max(height, width)
        if longest > MAX_SIDE:
            new_w = max(1, int(round(width * MAX_SIDE / longest)))
            new_h = max(1, int(round(height * MAX_SIDE / longest)))
            grey = cv2.resize(grey, (new_w, new_h), interpolation=cv2.INTER_AREA)
            scale_x, scale_y = new_w / width, new_h / height
        return grey, scale_x, scale_y

    @staticmethod
    def _gradient(grey):
        """Gradient magnitude in grey levels per pixel."""
        gx = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3, scale=0.125,
                       borderType=cv2.BORDER_REPLICATE)
        gy = cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3, scale=0.125,
                       borderType=cv2.BORDER_REPLICATE)
        return cv2.magnitude(gx, gy)

    @staticmethod
    def _span(low, high, size):
        """Whole-pixel range that covers low..high, inside 0..size, never empty."""
        start = min(max(int(math.floor(low)), 0), size - 1)
        end = max(min(int(math.ceil(high)), size), start + 1)
        return start, end

    @staticmethod
    def _table(pixels, ys, xs):
        """Sums of the pixels above and left of each crossing of the grid lines."""
        sums = cv2.integral(np.ascontiguousarray(pixels, dtype=np.float32))
        sums = np.asarray(sums, dtype=np.float64)
        y0 = np.clip(ys.astype(np.int64), 0, sums.shape[0] - 2)
        x0 = np.clip(xs.astype(np.int64), 0, sums.shape[1] - 2)
        fy = (ys - y0)[:, None]
        fx = (xs - x0)[None, :]
        lines = sums[y0] * (1.0 - fy) + sums[y0 + 1] * fy
        return lines[:, x0] * (1.0 - fx) + lines[:, x0 + 1] * fx

    @staticmethod
    def _intervals(t):
        """Allowed intervals between grid lines at t (in boxes from its centre), and their cost."""
        low, high = np.triu_indices(len(t), 1)
        length = t[high] - t[low]
        allowed = (length >= MIN_LENGTH) & (t[low] <= REACH) & (t[high] >= -REACH)
        if not allowed.any():
            allowed = length > 1e-6
            if not allowed.any():
                return None
        low, high, length = low[allowed], high[allowed], length[allowed]
        middle = 0.5 * (t[low] + t[high])
        cost = PRIOR * (np.log(length) ** 2 + (2.0 * middle) ** 2)
        return low, high, cost

    @staticmethod
    def _best(energy, area, intervals, total_energy, total_area):
        """The interval whose energy stands out most from the rest of the window."""
        low, high, cost = intervals
        c = (energy[high] - energy[low]) / total_energy
        a = (area[high] - area[low]) / total_area
        c = np.minimum(np.maximum(c, 1e-9), 1.0 - 1e-9)
        a = np.minimum(np.maximum(a, 1e-6), 1.0 - 1e-6)
        gain = c * np.log(c / a) + (1.0 - c) * np.log((1.0 - c) / (1.0 - a))
        value = np.where(c > a, gain, -gain) - cost
        k = int(np.argmax(value))
        return k, float(value[k])

    def _silhouette(self, energy, area, tx, ty):
        """Grid lines (x0, x1, y0, y1) of the silhouette, by turns along x and along y."""
        along_x, along_y = self._intervals(tx), self._intervals(ty)
        total_energy = float(energy[-1, -1] - energy[0, -1] - energy[-1, 0] + energy[0, 0])
        total_area = float(area[-1, -1] - area[0, -1] - area[-1, 0] + area[0, 0])
        if along_x is None or along_y is None or total_energy <= 1e-6 or total_area <= 1e-6:
            return None

        best, best_value = None, -math.inf
        for reach in STARTS:
            j0 = int(np.argmin(np.abs(ty + reach)))
            j1 = int(np.argmin(np.abs(ty - reach)))
            if ty[j1] - ty[j0] <= 1e-6:
                j0, j1 = 0, len(ty) - 1
            last = None
            for _ in range(ROUNDS):
                kx, _unused = self._best(energy[j1] - energy[j0], area[j1] - area[j0],
                                         along_x, total_energy, total_area)
                i0, i1 = int(along_x[0][kx]), int(along_x[1][kx])
                ky, value = self._best(energy[:, i1] - energy[:, i0],
                                       area[:, i1] - area[:, i0],
                                       along_y, total_energy, total_area)
                j0, j1 = int(along_y[0][ky]), int(along_y[1][ky])
                value -= float(along_x[2][kx])
                if value > best_value:
                    best, best_value = (i0, i1, j0, j1), value
                if (kx, ky) == last:
                    break
                last = (kx, ky)
        if best is None:
            return None

        i0, i1, j0, j1 = best
        c = float(energy[j1, i1] - energy[j0, i1] - energy[j1, i0] + energy[j0, i0])
        a = float(area[j1, i1] - area[j0, i1] - area[j1, i0] + area[j0, i0])
        c = min(max(c / total_energy, 1e-4), 1.0 - 1e-4)
        a = min(max(a / total_area, 1e-4), 1.0 - 1e-4)
        evidence = math.log(c / a) - math.log((1.0 - c) / (1.0 - a))
        return best, min(max(evidence, 0.0), MAX_EVIDENCE)

    def _fit(self, levels, boxes, index):
        """Raw misfit of one box and its numbers for the second pass."""
        gradient = levels[0][1]
        height, width = gradient.shape
        x1, y1, x2, y2 = (float(v) for v in boxes[index])
        px0, px1 = self._span(x1, x2, width)
        py0, py1 = self._span(y1, y2, height)
        peak = float(gradient[py0:py1, px0:px1].max())

        # A large window is looked at in a smaller copy of the image.
        cx, cy = 0.5 * (x1 + x2), 0.5 * (y1 + y2)
        half_x = max(0.5 * WINDOW * max(x2 - x1, 1.0), MIN_HALF_WINDOW)
        half_y = max(0.5 * WINDOW * max(y2 - y1, 1.0), MIN_HALF_WINDOW)
        wx0, wx1 = self._span(cx - half_x, cx + half_x, width)
        wy0, wy1 = self._span(cy - half_y, cy + half_y, height)
        longest = float(max(wx1 - wx0, wy1 - wy0))
        depth = 0
        while longest > MAX_WINDOW:
            longest *= 0.5
            depth += 1
        while len(levels) <= depth:
            grey = levels[-1][0]
            size = (max(1, (grey.shape[1] + 1) // 2), max(1, (grey.shape[0] + 1) // 2))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
            levels.append((grey, self._gradient(grey)))
        if depth:
            gradient = levels[depth][1]
            fx, fy = gradient.shape[1] / width, gradient.shape[0] / height
            boxes = boxes * np.array([fx, fy, fx, fy])
            height, width = gradient.shape
            x1, y1, x2, y2 = (float(v) for v in boxes[index])
            cx, cy = 0.5 * (x1 + x2), 0.5 * (y1 + y2)

        w, h = max(x2 - x1, 1.0), max(y2 - y1, 1.0)
        edges = [min(-cx / w, -0.5), min(-cy / h, -0.5),
                 max((width - cx) / w, 0.5), max((height - cy) / h, 0.5)]
        blank = [NOTHING, 0.0, 0.0, 1.0, 1.0, peak] + edges + [0.0]

        half_x = max(0.5 * WINDOW * w, MIN_HALF_WINDOW)
        half_y = max(0.5 * WINDOW * h, MIN_HALF_WINDOW)
        wx0, wx1 = self._span(cx - half_x, cx + half_x, width)
        wy0, wy1 = self._span(cy - half_y, cy + half_y, height)
        window = gradient[wy0:wy1, wx0:wx1]

        step = max(1, int(math.sqrt(window.size / 5000.0)))
        part = window[::step, ::step]
        median = float(np.median(part))
        mad = float(np.median(np.abs(part - median)))
        excess = np.maximum(window - (median + max(2.0, 6.0 * mad)), 0.0)

        # A box without any energy inside is empty, whatever there is around it.
        bx0, bx1 = self._span(x1 - wx0, x2 - wx0, window.shape[1])
        by0, by1 = self._span(y1 - wy0, y2 - wy0, window.shape[0])
        inside = excess[by0:by1, bx0:bx1]
        inside = inside[inside > 0.0]
        if inside.size == 0:
            return 1.0, blank

        # Capped, so that a few very strong edges do not outweigh the whole object.
        cap = max(2.0, float(np.percentile(inside, 70.0)))
        energy = np.minimum(excess, cap)
        energy = energy * energy

        # The airplane of another box is not this box's silhouette.
        mask = np.ones(window.shape, dtype=np.float32)
        masked = False
        for j in range(len(boxes)):
            if j == index:
                continue
            ox1, oy1, ox2, oy2 = (float(v) for v in boxes[j])
            mx0 = max(int(math.floor(ox1)) - 2 - wx0, 0)
            my0 = max(int(math.floor(oy1)) - 2 - wy0, 0)
            mx1 = min(int(math.ceil(ox2)) + 2, wx1) - wx0
            my1 = min(int(math.ceil(oy2)) + 2, wy1) - wy0
            if mx1 > mx0 and my1 > my0:
                mask[my0:my1, mx0:mx1] = 0.0
                masked = True
        if masked:
            mask[by0:by1, bx0:bx1] = 1.0
            if float(mask.sum()) < 2.0 * (by1 - by0) * (bx1 - bx0):
                mask[:] = 1.0
            energy = energy * mask

        xs = np.linspace(cx - half_x, cx + half_x, LINES) - wx0
        ys = np.linspace(cy - half_y, cy + half_y, LINES) - wy0
        xs = np.clip(xs, 0.0, float(window.shape[1]))
        ys = np.clip(ys, 0.0, float(window.shape[0]))
        tx = (xs + wx0 - cx) / w
        ty = (ys + wy0 - cy) / h
        result = self._silhouette(self._table(energy, ys, xs),
                                  self._table(mask, ys, xs), tx, ty)
        if result is None:
            return 1.0, blank

        (i0, i1, j0, j1), evidence = result
        left, right = float(tx[i0]), float(tx[i1])
        top, bottom = float(ty[j0]), float(ty[j1])
        sw, sh = max(right - left, 1e-3), max(bottom - top, 1e-3)

        over_x = max(min(right, 0.5) - max(left, -0.5), 0.0)
        over_y = max(min(bottom, 0.5) - max(top, -0.5), 0.0)
        inter = over_x * over_y
        overlap = inter / (1.0 + EXCESS * max(sw * sh - inter, 0.0))
        misfit = 1.0 - overlap * (WEAK + (1.0 - WEAK) * min(evidence, 1.0))
        fields = [FITTED, 0.5 * (left + right), 0.5 * (top + bottom),
                  1.0 / sw, 1.0 / sh, peak] + edges + [evidence]
        return misfit, fields
