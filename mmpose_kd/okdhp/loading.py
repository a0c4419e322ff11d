"""Branches that start from the weights of one plain model."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from ..core.loading import say_once


def warn_if_branches_stay_equal(head: nn.Module, names: Collection[str]) -> None:
    """A warning if branches with the same weights will stay the same.

    Equal branches get equal gradients from their task losses and from the KL. What tells them
    apart is the attention of the FAU, through the ensemble's task loss.

    Args:
        head: An ``OKDHPHead``.
        names: Weights that a checkpoint of the plain model had, by their names in the model.
    """
    first, *others = head.branch_configs
    alike = head.distils and all(other == first for other in others)
    told_apart = head.fau is not None and head.ensemble_weight > 0
    # the last weights of each branch: a head may have none
    last = [
        f'head.branches.{t}.' + ('head.' if any(True for _ in branch.head.parameters()) else '')
        for t, branch in enumerate(head.branches)
    ]
    full = all(any(name.startswith(one) for name in names) for one in last)
    if alike and full and not told_apart:
        say_once(
            'load_from: all branches start from the same weights, and with head.fau=None or '
            'head.ensemble_weight=0 they stay the same for ever and teach each other nothing: '
            'give head.fau and head.ensemble_weight > 0, branches that differ (head.branches), or '
            "for load_from init_cfg=dict(type='Pretrained', prefix='backbone.', checkpoint=...) "
            'in the backbone of trunk and head'
        )
