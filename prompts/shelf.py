"""The method shelf: families of methods that are known to work on detection data, each with its source.

Left alone, a language model mostly retunes what it has; asked to name a known method and to adapt it, it
tries new ground. An idea names one of these families, or says that it is new. Nothing here is code: what a
family needs is written in terms of what a metric can see.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NEW", "SHELF", "Family"]

NEW = "new"
"""The family of an idea that belongs to none of the shelf's."""


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of method."""

    name: str
    """As an idea writes it."""
    what: str
    needs: str
    source: str


SHELF = (
    Family(
        "overlooked",
        "a confident prediction that no annotated box explains: an object nobody annotated",
        "predictions",
        "ObjectLab, arXiv:2309.00832",
    ),
    Family(
        "badly-located",
        "how far a box lies from the prediction that fits it best: shifted, too large, too small",
        "predictions",
        "ObjectLab, arXiv:2309.00832",
    ),
    Family(
        "swapped-class",
        "a confident prediction of another class at the box; thresholds by class",
        "predictions, two classes or more",
        "ObjectLab; confident learning, arXiv:1911.00068",
    ),
    Family(
        "loss-inspection",
        "the loss of an annotated box under a detector that never learnt it, class and place together",
        "predictions",
        "arXiv:2303.06999",
    ),
    Family(
        "mistakenness",
        "confidence times disagreement: sure predictions that contradict the annotation, annotations that "
        "nothing supports",
        "predictions",
        "FiftyOne Brain, documentation",
    ),
    Family(
        "temporal-consistency",
        "a box, or its absence, that the neighbouring frames contradict: jumps, flicker, sudden growth",
        "videos",
        "arXiv:1908.11757",
    ),
    Family(
        "consensus",
        "fuse predictions and neighbouring boxes into one witness and compare the annotation with it",
        "predictions, better with videos",
        "weighted boxes fusion, arXiv:1910.13302",
    ),
    Family(
        "contour-tightness",
        "do edges or a silhouette fill the box from side to side, and is there no edge cut by its border",
        "pixels",
        "edge boxes, Zitnick & Dollár 2014",
    ),
    Family(
        "ring-contrast",
        "how much the inside of a box differs in colour or texture from the ring around it, side by side",
        "pixels",
        "objectness, Alexe, Deselaers & Ferrari 2012",
    ),
    Family(
        "class-appearance",
        "does the inside look like the class: its typical colours, their shares, its texture",
        "pixels; `rank` for the norm of a class",
        "colour histograms, Swain & Ballard 1991",
    ),
    Family(
        "geometry-outliers",
        "size, shape or place that is unusual for the class, the video or the image border",
        "boxes; `rank` for the norm",
        "Mahalanobis distance; Encord Active, documentation",
    ),
    Family(
        "annotation-duplicates",
        "boxes on or in each other, counts that neither predictions nor neighbours support",
        "boxes",
        "Encord Active, documentation",
    ),
    Family(
        "image-quality",
        "blur, darkness, low contrast, occlusion: images that teach little",
        "pixels",
        "variance of the Laplacian, Pech-Pacheco et al. 2000",
    ),
    Family(
        "near-duplicates",
        "images or crops that say what another one says already: keep one of each, cover the rest",
        "pixels; `rank` sees all images",
        "k-center coreset, arXiv:1708.00489; SemDeDup, arXiv:2303.09540",
    ),
    Family(
        "density-prototypes",
        "distance to the cluster centre of its kind: rare or hard ones if data is plentiful, typical ones if "
        "it is scarce",
        "pixels or boxes; `rank`",
        "arXiv:2206.14486",
    ),
    Family(
        "hardness",
        "how unsure the detector is: entropy, many weak predictions, little margin between the best two",
        "predictions",
        "arXiv:2103.16130; dataset cartography, arXiv:2009.10795",
    ),
    Family(
        "diversity",
        "even out scale, position, pose, lighting or video, so that rare conditions are seen too",
        "pixels or boxes",
        "stratified sampling, Cochran 1977",
    ),
)
"""In the order in which the prompt shows them."""
