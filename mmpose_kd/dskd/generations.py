"""Full generations: each a whole training, guided by the finished ones before it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from mmengine.config import Config

from ..core.checkpoints import is_whole_checkpoint
from ..core.checks import refusal
from ..core.config_file import merge_options, read_config
from ..core.recipe import changed, type_name
from ..core.sole_call import sole_call
from ..core.whole_checkpoints import keep_whole_checkpoints
from ..core.whole_files import write_whole
from .recipe import HOOK, misfit

DONE = 'generation.json'


@dataclass(frozen=True)
class Generation:
    """A finished training.

    Attributes:
        config: Its config, beside its work directory.
        checkpoint: Its last checkpoint.
        seconds: What the training took, of the process that finished it.
    """

    config: Path
    checkpoint: Path
    seconds: float


def train_generations(
    config: str, work_dir: Path, count: int = 2, options: Optional[dict] = None
) -> list[Generation]:
    """Train the plain model, then the student with all finished generations as its guides.

    Generation 0 is the plain training; generation g starts from its own initial weights (seed +
    g) and is guided by 0 to g - 1 from its first step on, at the default weights of
    :class:`DSKDHook`. A config that has the hook without ``guides`` keeps its settings: bigger
    ``teachers`` then guide from generation 0 on, and the finished trainings join them.

    Each runs in a process of its own, resumes from its last whole checkpoint, and is not run again
    once it is finished. ``count`` of them cost somewhat more than ``count`` trainings: a guided
    step takes about one forward pass more for each guide.

    Args:
        config: The plain config, a file or an installed one's name.
        work_dir: Folder for ``generation_0``, ``generation_1``, ...
        count: How many, 2 or more.
        options: Changes to the config, by their keys.

    Returns:
        All generations, the student's last.

    Raises:
        ValueError: DSKD does not fit the config, its hook has guides already, or the folder holds
            generations of another one.
        subprocess.CalledProcessError: A training failed; its own message was printed.
    """
    cfg = read_config(config)
    merge_options(cfg, options)
    why = misfit(_without_hook(cfg, config))
    if why is not None:
        raise ValueError(f'{config}: {why}')
    if count < 2:
        raise refusal('--generations', count, 'give 2 or more: the first one has no guides')
    found: list[Generation] = []
    with sole_call(work_dir):
        for number in range(count):
            found.append(_train(_config_of(cfg, number, found), work_dir / f'generation_{number}'))
    return found


def _without_hook(cfg: Config, config: str) -> dict:
    """The config without a :class:`DSKDHook` of its own, which must have no guides.

    Raises:
        ValueError: It has, or there are several.
    """
    plain = cfg.to_dict()
    hooks = plain.get('custom_hooks') or []
    own = [hook for hook in hooks if type_name(hook) == HOOK]
    if len(own) > 1 or any(hook.get('guides') is not None for hook in own):
        raise ValueError(
            f'{config}: custom_hooks: {HOOK} has guides already: leave guides out, as each '
            'generation gets the finished ones before it; its teachers guide all of them'
        )
    return {**plain, 'custom_hooks': [hook for hook in hooks if hook not in own]}


def _config_of(cfg: Config, number: int, earlier: list[Generation]) -> Config:
    """The config of a generation."""
    made = cfg.to_dict()
    if earlier:
        guides = [str(one.checkpoint) for one in earlier]
        made = changed(made, hooks=(dict(type=HOOK),))
        for hook in made['custom_hooks']:
            if type_name(hook) == HOOK:
                hook['guides'] = guides
    made = Config(made)
    randomness = dict(made.get('randomness') or {})
    randomness['seed'] = (randomness.get('seed') or 0) + number
    made.randomness = randomness
    return made


def _train(cfg: Config, folder: Path) -> Generation:
    """Do what is left to do of a generation."""
    folder = folder.absolute()
    path = folder.with_suffix('.py')  # into its work directory the Runner writes its own copy
    cfg.work_dir = str(folder)
    if path.is_file() and Config.fromfile(path).to_dict() != cfg.to_dict():
        raise ValueError(
            f'{path} is another config: give another work directory, or delete it and {folder}'
        )
    write_whole(path, cfg.dump)
    if not (folder / DONE).is_file():
        start = time.perf_counter()
        subprocess.run([sys.executable, '-m', __name__, str(path)], check=True)
        about = dict(seconds=time.perf_counter() - start, checkpoint=str(_last_checkpoint(folder)))
        write_whole(folder / DONE, lambda file: Path(file).write_text(json.dumps(about), 'utf-8'))
    about = json.loads((folder / DONE).read_text(encoding='utf-8'))
    checkpoint = folder / str(about['checkpoint'])
    if not is_whole_checkpoint(checkpoint):
        raise ValueError(f'{checkpoint} is gone or cut: delete {folder / DONE} to train it again')
    return Generation(path, checkpoint, float(about['seconds']))


def _last_checkpoint(folder: Path) -> Path:
    """What MMEngine noted as the last one, in the folder or in ``CheckpointHook.out_dir``.

    Raises:
        ValueError: The config keeps none on this machine.
    """
    note = folder / 'last_checkpoint'
    path = Path(note.read_text(encoding='utf-8').strip()) if note.is_file() else None
    if path is None or not path.is_file():
        raise ValueError(
            f'{folder} has no last checkpoint: let default_hooks.checkpoint keep it (save_last), '
            'in a folder of this machine (out_dir)'
        )
    return path.absolute()


def main(path: str) -> None:
    """Train one generation, from its last whole checkpoint on if there is one."""
    from mmengine.runner import Runner

    cfg = Config.fromfile(path)
    cfg.resume = (Path(cfg.work_dir) / 'last_checkpoint').is_file()
    if cfg.resume:  # MMEngine would resume from load_from
        cfg.load_from = None
    runner = Runner.from_cfg(cfg)
    keep_whole_checkpoints(runner)
    runner.train()


if __name__ == '__main__':
    main(sys.argv[1])
