"""What a batch goes through before the network: changes that a rig, a room or a fault would make.

Works on uint8 batches and gives uint8 back, because the graph takes what cameras give: an augmentation that a
camera could not have produced would teach the network about values it never meets.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Probabilities per sample (``drop`` of one modality, ``dark`` colour near black, ``blur``, ``erase``,
    ``copy_grey``: see `copied_grey`) and strengths (``gain`` and ``tint`` as fractions, ``noise`` in 8-bit steps).

    Wider than any one camera's range on purpose: the network must not learn a camera's tone curve or sharpness."""

    drop: float = 0.1
    dark: float = 0.1
    gain: float = 0.4
    noise: float = 8.0
    blur: float = 0.4
    tint: float = 0.2
    erase: float = 0.2
    copy_grey: float = 0.03


def blank(batch: Tensor, chosen: Tensor) -> Tensor:
    """Zero the chosen samples of [N, S, S, C]."""
    return batch * (~chosen).to(batch.dtype)[:, None, None, None]


def _rows(n: int, generator: torch.Generator, low: float, high: float) -> Tensor:
    return (torch.rand(n, generator=generator) * (high - low) + low)[:, None, None, None]


def _soften(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Blend some samples of [N, S, S, C] with their 3×3 mean: another lens, or a subject that moved."""
    mean = F.avg_pool2d(x.permute(0, 3, 1, 2), 3, 1, 1, count_include_pad=False).permute(0, 2, 3, 1)
    amount = _rows(len(x), generator, 0.0, 1.0)
    chosen = (torch.rand(len(x), generator=generator) < probability)[:, None, None, None]
    return torch.where(chosen, x + amount * (mean - x), x)


def exposure(image: Tensor, config: AugmentConfig, generator: torch.Generator, *, dark: bool) -> Tensor:
    """Sharpness, gamma, gain, tint, noise and, for some samples of colour, a scene near black.

    uint8 [N, S, S, C] → the same.
    """
    n = len(image)
    x = image.float() / 255
    x = _soften(x, config.blur, generator)
    x = x ** _rows(n, generator, 1 - config.gain, 1 + config.gain) * _rows(
        n, generator, 1 - config.gain, 1 + config.gain
    )
    if image.shape[3] == 3:
        x = x * (1 + (torch.rand(n, 1, 1, 3, generator=generator) * 2 - 1) * config.tint)
    if dark:
        dim = (torch.rand(n, generator=generator) < config.dark)[:, None, None, None]
        x = torch.where(dim, x * _rows(n, generator, 0.0, 0.06), x)
    sigma = _rows(n, generator, 0.0, config.noise / 255)
    x = x + torch.randn(x.shape, generator=generator) * sigma
    return (x * 255).round().clamp(0, 255).to(torch.uint8)


def erase(image: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Cover one random rectangle of some samples with a grey value: dirt, a hand, a strap."""
    image = image.clone()
    size = image.shape[1]
    for i in torch.nonzero(torch.rand(len(image), generator=generator) < probability).flatten().tolist():
        height, width = (torch.randint(size // 10, size // 4, (2,), generator=generator)).tolist()
        top = int(torch.randint(0, size - height, (1,), generator=generator))
        left = int(torch.randint(0, size - width, (1,), generator=generator))
        value = int(torch.randint(0, 256, (1,), generator=generator))
        image[i, top : top + height, left : left + width] = value
    return image


def copied_grey(
    rgb: Tensor, ir: Tensor, label: Tensor, probability: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Some samples whose infrared picture is the colour one's luminance, and which are therefore attacks.

    Whoever injects a colour video needs an infrared one beside it, and this is the one that costs nothing. No
    illuminator made it, so it must never count as a person, whoever is in it. → ``ir`` and ``label`` changed.
    """
    chosen = torch.rand(len(rgb), generator=generator) < probability
    weights = torch.tensor([0.299, 0.587, 0.114])
    grey = (rgb.float() @ weights).round().to(torch.uint8)[..., None]
    return torch.where(chosen[:, None, None, None], grey, ir), torch.where(chosen, torch.zeros_like(label), label)


def augment(
    first: Tensor,
    second: Tensor,
    label: Tensor,
    modalities: tuple[str, str],
    config: AugmentConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Augment a batch of both modalities → both, labels int64 [N], ``stream_weight`` float32 [N, 2] (0: blanked)."""
    n = len(first)
    copied = torch.zeros(n, dtype=torch.bool)
    if modalities == ("rgb", "ir") and config.copy_grey:
        before = label
        second, label = copied_grey(first, second, label, config.copy_grey, generator)
        copied = before != label
    flip = torch.rand(n, generator=generator) < 0.5
    out: list[Tensor] = []
    for modality, batch in zip(modalities, (first, second), strict=True):
        batch = torch.where(flip[:, None, None, None], batch.flip(2), batch)
        if modality != "depth":
            batch = erase(exposure(batch, config, generator, dark=modality == "rgb"), config.erase, generator)
        out.append(batch)
    draw = torch.rand(n, generator=generator)
    # Either half of a copied pair looks genuine by itself: nothing may be learnt from it alone.
    dropped = torch.stack([draw < config.drop, draw > 1 - config.drop], 1) & ~copied[:, None]
    weight = (~dropped & ~copied[:, None]).float()
    return blank(out[0], dropped[:, 0]), blank(out[1], dropped[:, 1]), label, weight
