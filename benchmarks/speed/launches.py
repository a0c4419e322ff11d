"""Counts the operators that compute: on a GPU each is a launch or more."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class Launches(TorchDispatchMode):
    """While it lasts, :attr:`count` grows with each operator that is no view.

    The same on each run, however busy the machine is. On the CPU the backward pass is counted
    too; on a GPU it runs in another thread, which this does not see.
    """

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Count, and run."""
        aliases = [r.alias_info for r in func._schema.returns]
        if not any(a is not None and not a.is_write for a in aliases):
            self.count += 1
        return func(*args, **(kwargs or {}))
