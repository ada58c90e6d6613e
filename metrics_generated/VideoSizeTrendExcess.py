import numpy as np
from metricsmith.sandbox import Metric, Sample

MAX_BOXES = 24          # boxes kept per frame, the largest ones
HEAD = 10               # numbers of a row before the three lists of ln areas
NEAREST = 8             # other boxes that make the prediction
MIN_FRAMES = 5          # fewer different frames: no trend is fitted
MAX_TREND_POINTS = 1200
NO_BOX_SCORE = 3.0


def _hash_text(text):
    """Two small integers that identify a text, the same in every process."""
    first, second = 7, 11
    for byte in str(text).encode("utf-8", "replace"):
        first = (first * 257 + byte + 1) % 8388593
        second = (second * 263 + byte + 1) % 8388587
    return float(first), float(second)


def _describe(boxes):
    """Count (-1: no such frame), position signature, padded ln areas in falling order."""
    padded = np.zeros(MAX_BOXES, dtype=np.float64)
    if boxes is None:
        return -1.0, 0.0, padded
    b = np.nan_to_num(np.asarray(boxes, dtype=np.float64)).reshape(-1, 4)
    if b.shape[0] == 0:
        return 0.0, 0.0, padded
    width = np.maximum(b[:, 2] - b[:, 0], 0.5)
    height = np.maximum(b[:, 3] - b[:, 1], 0.5)
    areas = np.sort(np.log(width * height))[::-1][:MAX_BOXES]
    padded[:areas.size] = areas
    signature = float(np.mean(b @ np.array([1.0, 3.0, 7.0, 11.0])))
    return float(areas.size), signature, padded


def _same(a, b):
    """Whether two non-empty descriptions (count, signature, ln areas) show the same boxes."""
    if a[0] < 1 or a[0] != b[0]:
        return False
    if abs(a[1] - b[1]) > 0.02 + 1e-5 * abs(a[1]):
        return False
    return bool(np.all(np.abs(a[2] - b[2]) < 1e-3))


def _theil_sen(times, values):
    """Median slope over all pairs of points at different times."""
    if np.unique(times).size < MIN_FRAMES:
        return 0.0
    if times.size > MAX_TREND_POINTS:
        keep = np.linspace(0, times.size - 1, MAX_TREND_POINTS).round().astype(int)
        times, values = times[keep], values[keep]
    i, j = np.triu_indices(times.size, k=1)
    dt = times[j] - times[i]
    valid = dt > 0
    if not np.any(valid):
        return 0.0
    slope = float(np.median((values[j] - values[i])[valid] / dt[valid]))
    return slope if np.isfinite(slope) else 0.0


def _nearest(position, times, owners):
    """Indices of up to NEAREST other points nearest in time (the points are sorted by time)."""
    here, owner = times[position], owners[position]
    left, right = position - 1, position + 1
    chosen = []
    while len(chosen) < NEAREST and (left >= 0 or right < len(times)):
        gap_left = here - times[left] if left >= 0 else float("inf")
        gap_right = times[right] - here if right < len(times) else float("inf")
        if gap_left <= gap_right:
            take = left
            left -= 1
        else:
            take = right
            right += 1
        # a second copy of the same frame would vote for the box itself
        if times[take] == here and owners[take] != owner:
            continue
        chosen.append(take)
    return chosen


