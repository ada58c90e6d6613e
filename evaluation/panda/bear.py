"""The animal: a bear's parts in a pose, and the coats it can wear.

A giant panda, a brown bear and a panda's negative are the same parts in other coats. How parts become
pixels is `blobs`' business.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, degrees, hypot, pi, sin

from .blobs import Blob, Coat, Pelt

__all__ = ["BROWN", "NEGATIVE", "PANDA", "Build", "Pose", "bear", "coat_of"]


def coat_of(body: Pelt, limb: Pelt, patch: Pelt, ear: Pelt, muzzle: Pelt) -> Coat:
    """Return what a bear looks like whose parts look like this; its far legs lie in shadow."""
    far = (limb.colour[0] * 0.7, limb.colour[1] * 0.7, limb.colour[2] * 0.7)
    return {
        "body": body,
        "limb": limb,
        "far limb": Pelt(far, limb.stripes),
        "patch": patch,
        "ear": ear,
        "muzzle": muzzle,
        "nose": Pelt((0.05, 0.045, 0.05), smooth=True),
        "eye": Pelt((0.02, 0.015, 0.015), smooth=True),
        "glint": Pelt((0.75, 0.75, 0.78), smooth=True),
    }


_WHITE = Pelt((0.93, 0.91, 0.85))
_BLACK = Pelt((0.07, 0.065, 0.065))
PANDA: Coat = coat_of(_WHITE, _BLACK, _BLACK, _BLACK, _WHITE)
NEGATIVE: Coat = coat_of(_BLACK, _WHITE, _WHITE, _WHITE, _BLACK)
_HAIR = Pelt((0.40, 0.26, 0.15))
BROWN: Coat = coat_of(
    _HAIR, Pelt((0.30, 0.19, 0.11)), _HAIR, Pelt((0.32, 0.20, 0.12)), Pelt((0.55, 0.42, 0.29))
)


@dataclass(frozen=True, slots=True)
class Build:
    """What differs between two animals of a kind; 1 is the usual."""

    girth: float = 1.0
    leg: float = 1.0
    head: float = 1.0


@dataclass(frozen=True, slots=True)
class Pose:
    """How an animal stands at one instant."""

    gait: float = 0.0
    """Phase of the step, radians."""
    stride: float = 0.12
    """How far a paw swings from under its hip, body heights; 0 stands still."""
    sitting: bool = False
    yaw: float = 0.0
    """How far the head turns to the viewer, radians; 0 is in profile, to the front."""
    nod: float = 0.0
    """How far the head bends down, radians."""
    munch: float = 0.0
    """Phase of the sitting animal's paw on its way to the mouth, radians."""


def bear(pose: Pose, build: Build = Build()) -> list[Blob]:
    """Return the parts of the animal, far ones first."""
    return _seated(pose, build) if pose.sitting else _walking(pose, build)


def _walking(pose: Pose, build: Build) -> list[Blob]:
    bob = 0.012 * sin(2 * pose.gait) * min(1.0, pose.stride / 0.1)
    g = build.girth
    hip = 0.42 * build.leg
    lift = 0.12 * (build.leg - 1) - bob
    body = [
        Blob(-0.80, -0.50 - lift, 0.07, 0.09, "body", 20, -0.05, 0.07),
        Blob(-0.42, -0.52 - lift, 0.35, 0.32 * g, "body", 0, 0.0, 0.30),
        Blob(-0.08, -0.53 - lift, 0.50, 0.315 * g, "body", 4, 0.0, 0.31),
        Blob(-0.10, -0.44 - lift, 0.42, 0.265 * g, "body", 0, 0.0, 0.31),
        Blob(0.56, -0.60 - lift, 0.26, 0.23 * g, "body", 20, 0.0, 0.22),
        Blob(0.37, -0.545 - lift, 0.165, 0.325 * g, "limb", 9, 0.03, 0.30),
    ]
    legs = []
    for x, phase, part, z in (
        (-0.50, 0.0, "far limb", -0.22),
        (0.34, pi * 0.55, "far limb", -0.22),
        (-0.42, pi, "limb", 0.14),
        (0.40, pi * 1.55, "limb", 0.12),
    ):
        legs.append(_leg(x, -hip - lift, pose.gait + phase, pose.stride, part, z, hind=x < 0))
    head = _head(0.80, -0.60 - lift + 0.12 * pose.nod, 0.235 * build.head, pose.yaw, pose.nod, 0.12)
    return [*legs[0], *legs[1], *body, *legs[2], *legs[3], *head]


def _leg(x: float, y: float, phase: float, stride: float, part: str, z: float, hind: bool) -> list[Blob]:
    """Thigh, shank and paw from a hip at (x, y) to a paw on or above the ground."""
    paw_x = x + stride * cos(phase)
    paw_y = -0.05 - 0.5 * stride * max(0.0, sin(phase))
    bend = -0.05 if hind else 0.03
    knee_x, knee_y = (x + paw_x) / 2 + bend, (y + paw_y) / 2 + 0.01
    thick = 0.155 if hind else 0.125
    return [
        Blob(x, y, thick * 1.15, thick * 1.35, part, 0, z - 0.04, 0.15),
        _limb(x, y - 0.02, knee_x, knee_y + 0.05, thick, part, z),
        _limb(knee_x, knee_y - 0.04, paw_x, paw_y, thick * 0.82, part, z + 0.01),
        Blob(paw_x + 0.045, paw_y, 0.115, 0.06, part, 0, z + 0.02, 0.1),
    ]


