"""Compare the images of a pair: do they show one moment? Each stream gives an embedding; their cosine is compared.

Each image of a replaced or frozen stream shows a live face by itself. Only the comparison tells: head pose, gaze,
expression and outline agree in two images of one moment and differ in any others. An embedding is therefore a map:
every cell of the fine grid of one image is compared with the same cell of the other. The embeddings are trained as
CLIP's are (Radford et al. 2021, arXiv 2103.00020): each image has to find its counterpart among all of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEEPNESS = 10.0
"""Factor on the logit. Few parameters set its scale, and the optimiser moves them slowly. The factor compensates."""
START_GAIN = 2.5
START_OFFSET = 0.95
"""Initial gain and offset. With them, a cosine of 0.38 gives a logit of 0: neither a match nor a mismatch. Cosines of
images that belong together are around 0.55, well below 1. A larger offset makes the network raise all cosines instead
of learning what differs."""


class Matching(nn.Module):
    """Compare the fine features of two streams [N, C, h, h], cell by cell, in ``width`` dimensions a cell.

    The result is a logit: steepness · (gain · cosine + the doubts of both streams). Doubt counts in favour of a match.
    A stream raises it where its image shows nothing to compare, such as an RGB image in darkness. The match probability
    is then near 1, and the liveness head alone decides.

    The embedding of a whole image is one vector, so that a cell counts as much as the network finds in it.
    """

    def __init__(self, channels: int, edge: int, width: int) -> None:
        super().__init__()
        self.edge, self.inner = edge, channels // 2
        self.size = width * edge * edge
        self.outline = nn.ModuleList(self._outline(channels, self.inner) for _ in range(2))
        self.project = nn.ModuleList(nn.Conv2d(self.inner, width, 1) for _ in range(2))
        self.doubt = nn.ModuleList(nn.Linear(self.inner, 1) for _ in range(2))
        self.gain = nn.Parameter(torch.tensor(START_GAIN))
        for doubt in self.doubt:
            assert isinstance(doubt, nn.Linear)
            nn.init.zeros_(doubt.weight)
            nn.init.constant_(doubt.bias, -START_OFFSET / 2)

    @staticmethod
    def _outline(channels: int, inner: int) -> nn.Sequential:
        """Return the layers that look for what both images show: where things begin and end."""
        return nn.Sequential(nn.Conv2d(channels, inner, 3, 1, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU())

    @torch.no_grad()
    def shift(self, offset: float) -> None:
        """Add ``offset`` to the logit of every pair."""
        for doubt in self.doubt:
            assert isinstance(doubt, nn.Linear)
            doubt.bias.add_(offset / STEEPNESS / len(self.doubt))

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logit [N] and the embeddings [N, 2, width·h·h], each of L2 norm 1."""
        embeddings: list[Tensor] = []
        doubts: list[Tensor] = []
        for index, fine in enumerate((first, second)):
            seen = self.outline[index](fine)
            # The factor keeps the sum of squares within half precision.
            projected = self.project[index](seen).reshape(-1, self.size) * self.size**-0.5
            # As in the pooling: rsqrt and known sizes keep Shape and Expand out of the exported graph.
            embeddings.append(projected * torch.rsqrt((projected * projected).sum(1, keepdim=True) + 1e-6))
            doubts.append(self.doubt[index](F.avg_pool2d(seen, self.edge).reshape(-1, self.inner)).reshape(-1))
        cosine = (embeddings[0] * embeddings[1]).sum(1)
        return STEEPNESS * (self.gain * cosine + doubts[0] + doubts[1]), torch.stack(embeddings, 1)


def joint_logit(live: Tensor, match: Tensor) -> Tensor:
    """Return the logit of sigmoid(live) · sigmoid(match), computed without overflow."""
    return -torch.logsumexp(torch.stack([-live, -match, -live - match]), 0)
