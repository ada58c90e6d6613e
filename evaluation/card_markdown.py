"""A dataset card as Markdown that also reads well unrendered. It measures nothing and rounds for the eye."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from .card_facts import Card, ClassFacts, Extreme, Looks, Motion, Spread
from .card_pixels import BANDS

__all__ = ["number", "to_markdown"]

_ENDS = ("least", "5 %", "25 %", "median", "75 %", "95 %", "greatest")
_LISTED = 30

_TERMS = (
    "Terms: ring = the box enlarged by 1.5, less the box; other objects may lie in it. black = HSV value "
    "< 0.25; white = saturation < 0.2 and value > 0.75; colourless = saturation < 0.2; all three as shares "
    "of pixels. saturation and brightness (HSV value) are means in 0–1, light spread is the standard "
    "deviation of brightness. sharpness = variance of the Laplacian. edges = share of Canny (50, 150) edge "
    "pixels. edge span = from the first to the last edge pixel in the box, as a share of its side. colour "
    "distance = CIE76 between mean colours in Lab. Images above a megapixel are measured shrunk to one. "
    "Quantiles run over boxes (or images): 5 % means that one in twenty is below."
)


def number(value: float) -> str:
    """The value with two to three significant digits and no exponent."""
    size = abs(value)
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.0995 else 3
    text = f"{value:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def to_markdown(card: Card) -> str:
    """The whole card, ending in a newline."""
    blocks = [f"# Dataset card: {card.name}"]
    if card.about:
        blocks.append(card.about)
    blocks.append("\n".join(f"- {line}" for line in _overview(card)))
    blocks.append(_TERMS)
    blocks.append(
        _table(("whole image", *_ENDS), [(name, *_ends(spread)) for name, spread in card.whole_image.items()])
    )
    for facts in card.classes:
        blocks.extend(_class_blocks(facts))
    return "\n\n".join(blocks) + "\n"


def _overview(card: Card) -> Iterable[str]:
    spread = card.boxes_per_image
    yield (
        f"{_some(card.images, 'image')}, {_some(card.boxes, 'box')}. Boxes an image: "
        f"{number(spread.least)} to {number(spread.greatest)}, median {number(spread.median)}; "
        f"{_percent(card.without_boxes)} of the images have none."
    )
    yield f"Image sizes: {_listed(card.sizes, 'images', 5)}."
    if card.groups is None:
        yield "No videos: every image is a still."
    else:
        groups, frames = card.groups, card.groups.frames
        text = (
            f"{_some(groups.count, 'video')} of {number(frames.least)} to {number(frames.greatest)} frames "
            f"(median {number(frames.median)})"
        )
        if groups.apart is not None:
            text += f"; from a frame to the next its number grows by {number(groups.apart.median)} (median)"
        yield text + (f"; {_some(groups.stills, 'still')}." if groups.stills else ".")
    if card.crowds or card.without_area:
        yield (
            f"Left out of all statistics on boxes: {_some(card.crowds, 'crowd box')}, "
            f"{_some(card.without_area, 'box')} without area."
        )
    if card.skipped:
        yield f"Skipped when the source was read, as unusable: {_some(card.skipped, 'item')}."
    if card.other_classes:
        yield f"Classes not described below: {_listed(card.other_classes, 'boxes', _LISTED)}."
    if card.measured_images < card.images:
        yield (
            f"Statistics on pixels are from {_some(card.measured_images, 'image')} drawn at random "
            f"(seed {card.seed}); all others are from all images."
        )


def _class_blocks(facts: ClassFacts) -> Iterable[str]:
    yield f"## {facts.name}: {_some(facts.boxes, 'box')} in {_some(facts.images, 'image')}"
    yield _table(("box", *_ENDS), [(name, *_ends(spread)) for name, spread in facts.shape.items()])
    yield (
        f"{_percent(facts.at_border)} of the boxes touch the image's border; "
        f"{_percent(facts.overlaps_same)} overlap a box of this class with IoU > 0.5, "
        f"{_percent(facts.overlaps_other)} one of another class."
    )
    if facts.profile is not None:
        yield from _pixel_blocks(facts)
    if facts.motion is not None:
        yield _motion_table(facts.motion)
        yield (
            "The number of boxes differs from the previous frame's in "
            f"{_percent(facts.motion.count_changes)} of the frames, and from both neighbours' that agree in "
            f"{_percent(facts.motion.flickers)}."
        )
    yield "Extremes (left, top, width, height):\n" + "\n".join(
        f"- {extreme.what} {number(extreme.value)}: {_place(extreme)}" for extreme in facts.extremes
    )


def _pixel_blocks(facts: ClassFacts) -> Iterable[str]:
    yield f"Pixels of {_some(facts.measured, 'box')}, and how they compare with the ring:"
    rows = []
    for name, found in facts.pixels.items():
        inside, ring, difference = found.inside, found.ring, found.difference
        rows.append(
            (
                name,
                *(number(value) for value in (inside.q05, inside.q25, inside.median, inside.q75, inside.q95)),
                *_optional(ring, ("median",)),
                *_optional(difference, ("q05", "median", "q95")),
                f"{_percent(found.inside_greater)}, {_percent(found.inside_less)}",
            )
        )
    head = ("inside", "5 %", "25 %", "median", "75 %", "95 %")
    yield _table((*head, "ring median", "in − ring 5 %", "median", "95 %", "in > ring, in < ring"), rows)
    lines = [
        f"Colours inside (mean share of pixels): {_colours(facts.colours_inside)}.",
        f"Colours in the ring: {_colours(facts.colours_ring)}.",
    ]
    if facts.looks is not None:
        lines.append(_looks(facts.looks))
    yield "\n".join(lines)
    yield _profile_table(facts)


def _looks(looks: Looks) -> str:
    traits = ", ".join(
        f"{'more' if share > 0 else 'less'} {name} ({_percent(abs(share))})"
        for name, share in looks.traits.items()
    )
    text = f"What sets the inside apart from the ring, and in how many of the boxes: {traits}."
    if looks.oddest:
        examples = ", ".join(_place(extreme) for extreme in looks.oddest)
        text += f" {_percent(looks.odd)} of the boxes show fewer than half of these, such as {examples}."
    return text


def _place(extreme: Extreme) -> str:
    return f"{extreme.file_name} ({', '.join(f'{side:.0f}' for side in extreme.xywh)})"


def _profile_table(facts: ClassFacts) -> str:
    assert facts.profile is not None
    distance = facts.profile.distance
    rows = [
        (
            f"colour distance to the last band, {title}",
            *(_optional(band, (end,))[0] for band in distance),
            "0",
        )
        for title, end in (("5 %", "q05"), ("median", "median"), ("95 %", "q95"))
    ]
    edges = ("–" if share is None else number(share) for share in facts.profile.edges)
    rows.append(("edges, mean", *edges))
    table = _table(("from the centre out, in % of the box's size", *BANDS), rows)
    spans = [(f"edge span, share of {name}", *_ends(spread)) for name, spread in facts.edge_span.items()]
    if facts.contrast is not None:
        spans.append(("colour distance box to ring", *_ends(facts.contrast)))
    return table + "\n\n" + _table(("extent and contrast", *_ENDS), spans)


def _motion_table(motion: Motion) -> str:
    return _table(
        (f"{_some(motion.boxes, 'box')} against the previous frame's", *_ENDS),
        [
            ("shift of the centre, in √area", *_ends(motion.shift)),
            ("area / previous area", *_ends(motion.resize)),
            ("IoU with the previous box", *_ends(motion.iou)),
        ],
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["-", *("-:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _ends(spread: Spread) -> list[str]:
    return [number(getattr(spread, name)) for name in Spread.model_fields]


def _optional(spread: Spread | None, names: Sequence[str]) -> list[str]:
    return ["–" if spread is None else number(getattr(spread, name)) for name in names]


def _percent(share: float) -> str:
    return f"{number(100 * share)} %"


def _colours(shares: Mapping[str, float]) -> str:
    named = (f"{name} {100 * share:.0f} %" for name, share in shares.items() if share >= 0.01)
    return ", ".join(named) or "–"


def _some(count: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("x") else "s")
    return f"{count} {noun if count == 1 else plural}"


def _listed(counts: Mapping[str, int], noun: str, limit: int) -> str:
    listed = ", ".join(f"{name} ({count})" for name, count in islice(counts.items(), limit))
    rest = list(counts.values())[limit:]
    return listed + (f" and {len(rest)} more ({sum(rest)} {noun})" if rest else "")
