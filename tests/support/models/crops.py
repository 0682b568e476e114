"""Random crops as tensors."""

import torch


def crops(modality: str, count: int, seed: int = 0, size: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if modality == "depth":
        return 400 + 80 * torch.rand(count, size, size, 1, generator=generator)
    shape = (count, size, size, 3 if modality == "rgb" else 1)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