class VideoSizeTrendExcess(Metric):
    """Low: every box fits the size trend of its video or is smaller; high: a box is larger than the trend, or the image has no box.

    Points (frame number, ln box area) are gathered per video; boxes of neighbouring
    frames fill the frames that are not among the rows. A box's prediction is the median
    of the ln areas of up to 8 other boxes nearest in time, corrected by the Theil-Sen
    slope of the video. The score is the largest ln area minus prediction; 3 without boxes.
    """

    level = "image"
    suspicious = "high"

    def measure(self, sample: Sample) -> np.ndarray:
        own = _describe(sample.boxes)
        in_video = sample.group is not None and sample.frame is not None
        if in_video:
            first, second = _hash_text(sample.group)
            frame = float(sample.frame)
            previous = _describe(sample.previous_boxes)
            following = _describe(sample.next_boxes)
        else:
            first, second, frame = 0.0, 0.0, 0.0
            previous = _describe(None)
            following = _describe(None)
        head = np.array([
            1.0 if in_video else 0.0, first, second, frame,
            own[0], previous[0], following[0],
            own[1], previous[1], following[1],
        ], dtype=np.float64)
        return np.concatenate([head, own[2], previous[2], following[2]])

    def rank(self, measurements) -> np.ndarray:
        rows = np.asarray(measurements, dtype=np.float64)
        count = rows.shape[0] if rows.ndim else 0
        if count == 0:
            return np.zeros(0, dtype=np.float64)
        rows = rows.reshape(count, -1)

        def part(index, which):  # 0: own boxes, 1: previous frame, 2: next frame
            start = HEAD + which * MAX_BOXES
            row = rows[index]
            return row[4 + which], row[7 + which], row[start:start + MAX_BOXES]

        scores = np.zeros(count, dtype=np.float64)
        scores[rows[:, 4] < 0.5] = NO_BOX_SCORE

        videos = {}
        for index in range(count):
            if rows[index, 0] > 0.5:
                key = (rows[index, 1], rows[index, 2])
                videos.setdefault(key, []).append(index)

        # First pass: which rows that follow each other are direct neighbours, and
        # what is the distance in frame numbers between direct neighbours.
        prepared = []
        all_gaps = []
        for indices in videos.values():
            indices = sorted(indices, key=lambda i: (rows[i, 3], rows[i, 7], rows[i, 4],
                                                     rows[i, 8], rows[i, 9]))
            frames = []
            for index in indices:
                if frames and frames[-1][0] == rows[index, 3]:
                    frames[-1][1].append(index)
                else:
                    frames.append((rows[index, 3], [index]))
            linked = []
            gaps = []
            for (time_a, rows_a), (time_b, rows_b) in zip(frames[:-1], frames[1:]):
                match = any(
                    _same(part(b, 1), part(a, 0)) or _same(part(a, 2), part(b, 0))
                    for a in rows_a for b in rows_b
                )
                linked.append(match)
                if match:
                    gaps.append(time_b - time_a)
            all_gaps.extend(gaps)
            prepared.append((frames, linked, gaps))
        common_step = min(all_gaps) if all_gaps else 1.0

        def first_filled(indices, which):
            for index in indices:
                described = part(index, which)
                if described[0] >= 1:
                    return described
            return None

        # Second pass: points, trend and scores of each video.
        for frames, linked, gaps in prepared:
            step = min(gaps) if gaps else common_step
            times, values, owners = [], [], []

            def add(time, described, owner):
                for value in described[2][:int(described[0])]:
                    times.append(float(time))
                    values.append(float(value))
                    owners.append(owner)

            for time, indices in frames:
                for index in indices:
                    described = part(index, 0)
                    if described[0] >= 1:
                        add(time, described, index)

            before = first_filled(frames[0][1], 1)
            if before is not None:
                add(frames[0][0] - step, before, -1)
            after = first_filled(frames[-1][1], 2)
            if after is not None:
                add(frames[-1][0] + step, after, -1)
            for k, is_linked in enumerate(linked):
                time_a, rows_a = frames[k]
                time_b, rows_b = frames[k + 1]
                gap = time_b - time_a
                if is_linked or gap <= step:
                    continue
                after = first_filled(rows_a, 2)
                before = first_filled(rows_b, 1)
                if after is not None and before is not None:
                    if gap <= 2 * step or _same(after, before):
                        add(time_a + 0.5 * gap, after, -1)
                    else:
                        add(time_a + step, after, -1)
                        add(time_b - step, before, -1)
                elif after is not None:
                    add(time_a + min(step, 0.5 * gap), after, -1)
                elif before is not None:
                    add(time_b - min(step, 0.5 * gap), before, -1)

            if not times:
                continue
            t = np.array(times, dtype=np.float64)
            v = np.array(values, dtype=np.float64)
            o = np.array(owners, dtype=np.int64)
            order = np.lexsort((v, t))
            t, v, o = t[order], v[order], o[order]
            slope = _theil_sen(t, v)

            time_list, owner_list = t.tolist(), o.tolist()
            best = {}
            for position, owner in enumerate(owner_list):
                if owner < 0:
                    continue
                chosen = _nearest(position, time_list, owner_list)
                if chosen:
                    corrected = v[chosen] + slope * (t[position] - t[chosen])
                    excess = float(v[position] - np.median(corrected))
                else:
                    excess = 0.0
                if owner not in best or excess > best[owner]:
                    best[owner] = excess
            for owner, excess in best.items():
                scores[owner] = excess

        return np.nan_to_num(scores, nan=0.0, posinf=50.0, neginf=-50.0)
