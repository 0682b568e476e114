"""The Attention-Aware Dual-Stream Network.

Published facts it follows (Deng et al., IEEE TIFS 18, 2023, doi 10.1109/TIFS.2023.3293423, abstract): two
streams; depth enters as a surface-normal map; attention splits each stream into a branch for complementary
global information between the modalities and a branch for subtle local features within each; the task is
treated as fine-grained classification; the features are fused. The survey entry names ResNet18 backbones.
Everything else (number of maps, layers, widths, pooling) is this project's choice.

::

    rgb [N,S,S,3] ─ input ─ stem, layer1, layer2 ─┬─ fine ─────────────┐
                                                  └ layer3 ─ deep ─┬─ M maps ─ bilinear attention pooling ─ parts ┐
                                                                   ├─ gate ─ gated ┐                              │
                                                                                   ├ cross-modal gates, sum       ├ head
                                                                   ┌─ gate ─ gated ┘     │                        │
    ir  [N,S,S,1] ─ input ─ stem … layer3 ──────────────────── deep ┴─ M maps ─ pooling ─┼─ parts ────────────────┤
                                                                                         └ layer4 ─ mean ─────────┘

The fine features of both streams are compared as well (`adsn.network.matching`): the score is the probability of a live
face times the probability that both images show one moment.

Every exporter produces the same static graph, with only N dynamic: no Shape, Expand or Gather, fixed pooling windows,
slices instead of chunk. The graph takes camera values, so that normalisation cannot differ between training, serving
and engines.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adsn.network.inputs import InputLayer
from adsn.network.matching import Matching

Modalities = tuple[str, str]
MODALITY_PAIRS: tuple[Modalities, ...] = (("rgb", "ir"), ("ir", "depth"), ("rgb", "depth"))
INPUT_CHANNELS = {"rgb": 3, "ir": 1, "depth": 1}
STEM_CHANNELS = {"rgb": 3, "ir": 1, "depth": 3}
BLOCKS_PER_LAYER = 2  # ResNet18
STRIDE_AT_LAYER3 = 16
LOCAL_GAIN = 4.0
"""Scale of the parts. They are unit vectors over many channels, so their values are small beside the pooled global
features; the head trains both at one learning rate."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The configuration of a network, stored beside its weights.

    ``width``: channels of the first stage (64 is ResNet18 as published; the stages have 1, 2, 4 and 8 times
    that). ``maps``: attention maps per stream, M. ``size``: edge of the square crops, S: a multiple of 16, at least 64.
    ``maps_from``: the layer whose features give the attention maps, 3 or 2; `docs/ablation.md` compares them.
    ``match``: dimensions in which each cell of the fine grid is compared between the streams; 0 leaves the comparison
    out.
    ``ir_level``: mean camera value to which a darker IR crop is brightened, see `Brightening`; 0 leaves it out.
    """

    modalities: Modalities = ("rgb", "ir")
    width: int = 64
    maps: int = 4
    size: int = 112
    maps_from: int = 3
    match: int = 0
    ir_level: int = 0

    def __post_init__(self) -> None:
        if tuple(self.modalities) not in MODALITY_PAIRS:
            raise ValueError(f"modalities must be one of {MODALITY_PAIRS}, not {self.modalities}")
        if self.size % STRIDE_AT_LAYER3 or self.size < 4 * STRIDE_AT_LAYER3:
            raise ValueError(f"size must be a multiple of {STRIDE_AT_LAYER3} and at least 64, not {self.size}")
        if self.width < 8 or self.width % 8 or self.maps < 1:
            raise ValueError(
                f"width must be a positive multiple of 8 and maps at least 1, not {self.width}, {self.maps}"
            )

        if self.maps_from not in (2, 3):
            raise ValueError(f"maps_from must be 2 or 3, not {self.maps_from}")
        if self.match < 0:
            raise ValueError(f"match must be 0 or more dimensions, not {self.match}")
        if not 0 <= self.ir_level <= 128:
            raise ValueError(f"ir_level must be 0 to 128, not {self.ir_level}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> NetworkConfig:
        first, second = data["modalities"]
        names = ("width", "maps", "size", "maps_from", "match", "ir_level")
        return cls(modalities=(first, second), **{name: data[name] for name in names if name in data})


class Outputs(NamedTuple):
    """Outputs for training.

    ``logit`` [N]: of a live face; ``stream_logits`` [N, 2]; ``attention`` [N, 2, M, h, w], each value 0 to 1;
    ``parts`` [N, 2, M, C]: one L2-normalised feature per attention map; ``streams`` [N, 2, F]: input of each stream's
    own head; ``match`` [N]: logit that both images show one moment; ``embeddings`` [N, 2, D]: the embeddings whose
    cosine enters it. The last two are None in a network that does not compare its streams.
    """

    logit: Tensor
    stream_logits: Tensor
    attention: Tensor
    parts: Tensor
    streams: Tensor
    match: Tensor | None = None
    embeddings: Tensor | None = None

    def float32(self) -> Outputs:
        """Return the outputs converted to float32."""
        compared = () if self.match is None or self.embeddings is None else (self.match, self.embeddings)
        return Outputs(*(value.float() for value in (*self[:5], *compared)))


class BasicBlock(nn.Module):
    """ResNet18's block: [N, in, H, W] → [N, out, H/stride, W/stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def residual_layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return one ResNet18 stage: [N, in, H, W] → [N, out, H/stride, W/stride]."""
    blocks = [BasicBlock(inputs, outputs, stride)]
    blocks += [BasicBlock(outputs, outputs, 1) for _ in range(BLOCKS_PER_LAYER - 1)]
    return nn.Sequential(*blocks)


