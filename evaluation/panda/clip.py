"""One video: who walks where in front of which camera, and the frames of it.

A clip is planned first, all of it out of one random generator, and then any frame can be drawn.
Labels are the truth here; mistakes are `mistakes`' business.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, hypot, pi, sin

import cv2
import numpy as np
import numpy.typing as npt

from .bear import BROWN, NEGATIVE, PANDA, Build, Pose, bear
from .blobs import Blob, Coat, Sprite, render
from .bystander import BOULDER, MAGPIE, ZEBRA, boulder, magpie
from .habitat import HEIGHT, WIDTH, Habitat
from .noise import FloatArray

__all__ = ["FRAME_SHAPE", "Clip", "Frame", "plan"]

Mask = npt.NDArray[np.bool_]

FRAME_SHAPE = (270, 480)
"""Rows and columns of a frame."""
SMALLEST = 80
"""Visible pixels below which nobody would label an object."""
SHUTTER = 0.35
"""Share of the time between two frames during which the camera sees."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture and what is in it."""

    image: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""
    pandas: dict[int, Mask]
    """Visible pixels of each giant panda in sight, by its number in the clip, counted from 1."""
    others: list[Mask]
    """Visible pixels of each bystander in sight."""


@dataclass(frozen=True, slots=True)
class _Actor:
    kind: str
    coat: Coat
    build: Build
    path: tuple[float, float]
    """Where it stands in the panorama at the first and the last frame, pixels."""
    size: tuple[float, float]
    """Body height at the first and the last frame, pixels."""
    sitting: bool
    yaw: tuple[float, float]
    """Middle and swing of the head's turn, radians."""
    phase: float
    blobs: tuple[Blob, ...] = ()
    """Its parts if it never moves."""

    def at(self, time: float) -> tuple[float, float]:
        """Position in the panorama and size at a time in 0 to 1."""
        return (
            self.path[0] + time * (self.path[1] - self.path[0]),
            self.size[0] + time * (self.size[1] - self.size[0]),
        )

    def parts(self, time: float) -> list[Blob]:
        x, size = self.at(time)
        if self.blobs:
            return list(self.blobs)
        if self.kind == "magpie":
            return magpie(max(0.0, sin(9 * pi * time + self.phase)))
        stride = 0.0 if self.path[0] == self.path[1] else 0.13
        walked = abs(x - self.path[0]) / (4 * 0.13 * size)
        pose = Pose(
            gait=self.phase + 2 * pi * walked,
            stride=stride,
            sitting=self.sitting,
            yaw=self.yaw[0] + self.yaw[1] * sin(2 * pi * time + self.phase),
            nod=0.25 + 0.25 * sin(1.5 * pi * time + 2 * self.phase),
            munch=self.phase + 6 * pi * time,
        )
        return bear(pose, self.build)


