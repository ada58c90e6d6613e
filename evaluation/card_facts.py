"""The parts of a dataset card, as values that JSON can hold. They are measured and shown elsewhere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

__all__ = [
    *("Card", "ClassFacts", "Comparison", "Extreme", "GroupFacts", "Looks", "Motion", "Profile", "Spread"),
]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True)


class Spread(_Facts):
    """How one measurement is spread."""

    least: float
    q05: float
    q25: float
    median: float
    q75: float
    q95: float
    greatest: float

    @classmethod
    def of(cls, values: npt.NDArray[np.number]) -> Spread | None:
        """The spread of the values that are not NaN; None if there are none."""
        values = values[~np.isnan(values)]
        if not len(values):
            return None
        names = tuple(cls.model_fields)
        return cls(
            **dict(zip(names, np.percentile(values, (0, 5, 25, 50, 75, 95, 100)).tolist(), strict=True))
        )


class GroupFacts(_Facts):
    """The videos."""

    count: int
    frames: Spread
    """Frames a video."""
    stills: int
    """Images that belong to no video."""
    apart: Spread | None
    """By how much the frame number grows from a frame to the next that we have."""


class Comparison(_Facts):
    """One measurement of the pixels in the box and in the ring around it."""

    inside: Spread
    ring: Spread | None
    difference: Spread | None
    """Inside less ring, box by box; None where no box has a ring."""
    inside_greater: float
    """The share of boxes in which it is greater inside than in the ring."""
    inside_less: float
    """The share of boxes in which it is less."""


class Extreme(_Facts):
    """A box at the end of a measurement."""

    what: str
    value: float
    file_name: str
    xywh: tuple[float, float, float, float]


class Looks(_Facts):
    """What sets the inside of a class's boxes apart from the ring around them."""

    traits: dict[str, float]
    """The pixel features that are greater inside (or less, then negative) in most boxes, and in what share of
    them; the clearest first."""
    odd: float
    """The share of boxes that show fewer than half of the traits."""
    oddest: tuple[Extreme, ...]
    """Those that show the fewest; the value is how many."""


class Profile(_Facts):
    """How pixels change from the centre of the box outwards, one value a band; see `card_pixels.BANDS`."""

    distance: tuple[Spread | None, ...]
    """The distance of the band's mean colour to that of the last band, which has none itself."""
    edges: tuple[float | None, ...]
    """The mean share of edge pixels."""


class Motion(_Facts):
    """From a frame to the next that we have of the same video, for one class."""

    boxes: int
    """Boxes for which there is a box of the class in the previous frame."""
    shift: Spread
    """How far the centre moves, in units of √area of the previous box."""
    resize: Spread
    """Area over that of the previous box."""
    iou: Spread
    """IoU with the previous box."""
    count_changes: float
    """The share of frames whose number of boxes differs from the previous frame's."""
    flickers: float
    """The share of frames whose number of boxes differs from both neighbours', which agree."""


class ClassFacts(_Facts):
    """One class."""

    name: str
    boxes: int
    images: int
    shape: dict[str, Spread]
    """Of all boxes: see `card_boxes.SHAPE`."""
    overlaps_same: float
    """The share of boxes that have an IoU above 0.5 with another box of this class."""
    overlaps_other: float
    """The share of boxes that have an IoU above 0.5 with a box of another class."""
    at_border: float
    """The share of boxes within a pixel of the image's border."""
    measured: int
    """How many boxes everything below is from."""
    pixels: dict[str, Comparison]
    """See `card_pixels.FEATURES`."""
    contrast: Spread | None
    """Distance between the mean colours of box and ring."""
    edge_span: dict[str, Spread]
    """Of width and height: how much of it lies between the first and the last edge pixel."""
    looks: Looks | None
    """None where most boxes look like their surroundings."""
    profile: Profile | None
    colours_inside: dict[str, float]
    """The mean share of pixels of each colour in the box, the most frequent first."""
    colours_ring: dict[str, float]
    motion: Motion | None
    """None where no box has a previous frame."""
    extremes: tuple[Extreme, ...]


class Card(_Facts):
    """Facts about a data set, for a language model and for people."""

    name: str
    about: str
    """What the user says about the data; may be empty."""
    images: int
    boxes: int
    """All boxes, those left out below too."""
    sizes: dict[str, int]
    """How many images have each size, such as `640×480`, the most frequent first."""
    groups: GroupFacts | None
    """None where no image belongs to a video."""
    boxes_per_image: Spread
    without_boxes: float
    """The share of images without any box."""
    crowds: int
    """Boxes around a crowd; they are left out below."""
    without_area: int
    """Boxes without width or height within the image; they are left out below."""
    skipped: int
    """Items of the source that the reader left out as unusable."""
    measured_images: int
    """How many images, drawn at random and spread over the videos, all facts about pixels are from."""
    seed: int
    """What they were drawn with."""
    whole_image: dict[str, Spread]
    """The `card_pixels.FEATURES` of whole images."""
    classes: tuple[ClassFacts, ...]
    """The most frequent classes in detail, the most frequent first."""
    other_classes: dict[str, int]
    """How many boxes each of the other classes has, the most frequent first."""
