"""One line of advice for each kind of failure: how to mend it.

Written for a language model that sees its own source beside it. Knows kinds and texts only, not metrics.
"""

from __future__ import annotations

__all__ = ["KINDS", "advise"]

_IMPORTS = "numpy, cv2, scipy, math, statistics, itertools, functools, collections, dataclasses, typing"

_BY_KIND = {
    "bad-level": (
        'Write level = "object" (one score a box) or level = "image" (one score an image) in the class.'
    ),
    "bad-suspicious": 'Write suspicious = "low", "high", "both" or "none" in the class.',
    "blind": (
        "Check the sign of the score against `suspicious`, what a default score says where there are no "
        "predictions or neighbours, and whether the score of a box depends on that very box; then sharpen it "
        "for the mistakes above."
    ),
    "constant": (
        "Measure something that differs between images or boxes; check thresholds, clipping and rounding."
    ),
    "crashed": (
        "Check the shapes, dtypes and contiguity of what goes into numpy and cv2; do not end the process."
    ),
    "exception": "Mend the line above; it must work for every image, with and without boxes.",
    "forbidden-attribute": (
        "Leave out double-underscore attributes; a metric needs only arrays and arithmetic."
    ),
    "forbidden-call": (
        "Leave the call out; the image is sample.image, read already, and all that a metric gives is scores."
    ),
    "forbidden-import": f"Use only {_IMPORTS} and metricsmith.sandbox.",
    "many-metric-classes": "Keep one subclass of Metric; turn the others into functions.",
    "mutated-input": "Make a new array: image = sample.image.copy(), or sample.image / 255.0 for floats.",
    "no-measure": "Define measure(self, sample: Sample) in the class.",
    "no-metric-class": (
        "Define one class that inherits from metricsmith.sandbox.Metric, built without arguments."
    ),
    "not-deterministic": (
        "Use no clock and no unseeded random numbers (np.random.default_rng(0), made inside "
        "measure, is fine), and keep nothing on self or in globals between calls of measure: of other "
        "frames there are previous_boxes and next_boxes; of other images, what rank(self, measurements) "
        "gets: one row for each image (or box), in no order to rely on."
    ),
    "not-finite": (
        "Guard the divisor and the argument of log with np.maximum(x, 1e-6), that of sqrt with "
        "np.maximum(x, 0), and skip empty crops before taking a mean, std or max."
    ),
    "out-of-memory": (
        "Work on crops, shrink the image with cv2.resize first, and avoid arrays of size boxes × "
        "pixels or rows × rows."
    ),
    "syntax-error": "Return one complete Python file and nothing else: no Markdown fence, no text around it.",
    "too-much-output": "Remove the print calls.",
    "too-slow": (
        "Shrink the image with cv2.resize first, replace loops over pixels by numpy or cv2 calls,"
        " and bound every while loop."
    ),
    "weak": (
        "Find out why the mistakes above leave the score as it is (a maximum, a threshold, a clip, a default "
        "where there is nothing to compare with). Keep the idea and what works, and make the score move."
    ),
    "wrong-dtype": "Return floats: values.astype(np.float64).",
    "wrong-shape": "Give one number for each box, image or row.",
    "wrong-type": "Return a numpy array of floats, or one float for an image.",
}

KINDS = frozenset(_BY_KIND)
"""Every kind of failure there is."""

_BY_EXCEPTION = {
    "AttributeError": (
        "Sample has image, boxes, labels, class_names, predictions (boxes, labels, scores), "
        "group, frame, previous_boxes, previous_labels, next_boxes, next_labels; the last four, "
        "group and frame may be None."
    ),
    "FileNotFoundError": "Read no files; everything a metric may know is in `sample`.",
    "ModuleNotFoundError": f"Use only {_IMPORTS} and metricsmith.sandbox.",
    "NameError": "Import or define the name before it is used.",
    "OSError": "Read and write no files; everything a metric may know is in `sample`.",
    "PermissionError": (
        "Read and write no files, start no process or thread, and do not sleep; everything a metric may "
        "know is in `sample`."
    ),
    "SystemExit": "Do not end the process; return a score for every image.",
    "ZeroDivisionError": "Guard the divisor: max(x, 1e-6); boxes may have no width or height.",
    "cv2.error": (
        "cv2 takes uint8 or float32 arrays that are not empty: skip crops without pixels, convert"
        " with .astype(np.float32), and make slices contiguous with np.ascontiguousarray."
    ),
}

_BY_MESSAGE = {
    "exception": {
        "zero-size array": (
            "There may be no boxes, no predictions, and a crop without pixels: handle each first, with "
            "np.zeros(0) for no boxes at object level and a fixed score everywhere else."
        ),
        "empty sequence": (
            "There may be no boxes, no predictions, and a crop without pixels: handle each first."
        ),
        "'Predictions' object": (
            "Use sample.predictions.boxes (M, 4), .labels (M,) and .scores (M,); M may be 0."
        ),
        "could not be broadcast": "Check axes: boxes are (N, 4), an image is (H, W, 3), N may be 0 or 1.",
        "NoneType": "group, frame, previous_* and next_* may be None: return a fixed score then.",
        "can't start new thread": "Start no threads; one core is what a metric gets.",
        "out of bounds": (
            "boxes is (N, 4): a column is boxes[:, 2], a row boxes[2]. N and the number of predictions may "
            "be 0, and a crop may have no pixels: handle these first."
        ),
    },
    "wrong-shape": {
        "numbers an image, and there is no rank": (
            'Reduce to one number, as float(values.mean()); for one score a box write level = "object"; for '
            "a second pass define rank(self, measurements): R scores from (R, K)."
        ),
        "no rank method": "Return one number, or define rank(self, measurements): R scores from (R, K).",
        "rank gets": "Give one score for each row, also for one row and none; reduce along axis=1, not 0.",
        "level is image": (
            'Reduce to one number, as float(values.mean()); for one score a box write level = "object".'
        ),
        "before": "Return equally many numbers for every image, also where there are no boxes.",
        "measure must return": (
            "Give one score for each box, np.zeros(0) for none; reduce along axis=1, not 0. "
            'For one score an image write level = "image".'
        ),
    },
    "wrong-type": {
        "rank must": "Return an array with one float a row, also for one row and for none.",
        "for an image": "Return float(value), in every branch.",
        "for each box": (
            "Return np.array(values, dtype=np.float64), one for each box, in every branch. "
            'For one score an image write level = "image".'
        ),
    },
}


def advise(kind: str, exception: str | None, message: str) -> str:
    """How to mend a failure, by what its message says, else by its exception, else by its kind."""
    for part, advice in _BY_MESSAGE.get(kind, {}).items():
        if part in message:
            return advice
    if kind == "exception" and exception in _BY_EXCEPTION:
        return _BY_EXCEPTION[exception]
    return _BY_KIND[kind]
