"""The giant panda data set: procedurally drawn videos with deliberate mistakes in their labels.

It stands in for the YouTube-VOS giant pandas of the experiment that this product grew from, whose images
may not be passed on.
"""

from .dataset import make_panda

__all__ = ["make_panda"]
