"""What several tests of the gain harness need."""

from __future__ import annotations

from pathlib import Path

from mmpose_kd.gain.configs import load_config
from mmpose_kd.gain.plan import Folders


def folders(pair: list[str], out: Path) -> Folders:
    """The run folders of a plain config and another one, given as paths."""
    configs = {Path(path).stem: load_config(path) for path in pair}
    return Folders(out, configs, 'plain')
