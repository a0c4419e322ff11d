"""The random numbers of a student that is guided: by them guides are dropped."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.dist import broadcast

from ..losses.dense_guidance import keep_guides


class GuideDraws:
    """Draws that are the same in every process, and go on where a run is resumed.

    Args:
        seed: Of the run; every process takes that of the first.
    """

    def __init__(self, seed: int):
        shared = torch.tensor(seed)
        broadcast(shared)
        self._seed = int(shared)
        self._generator = torch.Generator().manual_seed(self._seed)

    def kept(self, guides: Sequence, keep_prob: float) -> list:
        """Those of the guides that teach in this step, see :func:`keep_guides`."""
        kept = keep_guides(len(guides), keep_prob, self._generator)
        return [guide for guide, keep in zip(guides, kept) if keep]

    def seed_of(self, generation: int) -> str:
        """A seed for weights that are drawn anew; it does not depend on the draws before."""
        return f'{self._seed} {generation}'

    def state(self) -> dict:
        """What a checkpoint has to hold."""
        return dict(draws=self._generator.get_state(), redraw_seed=self._seed)

    def resume(self, state: dict) -> None:
        """Go on from the state of a checkpoint."""
        self._generator.set_state(state['draws'].cpu())
        self._seed = state['redraw_seed']
