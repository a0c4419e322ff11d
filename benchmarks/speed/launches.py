"""Counts the operators that compute: on a GPU each is a launch or more."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: get memory, and compute nothing
ALLOCATES = {
    getattr(torch.ops.aten, name)
    for name in ('empty', 'empty_like', 'empty_strided', 'new_empty', 'new_empty_strided')
}


class Launches(TorchDispatchMode):
    """While it lasts, :attr:`count` grows with each operator that computes a tensor.

    The same on each run, however busy the machine is. On the CPU the backward pass is counted
    too; on a GPU it runs in another thread, which this does not see.
    """

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run, and count."""
        found = func(*args, **(kwargs or {}))
        aliases = [r.alias_info for r in func._schema.returns]
        view = any(a is not None and not a.is_write for a in aliases)
        tensors = any(isinstance(x, Tensor) for x in tree_leaves(found))
        if tensors and not view and func.overloadpacket not in ALLOCATES:
            self.count += 1
        return found
