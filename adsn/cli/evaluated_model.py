"""The model that ``adsn-eval`` evaluates: a bundle with its engines, or a checkpoint in PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runtime.core.errors import ConfigError

if TYPE_CHECKING:
    from adsn.evaluation.attention import AttentionFunction
    from adsn.evaluation.evaluate import Scorer
    from runtime.imaging.crop import CropRule


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """The evaluated model: a scorer for each precision, and its attention function."""

    what: str
    scorers: dict[str, Scorer]
    attend: AttentionFunction
    modalities: tuple[str, ...]
    rule: CropRule
    threshold: float


def open_model(model: Path, precision: str, threshold: float | None) -> EvaluatedModel:
    """Open a bundle or a checkpoint.

    Raises:
        ConfigError: the options are invalid. BundleError, CheckpointError: the file cannot be used. The message gives
            the reason.
    """
    from adsn.evaluation.attention import engine_attention, network_attention
    from adsn.evaluation.evaluate import engine_scorer, network_scorer

    if not model.exists():
        raise ConfigError(f"{model}: there is neither a bundle's folder nor a checkpoint.")
    if not model.is_dir():
        from adsn.network.checkpoint import crop_rule, load_checkpoint

        if threshold is None:
            raise ConfigError("a checkpoint has no operating point: give --threshold, or evaluate a bundle.")
        network, training = load_checkpoint(model)
        config = network.config
        return EvaluatedModel(
            what=f"{model} torch",
            scorers={"torch": network_scorer(network)},
            attend=network_attention(network),
            modalities=config.modalities,
            rule=crop_rule(config, training),
            threshold=threshold,
        )
    from runtime.bundle.manifest import open_bundle
    from runtime.liveness.open import open_engine

    wanted: dict[str, tuple[Literal["int8", "fp32"], ...]] = {
        "int8": ("int8",),
        "fp32": ("fp32",),
        "both": ("int8", "fp32"),
    }
    if precision not in wanted:
        raise ConfigError(f"--precision is int8, fp32 or both, not {precision!r}.")
    bundle = open_bundle(model)
    engines = {name: open_engine(bundle, precision=name) for name in wanted[precision]}
    manifest = bundle.manifest
    return EvaluatedModel(
        what=f"{manifest.name} {manifest.version} {' and '.join(engines)}",
        scorers={str(name): engine_scorer(engine) for name, engine in engines.items()},
        attend=engine_attention(next(iter(engines.values()))),
        modalities=manifest.modalities,
        rule=manifest.rule(),
        threshold=manifest.operating_point().threshold if threshold is None else threshold,
    )
