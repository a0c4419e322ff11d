"""Which methods fit a config."""

from __future__ import annotations

import os
from typing import NamedTuple, Optional, Union

from ..core.recipe import RECIPES, Recipe
from .source import Source


class Advice(NamedTuple):
    """What a method says to a config.

    Attributes:
        recipe: The method: its name, whether it needs a teacher, what it costs and brought.
        misfit: Why it does not fit; None if it does.
        caution: If it fits, what to know before the training; None if there is nothing.
    """

    recipe: Recipe
    misfit: Optional[str]
    caution: Optional[str] = None

    @property
    def fits(self) -> bool:
        """Whether the method can train the config's model."""
        return self.misfit is None


def advise(config: Union[str, os.PathLike]) -> list[Advice]:
    """Ask each method whether it fits a config of one's own.

    Nothing is trained or written; models are built without weights.

    Args:
        config: Path of a config of MMPose, in text or pure Python style, or the name of an
            installed one (``'mmpose::body_2d_keypoint/...'``).

    Returns:
        The answer of each method; those that fit come first, of them those without a teacher.

    Raises:
        ConfigError: It cannot be read, in one line. (A ``ValueError``.)
    """
    return advice_on(Source.of(config).whole)


def advice_on(whole: dict) -> list[Advice]:
    """The same for a whole config, all of its bases merged."""
    answers = [_asked(recipe, whole) for recipe in RECIPES.values()]
    return sorted(answers, key=lambda one: (not one.fits, one.recipe.needs_teacher))


def _asked(recipe: Recipe, whole: dict) -> Advice:
    why = recipe.misfit(whole)
    return Advice(recipe, why, recipe.caution(whole) if why is None else None)
