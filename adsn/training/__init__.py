"""Training: recipes, augmentation, losses, a teacher, several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from adsn.training.augment import AugmentConfig
    from adsn.training.recipe import Recipe, read_recipe
    from adsn.training.teacher import Teacher, TeacherError
    from adsn.training.train import Trainer, TrainingError

__all__ = [
    "AugmentConfig",
    "Recipe",
    "Teacher",
    "TeacherError",
    "Trainer",
    "TrainingError",
    "read_recipe",
]

__getattr__ = lazy_names(
    __name__,
    {
        "augment": ("AugmentConfig",),
        "recipe": (
            "Recipe",
            "read_recipe",
        ),
        "teacher": (
            "Teacher",
            "TeacherError",
        ),
        "train": (
            "Trainer",
            "TrainingError",
        ),
    },
)
