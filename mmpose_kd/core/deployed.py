"""What remains of a training-only part after export."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Optional

import torch
from mmpose.registry import MODELS
from torch import nn


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
        why_not: Of a branch that only teaches, why it cannot be exported.
    """

    model: dict
    rename: dict[str, str]
    drops: tuple[str, ...]
    predict_with: dict = field(default_factory=dict)
    label: str = 'the student'
    branch: Optional[int] = None
    why_not: str = ''

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


def predicting_head(head: Optional[nn.Module]) -> Optional[nn.Module]:
    """The head that a student predicts with; inside one that exists in training only a part."""
    rename = head.deployed().rename if hasattr(head, 'deployed') else {}
    inside = (old[len('head.') : -1] for old, plain in rename.items() if plain == 'head.')
    return next((head.get_submodule(path) for path in inside), head)


def training_part(model: nn.Module) -> Optional[nn.Module]:
    """The outermost part that exists in training only, None in a plain model.

    MMPose builds backbone and head separately. A part that must fit the others has a method
    ``check_model(model)``. It is called here, and so before an export, in hooks and in a
    distiller.

    Raises:
        ValueError: It does not fit the rest of the model.
    """
    part = next((m for m in model.modules() if hasattr(m, 'deployed')), None)
    if hasattr(part, 'check_model'):
        part.check_model(model)
    return part


def deployments(part: nn.Module) -> list[Deployed]:
    """What a training-only part says of each of its branches, the deployed one first."""
    first: Deployed = part.deployed()
    if first.branch is None:
        return [first]
    others = [t for t in range(part.num_branches) if t != first.branch]
    return [first, *(part.deployed(t) for t in others)]


def plain_names(part: nn.Module, names: Collection[str]) -> list[dict[str, str]]:
    """For each branch: name of a weight in the plain model to its name in the model in training.

    Args:
        part: The outermost part that exists in training only.
        names: Of weights in the model in training. What is not deployed is left out.
    """
    found = []
    for way in deployments(part):
        kept = way.state_dict({name: name for name in names})
        whole = next((old for old, plain in way.rename.items() if plain == ''), None)
        inner = None if whole is None else training_part(part.get_submodule(whole[:-1]))
        for one in [{name: name for name in kept}] if inner is None else plain_names(inner, kept):
            found.append({plain: kept[name] for plain, name in one.items()})
    return found


def deployments_outside_in(config: dict, model: nn.Module) -> Iterator[Deployed]:
    """What is said by each part that exists in training only, from the outside in.

    Applied one after the other they lead to the stock model: see :meth:`Deployed.config` and
    :meth:`Deployed.state_dict`. Random numbers are left as they were.

    Args:
        config: Config of ``model``.
        model: The model in training.
    """
    part = training_part(model)
    while part is not None:
        found: Deployed = part.deployed()
        yield found
        config = found.config(config)
        with torch.random.fork_rng(devices=[]):
            part = training_part(MODELS.build(copy.deepcopy(config)))


def deployed_head(model: nn.Module) -> str:
    """Path, in the model in training, of the head that the deployed model predicts with.

    ``'head'`` in a stock model, ``'student.head'`` in a distiller. A part of a method only has to
    say in ``deployed().rename`` where the weights of the plain model's head come from.

    Args:
        model: The model in training, without a wrapper.
    """
    part = training_part(model)
    rename = {} if part is None else part.deployed().rename
    for prefix, plain in rename.items():
        if plain == '':  # a whole model inside, which may have parts of its own
            return prefix + deployed_head(model.get_submodule(prefix[:-1]))
    # a head in pieces (shared stages of an hourglass) names the piece that predicts first
    return next((old[:-1] for old, plain in rename.items() if plain == 'head.'), 'head')
