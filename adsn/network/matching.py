"""Compare the images of a pair: do they show one moment? Each stream gives an embedding; their cosine is compared.

Each image of a replaced or frozen stream shows a live face by itself. Only the comparison tells: head pose, gaze,
expression and outline agree in two images of one moment and differ in any others. The embeddings are trained as CLIP's
are (Radford et al. 2021, arXiv 2103.00020): each image has to find its counterpart among all of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SQUEEZED = 24
"""Channels that are kept of the deep features before their positions are flattened."""
STEEPNESS = 10.0
"""Factor on the logit. Few parameters set its scale, and the optimiser moves them slowly. The factor compensates."""
START_GAIN = 1.5
START_OFFSET = 0.9
"""Initial gain and offset. With them, a cosine of 0.6 gives a logit of 0: neither a match nor a mismatch."""


class Matching(nn.Module):
    """Compare the deep features of two streams [N, C, h, w], with their positions, in ``width`` dimensions.

    The result is a logit: steepness · (gain · cosine + the doubts of both streams). Doubt counts in favour of a match.
    A stream raises it where its image shows nothing to compare, such as an RGB image in darkness. The match probability
    is then near 1, and the liveness head alone decides.
    """

    def __init__(self, channels: int, grid: int, width: int) -> None:
        super().__init__()
        flat = SQUEEZED * grid * grid
        self.flat = flat
        self.squeeze = nn.ModuleList(nn.Conv2d(channels, SQUEEZED, 1, bias=False) for _ in range(2))
        self.bn = nn.ModuleList(nn.BatchNorm2d(SQUEEZED) for _ in range(2))
        self.project = nn.ModuleList(nn.Linear(flat, width) for _ in range(2))
        self.doubt = nn.ModuleList(nn.Linear(flat, 1) for _ in range(2))
        self.gain = nn.Parameter(torch.tensor(START_GAIN))
        for doubt in self.doubt:
            assert isinstance(doubt, nn.Linear)
            nn.init.zeros_(doubt.weight)
            nn.init.constant_(doubt.bias, -START_OFFSET / 2)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logit [N] and the embeddings [N, 2, width], each of L2 norm 1."""
        embeddings: list[Tensor] = []
        doubts: list[Tensor] = []
        for index, deep in enumerate((first, second)):
            kept = F.relu(self.bn[index](self.squeeze[index](deep))).reshape(-1, self.flat)
            projected = self.project[index](kept)
            # As in the pooling: rsqrt and known sizes keep Shape and Expand out of the exported graph.
            embeddings.append(projected * torch.rsqrt((projected * projected).sum(1, keepdim=True) + 1e-6))
            doubts.append(self.doubt[index](kept).reshape(-1))
        cosine = (embeddings[0] * embeddings[1]).sum(1)
        return STEEPNESS * (self.gain * cosine + doubts[0] + doubts[1]), torch.stack(embeddings, 1)


def joint_logit(live: Tensor, match: Tensor) -> Tensor:
    """Return the logit of sigmoid(live) · sigmoid(match), computed without overflow."""
    return -torch.logsumexp(torch.stack([-live, -match, -live - match]), 0)
