"""Train a network: turn a recipe into a checkpoint and a record of the run. A run can resume after any epoch."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from adsn.datasets.base import require_both_classes
from adsn.datasets.mixed import MixedArrays
from adsn.metrics import auc
from adsn.network.checkpoint import load_checkpoint, save_checkpoint
from adsn.network.model import ADSN
from adsn.training.augment import AugmentedBatch, augment
from adsn.training.losses import Counterparts, JointLoss
from adsn.training.memory import EmbeddingMemory
from adsn.training.moments import OtherMoments, Shown
from adsn.training.parallel import SINGLE_PROCESS, ProcessGroup
from adsn.training.recipe import Recipe
from adsn.training.sampling import ArrayPairs, sampling_weights
from adsn.training.teacher import DistillationLoss, Teacher
from runtime.core.errors import AdsnError
from runtime.core.files import write_atomically

STATE_FILE = "resume.safetensors"
CHECKPOINT_FILE = "checkpoint.safetensors"
RECORD_FILE = "train.json"


class TrainingError(AdsnError):
    """Training cannot start or continue."""

    code = "training_failed"


@dataclass(slots=True)
class TrainingProgress:
    """Progress of a run, written to train.json after every epoch."""

    epoch: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)


Report = Callable[[str, dict[str, float]], None]
"""Called as ("step", {...}) after each batch and ("epoch", {...}) after each epoch."""


class Trainer:
    """Trainer of one network.

    Deterministic for one machine and thread count: every random draw follows from the recipe's seed and the epoch, so a
    resumed run equals an uninterrupted one bit for bit.
    """

    def __init__(
        self,
        recipe: Recipe,
        train: ArrayPairs,
        dev: ArrayPairs,
        out: Path,
        device: str = "cpu",
        world: ProcessGroup = SINGLE_PROCESS,
        start: Path | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        self.recipe, self.train_set, self.dev_set, self.out = recipe, train, dev, out
        self.device, self.world = torch.device(device), world
        if len(train) < recipe.train.batch:
            raise TrainingError(f"{train.name} has {len(train)} pairs, fewer than one batch of {recipe.train.batch}.")
        if recipe.train.batch // world.size < 2:
            raise TrainingError(
                f"train.batch is {recipe.train.batch}: fewer than 2 pairs for each of {world.size} processes."
            )
        for pairs in (train, dev):
            require_both_classes(pairs)
        self.chances = sampling_weights(train, recipe.train.balance)
        self.moments, self.memory = OtherMoments(train.rows()), EmbeddingMemory(recipe.train.memory)
        self.sources = torch.from_numpy(train.sources()) if isinstance(train, MixedArrays) else None
        torch.manual_seed(recipe.train.seed)
        config = recipe.network_config()
        self.modalities = config.modalities
        self.started_from = ""
        self.network = ADSN(config).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if start is not None:
            self._start_from(start)
        self.loss = JointLoss(config.maps, 2 * config.width, recipe.loss_weights()).to(self.device)
        self.lesson: DistillationLoss | None = None
        if teacher is not None:
            if "rgb" not in self.modalities:
                trained = " + ".join(self.modalities)
                raise TrainingError(f"a teacher needs RGB crops, but the recipe trains {trained}. Omit --teacher.")
            weights = recipe.teacher
            width = self.network.stream_width
            self.lesson = DistillationLoss(width, teacher, weights.scores, weights.features).to(self.device)
        self.features = world.distribute(self.network, self.device)
        self.optimiser = torch.optim.AdamW(self._groups(), lr=recipe.train.learning_rate)
        self.steps_per_epoch = len(train) // recipe.train.batch
        total = self.steps_per_epoch * recipe.train.epochs
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, recipe.train.learning_rate, total_steps=total + 1, pct_start=recipe.train.warm_up
        )
        self.progress = TrainingProgress()

    def _start_from(self, path: Path) -> None:
        network, _ = load_checkpoint(path)
        # Brightening has no weights.
        config = self.network.config
        compared = replace(network.config, match=config.match, ir_level=config.ir_level)
        if compared != self.network.config:
            raise TrainingError(
                f"{path} holds a network of another shape ({network.config}) than the recipe's {self.network.config}. "
                "Give the recipe's [network] the same values."
            )
        if network.config.match == self.network.config.match:
            self.network.load_state_dict(network.state_dict())
        else:
            # The two networks differ in the comparison of the streams: one lacks it, or its width differs. Load all
            # other weights.
            weights = {k: v for k, v in network.state_dict().items() if not k.startswith("matching.")}
            self.network.load_state_dict(weights, strict=False)
        self.network.share_phases()
        self.started_from = hashlib.sha256(path.read_bytes()).hexdigest()

    def _groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups: weight decay applies to weights only, not to norms and biases."""
        parameters = [*self.network.parameters(), *(self.lesson.parameters() if self.lesson else ())]
        decayed = [p for p in parameters if p.ndim > 1]
        rest = [p for p in parameters if p.ndim <= 1]
        return [
            {"params": decayed, "weight_decay": self.recipe.train.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]

    def batches(self, epoch: int) -> Iterator[tuple[AugmentedBatch, Shown]]:
        """Yield the shuffled, augmented batches of an epoch, and who each shows.

        Every process draws the same order and takes its share of each batch.
        """
        generator = torch.Generator().manual_seed(self.recipe.train.seed * 1_000_003 + epoch)
        if self.chances is None:
            order = torch.randperm(len(self.train_set), generator=generator).numpy()
        else:
            order = torch.multinomial(self.chances, len(self.train_set), True, generator=generator).numpy()
        if self.world.rank:
            generator.manual_seed((self.recipe.train.seed * 1_000_003 + epoch) * 1009 + self.world.rank)
        labels = self.train_set.labels()
        size, config = self.recipe.train.batch, self.recipe.augment_config()
        moments = np.random.default_rng([self.recipe.train.seed, epoch, self.world.rank])
        first, second = (self.train_set.arrays[m] for m in self.modalities)
        for step in range(self.steps_per_epoch):
            # Sort within the batch, so that the memory-mapped file is read mostly forwards.
            drawn = order[step * size : (step + 1) * size][self.world.rank :: self.world.size]
            chosen = np.sort(self.moments.with_siblings(drawn, config.sibling, moments))
            partners, swapped = self.moments.swapped(chosen, config.other_moment, moments)
            batch = augment(
                torch.from_numpy(np.ascontiguousarray(first[chosen])),
                torch.from_numpy(np.ascontiguousarray(second[partners])),
                torch.from_numpy(np.where(swapped, 0, labels[chosen])),
                self.modalities,
                config,
                generator,
                None if self.sources is None else self.sources[chosen],
                torch.from_numpy(swapped),
            )
            sources = None if self.sources is None else self.sources[chosen].numpy()
            yield batch, self.moments.shown(chosen, batch.flipped.numpy(), sources)

    def run(self, report: Report = lambda kind, values: None) -> None:
        """Train until the recipe's last epoch, starting from the current one."""
        self.out.mkdir(parents=True, exist_ok=True)
        while self.progress.epoch < self.recipe.train.epochs:
            began = time.monotonic()
            losses = self._epoch(report)
            self.world.agree(self.loss)
            dev = self.evaluate(self.dev_set)
            self.progress.epoch += 1
            self.progress.seconds += time.monotonic() - began
            row = {
                "epoch": float(self.progress.epoch),
                **losses,
                **dev,
                "seconds": round(self.progress.seconds, 1),
            }
            self.progress.curve.append({k: round(v, 6) for k, v in row.items()})
            if self.world.rank == 0:
                self.save()
            report("epoch", row)

    def _epoch(self, report: Report) -> dict[str, float]:
        # Dropout draws from torch's global generator; tie it to the epoch too.
        torch.manual_seed(self.recipe.train.seed * 7919 + self.progress.epoch)
        self.network.train()
        self.loss.train()
        sums: dict[str, float] = {}
        self.memory.clear()
        for batch, shown in self.batches(self.progress.epoch):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.train.precision == "bfloat16"):
                half = self.features(batch.first.to(self.device), batch.second.to(self.device))
            # The losses sum many small numbers, so they are computed in float32.
            out = half.float32()
            counterparts = Counterparts(
                batch.matches.to(self.device),
                batch.comparable.to(self.device),
                self.memory.contradicting(shown).to(self.device),
                self.memory.embeddings,
            )
            loss, terms = self.loss(out, batch.label.to(self.device), batch.stream_weight.to(self.device), counterparts)
            if out.embeddings is not None:
                self.memory.remember(out.embeddings, shown, batch.comparable)
            if self.lesson is not None:
                which = self.modalities.index("rgb")
                # Only every second pair is taught, because the teacher costs as much as the network.
                taught = self.lesson(out.streams[::2, which], (batch.first, batch.second)[which][::2])
                loss = loss + taught
                terms["teacher"] = float(taught.detach())
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the loss became {float(loss)} in epoch {self.progress.epoch + 1}. Lower train.learning_rate and "
                    f"train again with another --out; --start {self.out / CHECKPOINT_FILE}, if it exists, begins from "
                    "the last good epoch."
                )
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimiser.step()
            self.network.share_phases()
            self.schedule.step()
            terms["loss"] = float(loss.detach())
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value
            report("step", terms)
        return {name: value / self.steps_per_epoch for name, value in sums.items()}

    @torch.no_grad()
    def evaluate(self, pairs: ArrayPairs, batch: int = 128) -> dict[str, float]:
        """Return the AUC of the fused score and of each stream, and the accuracy at threshold 0.5."""
        self.network.eval()
        first, second = (pairs.arrays[m] for m in self.modalities)
        rows = []
        for start in range(0, len(pairs), batch):
            # Copy: torch needs writable arrays, and the file is mapped read-only.
            a, b = (torch.from_numpy(np.array(x[start : start + batch])).to(self.device) for x in (first, second))
            score, streams, _ = self.network(a, b)
            rows.append(torch.cat([score[:, None], streams], 1).cpu().numpy())
        scores, label = np.concatenate(rows), pairs.labels()
        return {
            "dev_auc": auc(scores[:, 0], label),
            f"dev_auc_{self.modalities[0]}": auc(scores[:, 1], label),
            f"dev_auc_{self.modalities[1]}": auc(scores[:, 2], label),
            "dev_accuracy": float(((scores[:, 0] >= 0.5) == (label == 1)).mean()),
        }

    def record(self) -> dict[str, Any]:
        """Return the record of this run: recipe, data, versions, machine, start, teacher, learning curve."""
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "data": {
                s.name: {"pairs": len(s), "sha256": s.digest(), "species": dict(sorted(Counter(s.species()).items()))}
                for s in (self.train_set, self.dev_set)
            },
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
                "opencv": cv2.__version__,
            },
            "machine": {
                "processor": platform.machine(),
                "threads": torch.get_num_threads(),
                "device": str(self.device),
                "processes": self.world.size,
            },
            **({"started_from": self.started_from} if self.started_from else {}),
            **self._taught_by(),
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "epochs_done": self.progress.epoch,
            "seconds": round(self.progress.seconds, 1),
            "curve": self.progress.curve,
        }

    def _taught_by(self) -> dict[str, Any]:
        if self.lesson is None:
            return {}
        teacher = self.lesson.teacher
        return {"teacher": {"name": teacher.name, "sha256": teacher.sha256}}

    def save(self) -> None:
        """Write checkpoint, record and resume state, each atomically."""
        record = self.record()
        save_checkpoint(self.out / CHECKPOINT_FILE, self.network, record)
        tensors = {f"network/{k}": v.detach().cpu().contiguous() for k, v in self.network.state_dict().items()}
        if self.lesson is not None:
            tensors |= {f"lesson/{k}": v.detach().cpu().contiguous() for k, v in self.lesson.state_dict().items()}
        tensors |= {f"loss/{k}": v.detach().cpu().contiguous() for k, v in self.loss.state_dict().items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{index}/{k}": v.detach().cpu().contiguous() for k, v in state.items()}
        hyper = [{"lr": g["lr"], "betas": g["betas"]} for g in self.optimiser.param_groups]
        schedule = {k: v for k, v in self.schedule.state_dict().items() if isinstance(v, (int, float, list))}
        metadata = {
            "recipe": self.recipe.model_dump_json(),
            "schedule": json.dumps(schedule),
            "groups": json.dumps(hyper),
            "record": json.dumps(record),
        }
        write_atomically(self.out / STATE_FILE, save(tensors, metadata))
        write_atomically(self.out / RECORD_FILE, (json.dumps(record, indent=1) + "\n").encode())

    def resume(self) -> bool:
        """Restore the state in ``out``; return False if ``out`` holds no state.

        Raises:
            TrainingError: the state is damaged, or belongs to another recipe, teacher or data.
        """
        path = self.out / STATE_FILE
        if not path.exists():
            return False
        data = path.read_bytes()
        try:
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
            record, tensors = json.loads(header["record"]), load(data)
        except (ValueError, KeyError, TypeError, SafetensorError) as error:
            raise TrainingError(
                f"{path}: damaged, {len(data)} bytes ({type(error).__name__}). Delete it to start again, or put back a "
                "copy."
            ) from error
        if header["recipe"] != self.recipe.model_dump_json():
            raise TrainingError(
                f"{path} was made with another recipe. Use another --out, or delete the file to start again."
            )
        if record.get("teacher") != self._taught_by().get("teacher"):
            raise TrainingError(f"{path} had another teacher, or none. Pass the same --teacher, or omit it.")
        if record["data"] != self.record()["data"]:
            raise TrainingError(
                f"{path} was trained on other data (the renderer or the files changed). Use another --out."
            )

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        self.network.load_state_dict(part("network/"))
        self.loss.load_state_dict(part("loss/"))
        if self.lesson is not None:
            self.lesson.load_state_dict(part("lesson/"))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in part("optimiser/").items():
            index, key = name.split("/")
            state.setdefault(int(index), {})[key] = value
        self.schedule.load_state_dict(json.loads(header["schedule"]))
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        # The schedule changes learning rate and momentum; a new optimiser has the initial values of both.
        for group, saved in zip(self.optimiser.param_groups, json.loads(header["groups"]), strict=True):
            group["lr"], group["betas"] = saved["lr"], tuple(saved["betas"])
        self.progress = TrainingProgress(record["epochs_done"], record["seconds"], record["curve"])
        return True
