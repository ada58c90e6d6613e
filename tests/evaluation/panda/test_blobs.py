from math import pi

import numpy as np
import pytest

from metricsmith.evaluation.panda.blobs import Blob, Light, Pelt, Sprite, render

LIGHT = Light(sun=(0.7, 0.7, 0.7), sky=(0.3, 0.3, 0.3), direction=(-0.8, 0.0, 0.6))
GREY = {"grey": Pelt((0.5, 0.5, 0.5), smooth=True), "red": Pelt((0.9, 0.0, 0.0), smooth=True)}
BALL = Blob(0, -0.5, 0.4, 0.4, "grey", rz=0.4)


def draw(blobs: list[Blob], *, mirrored: bool = False, x: float = 80.0, roughness: float = 0.0) -> Sprite:
    return render(
        blobs, GREY, LIGHT, scale=100, feet=(x, 100), shape=(120, 160), mirrored=mirrored, roughness=roughness
    )


def test_ball_covers_its_disc() -> None:
    assert draw([BALL]).alpha.sum() == pytest.approx(pi * 40**2, rel=0.01)


def test_side_towards_the_sun_is_brighter() -> None:
    sprite = draw([BALL])
    middle = sprite.colour.shape[1] // 2
    row = sprite.colour[sprite.colour.shape[0] // 2, :, 0]
    assert row[middle - 25] > 1.5 * row[middle + 25]


def test_nearer_part_hides_the_farther_in_any_order() -> None:
    near = Blob(0, -0.5, 0.2, 0.2, "red", z=0.5)
    for blobs in ([BALL, near], [near, BALL]):
        sprite = draw(blobs)
        red, green, _ = sprite.colour[sprite.colour.shape[0] // 2, sprite.colour.shape[1] // 2]
        assert green < 0.1 * red


def test_fur_makes_the_outline_rough_but_not_larger() -> None:
    smooth, rough = (draw([BALL], roughness=amount).alpha for amount in (0.0, 1.0))
    assert rough.sum() == pytest.approx(smooth.sum(), rel=0.05)
    assert np.abs(np.diff(rough, axis=1)).sum() > 1.02 * np.abs(np.diff(smooth, axis=1)).sum()


def test_mirror_image_faces_the_other_way() -> None:
    nose = Blob(0.5, -0.5, 0.1, 0.1, "red")
    right, left = (draw([BALL, nose], mirrored=mirrored) for mirrored in (False, True))
    assert right.window[1].stop > 80 + 58
    assert left.window[1].start < 80 - 58


@pytest.mark.parametrize("x", [-500.0, 900.0])
def test_out_of_the_frame_is_empty(x: float) -> None:
    assert draw([BALL], x=x).alpha.size == 0


def test_cut_by_the_edge_is_as_in_the_middle() -> None:
    whole, cut = draw([BALL], roughness=1.0), draw([BALL], x=0.0, roughness=1.0)
    width = cut.alpha.shape[1]
    np.testing.assert_allclose(cut.alpha, whole.alpha[:, -width:], atol=0.05)
