"""Joint loss: classification, attention maps that do not overlap, local areas that agree on the class.

The paper's abstract asks that "local areas in the image do not overlap and belong to the same class"; the survey
entry names binary cross-entropy, centre and cosine losses. The forms below are this project's reading. A network that
compares its streams also learns which images belong together (`contrastive_loss`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adsn.network.matching import joint_logit
from adsn.network.model import Outputs

BONA_FIDE = 1
ATTACK = 0


def overlap_loss(attention: Tensor) -> Tensor:
    """Return the mean cosine similarity between the maps of one stream: 0 if none overlap, 1 if all are equal.

    ``attention`` [N, 2, M, h, w], non-negative. With a single map the loss is 0.
    """
    maps = attention.flatten(3)
    count = maps.shape[2]
    if count < 2:
        return attention.sum() * 0.0
    unit = F.normalize(maps, dim=3, eps=1e-6)
    similarity = unit @ unit.transpose(2, 3)
    off_diagonal = similarity.sum((2, 3)) - similarity.diagonal(dim1=2, dim2=3).sum(2)
    return (off_diagonal / (count * (count - 1))).mean()


class CentreLoss(nn.Module):
    """Pull part features towards the centre of their class and push them away from the other class's.

    One centre per class, stream and part: [2, 2, M, C]. Centres follow the data by moving average, outside
    the optimiser (as WS-DAN's do). The pull is full for bona fide faces, which resemble each
    other, and slack within ``attack_slack`` for attacks, which do not. The push acts on features nearer than ``margin``
    (squared distance of unit vectors: 0 to 4) to the other class's centre.
    """

    centres: Tensor

    def __init__(self, maps: int, channels: int, *, rate: float = 0.05, margin: float = 0.5, attack_slack: float = 0.2):
        super().__init__()
        self.rate, self.margin, self.attack_slack = rate, margin, attack_slack
        self.register_buffer("centres", torch.zeros(2, 2, maps, channels))

    def forward(self, parts: Tensor, label: Tensor) -> Tensor:
        """Return the loss, a scalar, of ``parts`` [N, 2, M, C] with ``label`` int64 [N] (1 bona fide, 0 attack)."""
        own = (parts - self.centres[label]).square().sum(3)
        other = (parts - self.centres[1 - label]).square().sum(3)
        slack = torch.where(label == ATTACK, self.attack_slack, 0.0)[:, None, None]
        loss = (F.relu(own - slack) + F.relu(self.margin - other)).mean()
        if self.training:
            self._follow(parts.detach().float(), label)
        return loss

    @torch.no_grad()
    def _follow(self, parts: Tensor, label: Tensor) -> None:
        for kind in (ATTACK, BONA_FIDE):
            chosen = parts[label == kind]
            if len(chosen):
                self.centres[kind] += self.rate * (chosen.mean(0) - self.centres[kind])


SHARPNESS = 15.0
"""Factor on the cosines of embeddings before the softmax. It is fixed, close to the value that a trained
factor reaches."""


def contrastive_loss(
    embeddings: Tensor, matched: Tensor, contradicting: Tensor, remembered: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy of finding each image's counterpart in the other modality, both ways (InfoNCE).

    ``embeddings`` [N, 2, D] of L2 norm 1; ``matched`` bool [N]: pairs of one moment; only these take part.
    ``remembered`` [K, 2, D]: embeddings of earlier pairs, which are counterparts of none. ``contradicting`` bool
    [N, N + K]: where an image of one pair cannot be the counterpart of an image of another. The loss is 0 if there is
    nothing to confuse a counterpart with.
    """
    chosen = torch.nonzero(matched).flatten()
    own = embeddings[chosen]
    others = own if remembered is None else torch.cat([own, remembered])
    if len(others) < 2 or not len(own):
        return embeddings.sum() * 0.0
    itself = torch.eye(len(own), len(others), dtype=torch.bool, device=own.device)
    earlier = torch.arange(len(embeddings), contradicting.shape[1], device=chosen.device)
    possible = contradicting[chosen][:, torch.cat([chosen, earlier])] | itself
    target = torch.arange(len(own), device=own.device)
    ways = []
    for one, other in ((0, 1), (1, 0)):
        logits = (SHARPNESS * own[:, one] @ others[:, other].T).masked_fill(~possible, -1e4)
        ways.append(F.cross_entropy(logits, target))
    return (ways[0] + ways[1]) / 2


class Counterparts(NamedTuple):
    """Known matches and contradictions between the images of a batch.

    ``matches`` int64 [N] and ``comparable`` bool [N]: see `adsn.training.augment.AugmentedBatch`. ``contradicting``
    bool [N, N + K] and ``remembered`` [K, 2, D]: see `adsn.training.memory.EmbeddingMemory`.
    """

    matches: Tensor
    comparable: Tensor
    contradicting: Tensor
    remembered: Tensor | None = None


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the terms. The defaults were chosen on the synthetic development set."""

    stream: float = 0.3
    centre: float = 0.05
    overlap: float = 0.1
    match: float = 1.0
    label_smoothing: float = 0.02


class JointLoss(nn.Module):
    """Binary cross-entropy of the fused score and of each stream's score, plus the centre, overlap and match terms."""

    def __init__(self, maps: int, channels: int, weights: LossWeights | None = None) -> None:
        super().__init__()
        self.weights = weights or LossWeights()
        self.centre = CentreLoss(maps, channels)

    def forward(
        self, out: Outputs, label: Tensor, stream_weight: Tensor, counterparts: Counterparts | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the total loss and its terms by name.

        ``label`` int64 [N]; ``stream_weight`` float32 [N, 2]: 0 where a stream has nothing to learn, because modality
        dropout blanked its image, or because the pair is a fake composed of images that look bona fide one by one.
        ``counterparts``: needed by a network that compares its streams.
        """
        w = self.weights
        target = label.float() * (1 - 2 * w.label_smoothing) + w.label_smoothing
        score = out.logit if out.match is None else joint_logit(out.logit, out.match)
        fused = F.binary_cross_entropy_with_logits(score, target)
        per_stream = F.binary_cross_entropy_with_logits(
            out.stream_logits, target[:, None].expand(-1, 2), reduction="none"
        )
        stream = (per_stream * stream_weight).sum() / stream_weight.sum().clamp_min(1.0)
        centre = self.centre(out.parts, label)
        overlap = overlap_loss(out.attention)
        total = fused + w.stream * stream + w.centre * centre + w.overlap * overlap
        terms = {"fused": fused, "stream": stream, "centre": centre, "overlap": overlap}
        if counterparts is not None and out.match is not None and out.embeddings is not None:
            _, comparable, contradicting, remembered = counterparts
            found = contrastive_loss(out.embeddings, comparable, contradicting, remembered)
            terms["match"] = found + self._agreement(out.match, counterparts.matches)
            total = total + w.match * terms["match"]
        return total, {name: float(value.detach()) for name, value in terms.items()}

    def _agreement(self, logit: Tensor, matches: Tensor) -> Tensor:
        """Return the cross-entropy of the match logit [N] where ``matches`` is known."""
        known = (matches >= 0).float()
        smooth = self.weights.label_smoothing
        target = matches.clamp_min(0).float() * (1 - 2 * smooth) + smooth
        per_pair = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
        return (per_pair * known).sum() / known.sum().clamp_min(1.0)
