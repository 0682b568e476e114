"""Augmentation: change a batch as a rig, a room or a fault would.

RGB and IR batches stay uint8, the format of camera frames, so that the network never trains on values that no camera
can produce. Depth stays float32 millimetres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Settings of the augmentation.

    Probabilities per sample: ``drop`` (for each of the two modalities; never both), ``dark`` (RGB near black),
    ``blur``, ``erase``, ``copy_grey`` (see `copied_grey`). Strengths: ``gain`` and ``tint`` as fractions, ``noise`` in
    8-bit steps.

    ``gamma``: largest exponent of the tone curve. ``level``: largest factor on the brightness. 1 turns either off.
    ``shading``: strength of a smooth illumination gradient over the crop. ``filter``, ``coarse``, ``border``:
    probability of a random 3×3 filter, of a lower resolution, and of a black border as at a frame's edge. ``warp``:
    largest shift and change of size (fractions), and ``turn``: largest rotation (radians), the same in both modalities.
    ``mismatch``: see `mismatched`. ``other_moment``: probability that the second image of a bona fide pair is replaced
    by one of the same person in another pose. ``sibling``: largest share of the bona fide pairs that get a sibling in
    their batch, which is a pair of the same person in another pose. For both see `adsn.training.moments`.

    The ranges exceed those of any one camera, so that the network learns no camera's tone curve or sharpness.
    """

    drop: float = 0.1
    dark: float = 0.1
    gain: float = 0.4
    noise: float = 8.0
    blur: float = 0.4
    tint: float = 0.2
    erase: float = 0.2
    copy_grey: float = 0.03
    gamma: float = 1.0
    level: float = 1.0
    shading: float = 0.0
    filter: float = 0.0
    coarse: float = 0.0
    border: float = 0.0
    warp: float = 0.0
    turn: float = 0.0
    mismatch: float = 0.0
    other_moment: float = 0.0
    sibling: float = 0.0


class AugmentedBatch(NamedTuple):
    """A batch as the network trains on it.

    ``first``, ``second``: images of both modalities. ``label`` int64 [N]. ``stream_weight`` float32 [N, 2]: 0 where a
    stream has nothing to learn. ``matches`` int64 [N]: 1 if both images of a bona fide pair show one moment, 0 if not,
    -1 for attacks, which may show anything. ``flipped`` bool [N]: pairs that are mirrored.
    """

    first: Tensor
    second: Tensor
    label: Tensor
    stream_weight: Tensor
    matches: Tensor
    flipped: Tensor

    @property
    def comparable(self) -> Tensor:
        """Bool [N]: bona fide pairs of one moment in which both images show something (see `BLACK`)."""
        bright = torch.stack([image.float().mean((1, 2, 3)) >= BLACK for image in (self.first, self.second)])
        return (self.matches == 1) & bright.all(0)


BLACK = 8.0
"""Mean value below which an image shows too little to be compared, or to be used for distillation. In 8-bit steps for
RGB and IR, in mm for depth."""
MIRRORED, TWISTED = 0.1, 0.25
"""Shares of mismatched pairs whose second image is the same person's, mirrored or twisted."""


def blank(batch: Tensor, chosen: Tensor) -> Tensor:
    """Set the chosen samples of a batch [N, S, S, C] to zero."""
    return batch * (~chosen).to(batch.dtype)[:, None, None, None]


def _rows(n: int, generator: torch.Generator, low: float, high: float) -> Tensor:
    return (torch.rand(n, generator=generator) * (high - low) + low)[:, None, None, None]