class Stream(nn.Module):
    """One modality's backbone: the stem and ResNet18's first three stages."""

    def __init__(self, modality: str, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(STEM_CHANNELS[modality], width, 7, 2, 3, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.layer1 = residual_layer(width, width, 1)
        self.layer2 = residual_layer(width, 2 * width, 2)
        self.layer3 = residual_layer(2 * width, 4 * width, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map [N, C', S, S] to fine [N, 2w, S/8, S/8] and deep [N, 4w, S/16, S/16]."""
        x = F.max_pool2d(F.relu(self.bn(self.stem(x))), 3, 2, 1)
        fine = self.layer2(self.layer1(x))
        return fine, self.layer3(fine)


class Attention(nn.Module):
    """Split a stream: M maps on the fine grid for the local branch, one gate on the deep grid for the global branch.

    The maps are computed from deep features, which tell parts of a face apart. They are applied as weights to fine
    features, which still resolve a print's dots. A 1×1 convolution gives four values per deep cell, unfolded to 2×2.
    With ``maps_from`` 2, a 1×1 convolution computes the maps from the fine features instead.

    The four values of a cell are equal (`share_phases`). Otherwise maps that must not overlap divide the corners of
    every cell among themselves instead of the face, and each becomes a meaningless grid of dots.
    """

    def __init__(self, channels: int, maps: int, maps_from: int) -> None:
        super().__init__()
        self.from_deep = maps_from == 3
        self.maps = nn.Conv2d(channels, 4 * maps, 1) if self.from_deep else nn.Conv2d(channels // 2, maps, 1)
        self.gate = nn.Conv2d(channels, 1, 1)

    @torch.no_grad()
    def share_phases(self) -> None:
        """Make the four values of each cell equal by averaging their weights."""
        if not self.from_deep:
            return
        for values in (self.maps.weight, self.maps.bias):
            assert values is not None
            phases = values.reshape(-1, 4, *values.shape[1:])
            values.copy_(phases.mean(1, keepdim=True).expand_as(phases).reshape(values.shape))

    def forward(self, fine: Tensor, deep: Tensor) -> tuple[Tensor, Tensor]:
        """Map fine [N, C/2, 2h, 2w] and deep [N, C, h, w] to maps [N, M, 2h, 2w] and gate [N, 1, h, w], each 0 to 1."""
        maps = F.pixel_shuffle(self.maps(deep), 2) if self.from_deep else self.maps(fine)
        return torch.sigmoid(maps), torch.sigmoid(self.gate(deep))


class BilinearAttentionPooling(nn.Module):
    """Pool one feature per map: the mean of the features weighted by the map, over a grid of ``cells`` = h·w.

    A signed square root (bilinear features are bursty) and L2 normalisation follow. They use rsqrt and sizes known in
    advance, so that no exporter emits Shape and Expand.
    """

    def __init__(self, maps: int, channels: int, cells: int) -> None:
        super().__init__()
        self.maps, self.channels, self.cells = maps, channels, cells

    def forward(self, features: Tensor, maps: Tensor) -> Tensor:
        """Pool features [N, C, h, w] with maps [N, M, h, w] to parts [N, M, C], each of L2 norm 1."""
        flat_maps = maps.reshape(-1, self.maps, self.cells)
        flat_features = features.reshape(-1, self.channels, self.cells)
        weights = flat_maps / (flat_maps.sum(2, keepdim=True) + 1e-3)
        pooled = torch.bmm(weights, flat_features.permute(0, 2, 1))
        # Features come from a ReLU, so the signed root is a plain one. The 1e-6 keeps its slope finite at zero and
        # the root above the smallest half-precision number.
        rooted = torch.sqrt(pooled + 1e-6)
        return rooted * torch.rsqrt((rooted * rooted).sum(2, keepdim=True) + 1e-6)


class CrossModalFusion(nn.Module):
    """Fuse the global branches: squeeze-and-excitation across modalities.

    The means of both streams give one gate per channel and stream; the gated streams are summed.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(2 * channels, channels // 2)
        self.excite = nn.Linear(channels // 2, 2 * channels)
        self.channels = channels

    def forward(self, first: Tensor, second: Tensor, first_mean: Tensor, second_mean: Tensor) -> Tensor:
        """Fuse two streams [N, C, h, w], given their means [N, C], to [N, C, h, w]."""
        c = self.channels
        gates = torch.sigmoid(self.excite(F.relu(self.squeeze(torch.cat([first_mean, second_mean], 1)))))
        return first * gates[:, :c].reshape(-1, c, 1, 1) + second * gates[:, c:].reshape(-1, c, 1, 1)


class ADSN(nn.Module):
    """Attention-Aware Dual-Stream Network over two of ``rgb``, ``ir`` and ``depth``.

    `forward` takes the two modalities in the configuration's order, in camera values: rgb uint8 [N, S, S, 3], ir uint8
    [N, S, S, 1], depth float32 millimetres [N, S, S, 1] (0 = missing).
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        w, maps = config.width, config.maps
        self.grid = config.size // STRIDE_AT_LAYER3
        self.inputs = nn.ModuleList(InputLayer(m, config.size, config.ir_level) for m in config.modalities)
        self.streams = nn.ModuleList(Stream(m, w) for m in config.modalities)
        self.attention = nn.ModuleList(Attention(4 * w, maps, config.maps_from) for _ in config.modalities)
        self.pooling = BilinearAttentionPooling(maps, 2 * w, (2 * self.grid) ** 2)
        self.fusion = CrossModalFusion(4 * w)
        self.layer4 = residual_layer(4 * w, 8 * w, 2)
        self.stream_width = maps * 2 * w + 4 * w
        self.stream_heads = nn.ModuleList(nn.Linear(self.stream_width, 1) for _ in config.modalities)
        self.head = nn.Linear(8 * w + 2 * maps * 2 * w, 1)
        self.dropout = nn.Dropout(0.2)
        self.matching = Matching(2 * w, 2 * self.grid, config.match) if config.match else None
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.share_phases()
        for block in (m for m in self.modules() if isinstance(m, BasicBlock)):
            # Residual branches start at zero: the initial network is shallow and trains fast.
            nn.init.zeros_(block.bn2.weight)

    def share_phases(self) -> None:
        """Make the values of each attention cell equal. Training calls this after every step."""
        for module in self.attention:
            assert isinstance(module, Attention)
            module.share_phases()

    def features(self, first: Tensor, second: Tensor) -> Outputs:
        """Return everything that the losses need, see `Outputs`. Inputs as in `forward`."""
        maps: list[Tensor] = []
        fines: list[Tensor] = []
        gated: list[Tensor] = []
        means: list[Tensor] = []
        parts: list[Tensor] = []
        logits: list[Tensor] = []
        seen: list[Tensor] = []
        w = self.config.width
        for index, image in enumerate((first, second)):
            fine, deep = self.streams[index](self.inputs[index](image))
            stream_maps, gate = self.attention[index](fine, deep)
            stream_parts = self.pooling(fine, stream_maps)
            stream_gated = deep * gate
            mean = F.avg_pool2d(stream_gated, self.grid).reshape(-1, 4 * w)
            local = stream_parts.reshape(-1, self.config.maps * 2 * w)
            own = torch.cat([local * LOCAL_GAIN, mean], 1)
            logits.append(self.stream_heads[index](self.dropout(own)))
            seen.append(own)
            maps.append(stream_maps)
            fines.append(fine)
            gated.append(stream_gated)
            means.append(mean)
            parts.append(stream_parts)
        deepest = self.layer4(self.fusion(gated[0], gated[1], means[0], means[1]))
        window = (self.grid + 1) // 2
        whole = F.avg_pool2d(deepest, window).reshape(-1, 8 * w)
        local = torch.cat([p.reshape(-1, self.config.maps * 2 * w) for p in parts], 1)
        logit = self.head(self.dropout(torch.cat([whole, local * LOCAL_GAIN], 1)))
        match, embeddings = self.matching(fines[0], fines[1]) if self.matching is not None else (None, None)
        return Outputs(
            logit=logit.reshape(-1),
            stream_logits=torch.cat(logits, 1),
            attention=torch.stack(maps, 1),
            parts=torch.stack(parts, 1),
            streams=torch.stack(seen, 1),
            match=match,
            embeddings=embeddings,
        )

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``score`` [N] and ``stream_scores`` [N, 2], from 0 to 1, and ``attention`` [N, 2, M, h, w]."""
        out = self.features(first, second)
        score = torch.sigmoid(out.logit)
        if out.match is not None:
            score = score * torch.sigmoid(out.match)
        return score, torch.sigmoid(out.stream_logits), out.attention