def _limb(x0: float, y0: float, x1: float, y1: float, thick: float, part: str, z: float) -> Blob:
    length = hypot(x1 - x0, y1 - y0) / 2 + thick * 0.7
    angle = degrees(atan2(y1 - y0, x1 - x0))
    return Blob((x0 + x1) / 2, (y0 + y1) / 2, length, thick, part, angle, z, thick)


def _seated(pose: Pose, build: Build) -> list[Blob]:
    g = build.girth
    sway = 0.01 * sin(pose.munch * 0.5)
    reach = 0.5 + 0.5 * sin(pose.munch)
    paw_x, paw_y = 0.40 + 0.06 * (1 - reach), -0.50 - 0.12 * reach
    body = [
        Blob(-0.30, -0.12, 0.08, 0.07, "body", 0, -0.1, 0.07),
        Blob(0.0, -0.36, 0.37 * g, 0.37, "body", 0, 0.0, 0.32),
        Blob(0.05 + sway, -0.56, 0.30 * g, 0.28, "body", 0, 0.0, 0.28),
        Blob(0.08 + sway, -0.61, 0.28 * g, 0.155, "limb", -12, 0.06, 0.27),
    ]
    far = [
        _limb(0.22, -0.16, 0.58, -0.12, 0.125, "far limb", -0.10),
        Blob(0.66, -0.16, 0.075, 0.125, "far limb", 0, -0.08, 0.08),
        _limb(0.24, -0.58, 0.36, -0.42, 0.09, "far limb", 0.02),
        _limb(0.36, -0.42, paw_x + 0.05, paw_y + 0.05, 0.08, "far limb", 0.04),
    ]
    near = [
        Blob(0.12, -0.17, 0.21, 0.165, "limb", 0, 0.17, 0.15),
        _limb(0.16, -0.15, 0.50, -0.11, 0.125, "limb", 0.2),
        Blob(0.60, -0.14, 0.085, 0.135, "limb", 8, 0.24, 0.09),
        _limb(0.02 + sway, -0.60, 0.16, -0.38, 0.105, "limb", 0.26),
        _limb(0.16, -0.38, paw_x, paw_y, 0.085, "limb", 0.30),
        Blob(paw_x, paw_y, 0.085, 0.08, "limb", 0, 0.32, 0.08),
    ]
    head = _head(0.14 + sway, -0.86 + 0.06 * pose.nod, 0.225 * build.head, pose.yaw, pose.nod, 0.22)
    return [*far, *body, *near, *head]


def _head(x: float, y: float, radius: float, yaw: float, nod: float, z: float) -> list[Blob]:
    """Skull, ears, muzzle, nose, eyes and their patches: points on a ball that turns and nods."""

    def at(front: float, up: float, near: float) -> tuple[float, float, float]:
        front, up = front * cos(nod) + up * sin(nod), up * cos(nod) - front * sin(nod)
        across = front * cos(yaw) - near * sin(yaw)
        towards = front * sin(yaw) + near * cos(yaw)
        return x + radius * across, y - radius * up, z + radius * towards

    def ball(
        where: tuple[float, float, float], size: tuple[float, float, float], part: str, angle: float = 0.0
    ) -> Blob:
        px, py, pz = at(*where)
        return Blob(px, py, size[0] * radius, size[1] * radius, part, angle, pz, size[2] * radius)

    blobs = []
    for near in (-0.58, 0.58):
        blobs.append(ball((-0.10, 0.86, near), (0.36, 0.34, 0.22), "ear"))
    blobs.append(ball((0, 0, 0), (1.06, 0.96, 1.0), "body"))
    for near in (-0.5, 0.5):
        blobs.append(ball((0.18, -0.36, near), (0.62, 0.52, 0.5), "body"))
    blobs.append(ball((0.78, -0.34, 0), (0.46, 0.38, 0.42), "muzzle"))
    tilt = degrees(nod)
    for near in (-0.42, 0.42):
        facing = abs(0.85 * sin(yaw) + near * cos(yaw)) / 0.95
        px = 0.10 + 0.14 * facing
        lean = (1 if near > 0 else -1) * 24 * sin(yaw) + tilt - 14 * cos(yaw)
        blobs.append(ball((0.80, 0.06, 1.08 * near), (px, 0.29, 0.34), "patch", lean))
    for near in (-0.40, 0.40):
        blobs.append(ball((0.98, 0.11, near * 1.1), (0.07, 0.075, 0.22), "eye"))
        blobs.append(ball((1.06, 0.14, near * 1.05), (0.028, 0.028, 0.22), "glint"))
    blobs.append(ball((1.17, -0.22, 0), (0.155, 0.11, 0.12), "nose"))
    blobs.append(ball((1.06, -0.56, 0), (0.17, 0.035, 0.10), "nose"))
    return blobs