def _soften(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Blend some samples of [N, S, S, C] with their 3×3 mean: as by another lens or by motion."""
    mean = F.avg_pool2d(x.permute(0, 3, 1, 2), 3, 1, 1, count_include_pad=False).permute(0, 2, 3, 1)
    amount = _rows(len(x), generator, 0.0, 1.0)
    chosen = (torch.rand(len(x), generator=generator) < probability)[:, None, None, None]
    return torch.where(chosen, x + amount * (mean - x), x)


def _factors(n: int, generator: torch.Generator, largest: float) -> Tensor:
    """Return log-uniform factors [N, 1, 1, 1] between 1 / ``largest`` and ``largest``."""
    return torch.exp(_rows(n, generator, -math.log(largest), math.log(largest)))


def _filtered(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Filter some samples of [N, S, S, C] by a random 3×3 kernel of sum 1, as by another lens or by sharpening."""
    n, size, _, channels = x.shape
    kernel = torch.randn(n, 1, 3, 3, generator=generator) * _rows(n, generator, 0.0, 0.25)
    kernel[:, :, 1, 1] += 1
    kernel = kernel / kernel.sum((2, 3), keepdim=True).clamp_min(0.25)
    planes = F.pad(x.permute(0, 3, 1, 2).reshape(1, n * channels, size, size), (1, 1, 1, 1), mode="replicate")
    out = F.conv2d(planes, kernel.repeat_interleave(channels, 0), groups=n * channels)
    out = out.reshape(n, channels, size, size).permute(0, 2, 3, 1).clamp(0, 1)
    chosen = (torch.rand(n, generator=generator) < probability)[:, None, None, None]
    return torch.where(chosen, out, x)


def _coarsened(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Downsample and upsample some samples of [N, S, S, C], as of a distant face."""
    size = x.shape[1]
    small = int(size * (0.35 + 0.5 * float(torch.rand((), generator=generator))))
    chosen = torch.rand(len(x), generator=generator) < probability
    if not chosen.any():
        return x
    planes = F.interpolate(x[chosen].permute(0, 3, 1, 2), small, mode="area")
    x = x.clone()
    x[chosen] = F.interpolate(planes, size, mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    return x


def _shading(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Return smooth factors [N, S, S, 1] around 1, as from a lamp at one side, a shadow or a dirty window."""
    n, size = len(x), x.shape[1]
    coarse = torch.randn(n, 1, 4, 4, generator=generator) * strength * _rows(n, generator, 0.0, 1.0)
    smooth = F.interpolate(coarse, size, mode="bicubic", align_corners=False)
    return torch.exp(smooth).permute(0, 2, 3, 1)


def warped(
    first: Tensor,
    second: Tensor,
    modalities: tuple[str, str],
    strength: float,
    turn: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Rotate, shift and scale both crops of each pair alike, as for another detector's box or a tilted head.

    Both are [N, S, S, C]. ``strength``: largest shift and change of size, as fractions; ``turn``: largest rotation,
    radians. The dtype is kept. Depth is sampled by nearest neighbour, the others bilinearly. Pixels from
    outside are 0, as beyond a frame's edge.
    """
    n = len(first)
    largest = torch.tensor([turn, strength, strength, strength])
    angle, dx, dy, log_size = ((torch.rand(n, 4, generator=generator) * 2 - 1) * largest).unbind(1)
    size = torch.exp(log_size)
    # Half of the samples are not resampled at all.
    still = torch.rand(n, generator=generator) < 0.5
    angle, dx, dy = (torch.where(still, torch.zeros(n), v) for v in (angle, dx, dy))
    size = torch.where(still, torch.ones(n), size)
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    theta = torch.stack([torch.stack([cos, -sin, 2 * dx], 1), torch.stack([sin, cos, 2 * dy], 1)], 1)
    out = []
    for modality, batch in zip(modalities, (first, second), strict=True):
        planes = batch.permute(0, 3, 1, 2).float()
        grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
        mode = "nearest" if modality == "depth" else "bilinear"
        moved = F.grid_sample(planes, grid, mode=mode, padding_mode="zeros", align_corners=False)
        moved = moved.permute(0, 2, 3, 1)
        moved = moved.round().to(batch.dtype) if batch.dtype == torch.uint8 else moved
        out.append(torch.where(still[:, None, None, None], batch, moved))
    return out[0], out[1]


def bordered(first: Tensor, second: Tensor, probability: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blacken one side of both crops of some pairs [N, S, S, C], up to a quarter of it, as at the end of a frame."""
    first, second = first.clone(), second.clone()
    size = first.shape[1]
    for i in torch.nonzero(torch.rand(len(first), generator=generator) < probability).flatten().tolist():
        side = int(torch.randint(0, 4, (1,), generator=generator))
        depth = int(torch.randint(1, size // 4, (1,), generator=generator))
        for batch in (first, second):
            picture = batch[i] if side < 2 else batch[i].transpose(0, 1)
            if side % 2:
                picture[:depth] = 0
            else:
                picture[size - depth :] = 0
    return first, second


def mismatched(
    second: Tensor,
    label: Tensor,
    free: Tensor,
    probability: float,
    generator: torch.Generator,
    source: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Replace the second image of some bona fide pairs by a wrong one → ``second``, and bool [N]: the pairs chosen.

    The wrong image is that of another pair, or the pair's own, mirrored or twisted. Each image alone shows a live face;
    together they are an attack, as when one camera's stream is injected. ``free`` bool [N]: pairs that may be chosen.
    ``source`` int64 [N]: images are exchanged within a source only, because a difference between renderers or cameras
    would be too easy a cue.
    """
    candidates = free & (label == 1)
    chosen = candidates & (torch.rand(len(label), generator=generator) < probability)
    source = torch.zeros_like(label) if source is None else source
    other = torch.arange(len(label))
    for one in torch.unique(source):
        people = torch.nonzero(candidates & (source == one)).flatten()
        # Each pair gets the image of its neighbour in a random order, so never its own.
        order = people[torch.randperm(len(people), generator=generator)]
        other[order] = order.roll(1)
        if len(people) < 2:
            chosen[people] = False
    how = torch.rand(len(label), generator=generator)[:, None, None, None]
    false = torch.where(how < MIRRORED, second.flip(2), second[other])
    false = torch.where(how > 1 - TWISTED, twisted(second, generator), false)
    return torch.where(chosen[:, None, None, None], false, second), chosen


def twisted(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate each image of [N, S, S, C] by 7° to 20°, and shift and scale it at random.

    The views of two adjacent cameras never differ by such a rotation.
    """
    n = len(batch)
    # Between cameras 60 mm apart, a face shifts by a few percent of its size and does not rotate in the image plane.
    angle = torch.rand(n, generator=generator) * 0.23 + 0.12
    angle = torch.where(torch.rand(n, generator=generator) < 0.5, angle, -angle)
    dx, dy = (torch.rand(2, n, generator=generator) * 0.3 - 0.15).unbind(0)
    size = torch.exp(torch.rand(n, generator=generator) * 0.3 - 0.15)
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    theta = torch.stack([torch.stack([cos, -sin, dx], 1), torch.stack([sin, cos, dy], 1)], 1)
    planes = batch.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
    # Reflect at the border: black corners would be a cue.
    moved = F.grid_sample(planes, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    moved = moved.permute(0, 2, 3, 1)
    return moved.round().to(batch.dtype) if batch.dtype == torch.uint8 else moved


def exposure(image: Tensor, config: AugmentConfig, generator: torch.Generator, *, dark: bool) -> Tensor:
    """Change sharpness, gamma, gain and tint, add noise, and with ``dark`` darken some samples to near black.

    uint8 [N, S, S, C] → the same.
    """
    n = len(image)
    x = image.float() / 255
    x = _soften(x, config.blur, generator)
    if config.filter:
        x = _filtered(x, config.filter, generator)
    if config.coarse:
        x = _coarsened(x, config.coarse, generator)
    if config.gamma > 1:
        x = x.clamp_min(1e-6) ** _factors(n, generator, config.gamma)
    if config.level > 1:
        x = x * _factors(n, generator, config.level)
    if config.shading:
        x = x * _shading(x, config.shading, generator)
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
    """Cover one random rectangle of some samples with a grey value, as by dirt, a hand or a strap."""
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
    """Replace the IR image of some samples by the RGB luminance and label them attacks → ``ir``, ``label``.

    An injected RGB video needs an IR stream beside it, and its own luminance is the cheapest one. No IR illuminator lit
    it, so it never counts as bona fide.
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
    source: Tensor | None = None,
    swapped: Tensor | None = None,
) -> AugmentedBatch:
    """Augment a batch of pairs.

    ``source`` int64 [N]: which of several mixed sets each pair comes from. ``swapped`` bool [N]: pairs whose second
    image the caller has already replaced by one of another moment. The caller has labelled them attacks.
    """
    n = len(first)
    copied = torch.zeros(n, dtype=torch.bool) if swapped is None else swapped
    wrong = copied
    if modalities == ("rgb", "ir") and config.copy_grey:
        before = label
        second, label = copied_grey(first, second, label, config.copy_grey, generator)
        copied = copied | (before != label)
    if config.mismatch:
        second, mixed = mismatched(second, label, ~copied, config.mismatch, generator, source)
        label = torch.where(mixed, torch.zeros_like(label), label)
        copied, wrong = copied | mixed, wrong | mixed
    if config.warp or config.turn:
        first, second = warped(first, second, modalities, config.warp, config.turn, generator)
    if config.border:
        first, second = bordered(first, second, config.border, generator)
    flip = torch.rand(n, generator=generator) < 0.5
    out: list[Tensor] = []
    for modality, batch in zip(modalities, (first, second), strict=True):
        batch = torch.where(flip[:, None, None, None], batch.flip(2), batch)
        if modality != "depth":
            batch = erase(exposure(batch, config, generator, dark=modality == "rgb"), config.erase, generator)
        out.append(batch)
    draw = torch.rand(n, generator=generator)
    # Each image of a copied or mismatched pair looks bona fide by itself: a single stream must not learn from it.
    dropped = torch.stack([draw < config.drop, draw > 1 - config.drop], 1) & ~copied[:, None]
    weight = (~dropped & ~copied[:, None]).float()
    matches = torch.where(wrong, 0, torch.where(label == 1, 1, -1))
    return AugmentedBatch(
        blank(out[0], dropped[:, 0]), blank(out[1], dropped[:, 1]), label, weight, matches, flipped=flip
    )
