"""The trained half of the proxy detector: a feature pyramid and an FCOS head on top of frozen features.

Layers, matching, losses and suppression are torchvision's. Three things differ from its FCOS: one tower is
shared by classification and regression, places lie in the middle of their stride, and the regression starts
from boxes of two strides. This module neither reads images nor trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.ops import FeaturePyramidNetwork

from .features import CHANNELS, STRIDES

__all__ = ["Network"]

_GROUP = 4
"""Channels that are normalised together."""
_LOWEST = 0.02
"""Predictions of a lower score are left out."""


class _Head(FCOSHead):  # type: ignore[misc]  # torchvision ships no types
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, 1, classes, num_convs=0)
        groups = channels // _GROUP
        self.tower = nn.Sequential(
            nn.GroupNorm(groups, channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(groups, channels),
            nn.ReLU(),
        )
        # torchvision rectifies the distances to the sides; from a bias of 0 half of them would start dead.
        nn.init.ones_(self.regression_head.bbox_reg.bias)

    def forward(self, levels: list[Tensor]) -> dict[str, Tensor]:
        return super().forward([self.tower(level) for level in levels])  # type: ignore[no-any-return]


class Network(FCOS):  # type: ignore[misc]
    """FCOS from backbone features to losses or boxes; inputs are (N, C, H, W) float32, one a stride."""

    def __init__(self, channels: int, classes: int) -> None:
        pyramid = FeaturePyramidNetwork(list(CHANNELS), channels)
        pyramid.out_channels = channels  # FCOS asks for it
        super().__init__(pyramid, classes, head=_Head(channels, classes), score_thresh=_LOWEST)

    def loss(self, levels: Sequence[Tensor], targets: list[dict[str, Tensor]]) -> Tensor:
        """Return the sum of FCOS's three losses. Targets have `boxes` (xyxy, input pixels) and `labels`."""
        places = _places(levels)
        every = torch.cat(places)
        outputs = self.head(self._pyramid(levels))
        losses = self.compute_loss(targets, outputs, [every] * len(targets), [len(level) for level in places])
        return torch.stack(list(losses.values())).sum()

    def box_losses(self, levels: Sequence[Tensor], target: dict[str, Tensor]) -> Tensor:
        """Return for each box of one image the loss at the places that would learn it alone, (N,).

        The sum of FCOS's three losses, the mean over those places; NaN where there is none. The loss of the
        background is left out: it belongs to no box.
        """
        places = _places(levels)
        every, counts = torch.cat(places), [len(level) for level in places]
        outputs = self.head(self._pyramid(levels))
        alone = [
            {name: value[row : row + 1] for name, value in target.items()}
            for row in range(len(target["boxes"]))
        ]
        # FCOS matches and hands the result to its head; here the head hands it back.
        handing_back = SimpleNamespace(compute_loss=lambda _targets, _outputs, _places, matched: matched)
        matcher = SimpleNamespace(center_sampling_radius=self.center_sampling_radius, head=handing_back)
        matched = FCOS.compute_loss(matcher, alone, outputs, [every] * len(alone), counts)
        losses = torch.full((len(alone),), torch.nan)
        for row, (own, places_of_box) in enumerate(zip(alone, matched, strict=True)):
            chosen = places_of_box >= 0
            if chosen.any():
                part = {name: output[:, chosen] for name, output in outputs.items()}
                terms = self.head.compute_loss([own], part, [every[chosen]], [places_of_box[chosen]])
                losses[row] = torch.stack(list(terms.values())).sum()
        return losses

    def detect(self, levels: Sequence[Tensor], sizes: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """Return `boxes` (xyxy, input pixels), `labels` and falling `scores` of images of these (H, W)."""
        places = _places(levels)
        counts = [len(level) for level in places]
        outputs = self.head(self._pyramid(levels))
        by_level = {name: list(output.split(counts, dim=1)) for name, output in outputs.items()}
        found: list[dict[str, Tensor]] = self.postprocess_detections(by_level, [places] * len(sizes), sizes)
        return found

    def _pyramid(self, levels: Sequence[Tensor]) -> list[Tensor]:
        return list(
            self.backbone({str(stride): x for stride, x in zip(STRIDES, levels, strict=True)}).values()
        )


def _places(levels: Sequence[Tensor]) -> list[Tensor]:
    """For each level the squares of its stride around each place, (H × W, 4) xyxy input pixels."""
    places = []
    for level, stride in zip(levels, STRIDES, strict=True):
        rows, columns = level.shape[2:]
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        corner = torch.stack([x, y], dim=-1).reshape(-1, 2).float() * stride
        places.append(torch.cat([corner, corner + stride], dim=1))
    return places