@dataclass(frozen=True, slots=True)
class Clip:
    """A planned video."""

    habitat: Habitat
    actors: tuple[_Actor, ...]
    """Far ones first."""
    pan: tuple[float, float]
    """Left edge of the view at the first and the last frame, panorama pixels."""
    tilt: float
    """Top edge of the view, panorama pixels."""
    zoom: tuple[float, float]
    seed: int

    def frame(self, number: int, count: int) -> Frame:
        """Return frame `number` of `count`."""
        time = number / max(1, count - 1)
        step = 1 / max(1, count - 1)
        rng = np.random.default_rng((self.seed, number))
        view, later = self._view(time), self._view(time + step)
        picture = _seen_by(view, self.habitat.background)
        moved = later[:, 2] - view[:, 2]
        picture = _smear(picture, float(moved[0]), float(moved[1]))

        visible: list[tuple[_Actor, FloatArray]] = []
        for actor in self.actors:
            sprite = self._draw(picture, actor, time, step, view, later)
            for _, alpha in visible:
                alpha[sprite.window] *= 1 - sprite.alpha
            alpha = np.zeros(FRAME_SHAPE, np.float32)
            alpha[sprite.window] = sprite.alpha
            visible.append((actor, alpha))

        near = view.copy()
        near[0, 2] *= 1.3
        front = _seen_by(near, self.habitat.front)
        front = _smear(front, 1.3 * float(moved[0]), float(moved[1]))
        picture *= 1 - front[..., 3:]
        picture += front[..., :3]
        if self.habitat.snowing:
            _snowfall(picture, self.seed, time)
        picture += self.habitat.light.grain * rng.standard_normal((*FRAME_SHAPE, 1), np.float32)

        pandas: dict[int, Mask] = {}
        others: list[Mask] = []
        seen = 0
        for actor, alpha in visible:
            mask = alpha * (1 - front[..., 3]) > 0.5
            seen += actor.kind == "panda"
            if mask.sum() < SMALLEST:
                continue
            if actor.kind == "panda":
                pandas[seen] = mask
            else:
                others.append(mask)
        return Frame((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8), pandas, others)

    def _view(self, time: float) -> FloatArray:
        """(2, 3): from panorama to frame pixels."""
        zoom = self.zoom[0] + time * (self.zoom[1] - self.zoom[0])
        left = self.pan[0] + time * (self.pan[1] - self.pan[0]) + 1.5 * sin(11 * time + self.seed)
        top = self.tilt + 1.2 * sin(8 * time + 2 * self.seed)
        return np.array([[zoom, 0, -zoom * left], [0, zoom, -zoom * top]], np.float32)

    def _draw(
        self,
        picture: FloatArray,
        actor: _Actor,
        time: float,
        step: float,
        view: FloatArray,
        later: FloatArray,
    ) -> Sprite:
        """Paint the actor and its shadow into the picture and return its sprite."""
        light = self.habitat.light
        feet, scale = self._place(actor, time, view)
        then, _ = self._place(actor, time + step, later)
        sprite = render(
            actor.parts(time),
            actor.coat,
            light,
            scale=scale,
            feet=feet,
            shape=FRAME_SHAPE,
            mirrored=actor.path[1] < actor.path[0] or (actor.sitting and actor.phase > pi),
            roughness=0.4 if actor.kind == "magpie" else 1.0,
            place=actor.phase / 6,
        )
        if not sprite.alpha.size:
            return sprite
        _shadow(
            picture,
            feet,
            scale,
            0.45 if actor.sitting or actor.kind == "magpie" else 0.75,
            sum(light.sun) / 3,
        )
        layer = np.dstack([sprite.colour * sprite.alpha[..., None], sprite.alpha])
        layer = _smear(layer, then[0] - feet[0], then[1] - feet[1])
        haze = light.thickness * 0.6 * exp(-3 * scale / FRAME_SHAPE[0])
        layer[..., :3] += haze * (np.asarray(light.haze, np.float32) * layer[..., 3:] - layer[..., :3])
        picture[sprite.window] *= 1 - layer[..., 3:]
        picture[sprite.window] += layer[..., :3]
        return Sprite(sprite.window, layer[..., :3], layer[..., 3])

    def _place(self, actor: _Actor, time: float, view: FloatArray) -> tuple[tuple[float, float], float]:
        """Where the feet are, frame pixels, and the body height, frame pixels."""
        x, size = actor.at(time)
        near = max(0.0, size / FRAME_SHAPE[0] - 0.1) / 0.8
        y = self.habitat.horizon + (0.10 + 0.88 * near**0.7) * (HEIGHT - 26 - self.habitat.horizon)
        zoom = float(view[0, 0])
        return (zoom * x + float(view[0, 2]), zoom * y + float(view[1, 2])), zoom * size


def plan(habitat: Habitat, rng: np.random.Generator) -> Clip:
    """Return a clip in this place: one panda, now and then two, and often something that is none."""
    rows, columns = FRAME_SHAPE
    zoom = (float(rng.uniform(1.0, 1.15)), float(rng.uniform(1.0, 1.15)))
    slack = WIDTH - columns
    pan = (float(rng.uniform(0.2, 0.8) * slack), float(rng.uniform(0.2, 0.8) * slack))
    tilt = float(rng.uniform(0.75, 1.0) * (HEIGHT - rows / max(zoom)))
    actors = []
    for _ in range(2 if rng.uniform() < 0.15 else 1):
        actors.append(_panda(rng, pan))
    for _ in range(int(rng.choice((0, 1, 2), p=(0.3, 0.45, 0.25)))):
        actors.append(_bystander(rng, pan, actors[0]))
    actors.sort(key=lambda actor: actor.size[0])
    return Clip(habitat, tuple(actors), pan, tilt, zoom, int(rng.integers(2**31)))


def _panda(rng: np.random.Generator, pan: tuple[float, float]) -> _Actor:
    size = FRAME_SHAPE[0] * float(np.exp(rng.uniform(np.log(0.2), np.log(0.9))))
    growth = float(rng.uniform(0.9, 1.12))
    start = pan[0] + rng.uniform(0.2, 0.8) * FRAME_SHAPE[1]
    behaviour = rng.uniform()
    sitting = bool(behaviour < 0.3)
    direction = float(rng.choice((-1, 1)))
    if sitting:
        end, growth = start, 1.0
    elif behaviour < 0.45:
        # It walks out of the picture before the clip ends.
        border = pan[1] + (FRAME_SHAPE[1] if direction > 0 else 0)
        start = border - direction * rng.uniform(0.1, 0.4) * FRAME_SHAPE[1]
        end = start + 1.35 * (border - start + direction * size * 0.6)
    else:
        end = start + direction * rng.uniform(0.25, 0.5) * FRAME_SHAPE[1]
        if not pan[1] + 40 < end < pan[1] + FRAME_SHAPE[1] - 40:
            end = 2 * start - end
    build = Build(*(float(v) for v in rng.uniform((0.92, 0.92, 0.95), (1.12, 1.08, 1.15))))
    yaw = (float(rng.uniform(0.0, 1.3)), float(rng.uniform(0.1, 0.5)))
    phase = float(rng.uniform(0, 2 * pi))
    size = min(size, 0.9 * FRAME_SHAPE[0] / max(1.0, growth))
    return _Actor(
        "panda", PANDA, build, (float(start), float(end)), (size, size * growth), sitting, yaw, phase
    )


