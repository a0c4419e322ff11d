"""What remains of a training-only part after export."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class Deployed:
    """Answer of a training-only part's ``deployed()`` method to the export.

    Attributes:
        model: Entries that replace those of the same name in the model's config; None
            removes an entry.
        rename: Prefixes of state-dict keys that stay, with their prefix in the plain model.
        drops: Prefixes of the state dict that the part owns; keys under them that are not
            renamed are left out.
        predict_with: Changes to ``model.test_cfg`` under which the model in training predicts
            with just the deployed part.
        label: What was deployed, for messages (``'branch 1'``).
        branch: The branch that was kept, of a part that has branches.
    """

    model: dict
    rename: dict[str, str]
    drops: tuple[str, ...]
    predict_with: dict = field(default_factory=dict)
    label: str = 'the student'
    branch: Optional[int] = None

    def config(self, model: dict) -> dict:
        """The plain model's config, from that of the model in training."""
        merged = {**model, **self.model}
        return {key: value for key, value in merged.items() if value is not None}

    def state_dict(self, state: dict) -> dict:
        """The plain model's weights, from those of the model in training."""
        plain = {}
        for key, value in state.items():
            old = next((prefix for prefix in self.rename if key.startswith(prefix)), None)
            if old is not None:
                plain[self.rename[old] + key[len(old) :]] = value
            elif not key.startswith(self.drops):
                plain[key] = value
        return plain
