"""Training: recipes, augmentation, losses, a teacher, several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

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

__getattr__ = attach(
    __name__,
    {
        "AugmentConfig": "adsn.training.augment",
        "Recipe": "adsn.training.recipe",
        "Teacher": "adsn.training.teacher",
        "TeacherError": "adsn.training.teacher",
        "Trainer": "adsn.training.train",
        "TrainingError": "adsn.training.train",
        "read_recipe": "adsn.training.recipe",
    },
)