def _bystander(rng: np.random.Generator, pan: tuple[float, float], panda: _Actor) -> _Actor:
    kind = str(
        rng.choice(("brown", "negative", "zebra", "magpie", "boulder"), p=(0.28, 0.2, 0.14, 0.16, 0.22))
    )
    size = min(0.6 * FRAME_SHAPE[0], panda.size[0] * float(rng.uniform(0.55, 1.1)))
    if kind == "magpie":
        size = FRAME_SHAPE[0] * float(rng.uniform(0.06, 0.14))
    # It keeps to the half of the picture where the panda does not begin.
    left = panda.path[0] - pan[0] > FRAME_SHAPE[1] / 2
    start = pan[0] + FRAME_SHAPE[1] * (rng.uniform(0.05, 0.35) if left else rng.uniform(0.65, 0.95))
    still = kind == "boulder" or rng.uniform() < 0.3
    end = start + (0.0 if still else rng.uniform(-0.35, 0.35) * FRAME_SHAPE[1])
    coats = {"brown": BROWN, "negative": NEGATIVE, "zebra": ZEBRA, "magpie": MAGPIE, "boulder": BOULDER}
    build = (
        Build(0.82, 1.25, 0.85) if kind == "zebra" else Build(*(float(v) for v in rng.uniform(0.92, 1.1, 3)))
    )
    return _Actor(
        kind,
        coats[kind],
        build,
        (float(start), float(end)),
        (size, size),
        bool(still and kind in ("brown", "negative") and rng.uniform() < 0.6),
        (float(rng.uniform(0, 1.3)), 0.3),
        float(rng.uniform(0, 2 * pi)),
        tuple(boulder(rng)) if kind == "boulder" else (),
    )


def _seen_by(view: FloatArray, panorama: FloatArray) -> FloatArray:
    """The frame's part of a panorama."""
    size = FRAME_SHAPE[::-1]
    seen = cv2.warpAffine(panorama, view, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(seen, np.float32)


def _shadow(picture: FloatArray, feet: tuple[float, float], scale: float, half: float, sun: float) -> None:
    """Darken the ground under the feet."""
    rows = slice(max(0, int(feet[1] - 0.3 * scale)), max(0, int(feet[1] + 0.3 * scale)))
    columns = slice(max(0, int(feet[0] - 2 * half * scale)), max(0, int(feet[0] + 2 * half * scale)))
    window = picture[rows, columns]
    if not window.size:
        return
    y = (np.arange(window.shape[0], dtype=np.float32) + rows.start - feet[1] + 0.03 * scale) / (0.09 * scale)
    x = (np.arange(window.shape[1], dtype=np.float32) + columns.start - feet[0]) / (half * scale)
    dark = np.exp(-((y**2)[:, None]) - (x**4)[None, :])
    window *= 1 - (0.35 + 0.35 * min(1.0, sun)) * dark[..., None]


def _smear(layer: FloatArray, dx: float, dy: float) -> FloatArray:
    """The layer as a camera sees it that moves this far, in pixels, from one frame to the next."""
    dx, dy = dx * SHUTTER, dy * SHUTTER
    length = hypot(dx, dy)
    if length < 1:
        return layer
    half = int(np.ceil(length / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    start = (round(half - dx / 2), round(half - dy / 2))
    cv2.line(kernel, start, (round(half + dx / 2), round(half + dy / 2)), 1.0, 1)
    smeared = cv2.filter2D(layer, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smeared, np.float32)


def _snowfall(picture: FloatArray, seed: int, time: float) -> None:
    rows, columns = FRAME_SHAPE
    flakes = np.random.default_rng(seed).uniform(size=(140, 3))
    for x, y, near in flakes.tolist():
        centre = (int((x + 0.3 * time * near) % 1 * columns), int((y + (0.5 + near) * 3 * time) % 1 * rows))
        cv2.circle(picture, centre, 1 + int(near > 0.8), (0.95, 0.96, 0.98), -1, cv2.LINE_AA)
