"""The weights that a config starts from, or learns from: where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .recipe import type_name

#: what weights are for
START, TEACHER, GUIDE = 'start', 'teacher', 'guide'


@dataclass(frozen=True)
class WeightSource:
    """A checkpoint that a config names.

    Attributes:
        key: Its config key: ``'model.teachers.0.checkpoint'``.
        name: A file, or an address (``'https://...'``, ``'torchvision://...'``).
        use: ``'start'``: of the model that is trained; ``'teacher'``; ``'guide'``: of a
            :class:`~mmpose_kd.dskd.DSKDHook`, a training of the same model.
        holder: The dict of the config to change for a run without it.
        place: The key in that dict.
    """

    key: str
    name: str
    use: str
    holder: dict
    place: str

    @property
    def is_address(self) -> bool:
        """Whether it would be fetched."""
        return '://' in self.name


def weight_sources(cfg: dict) -> list[WeightSource]:
    """Every checkpoint that a config names; in configs of teachers their own are looked at alone.

    Args:
        cfg: A whole config. Its help variables (``_name``) are not looked into.
    """
    return [one for one in _found(cfg, '') if not one.key.startswith('_')]


def _found(node, prefix: str) -> Iterator[WeightSource]:
    if isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from _found(value, f'{prefix}{i}.')
    if not isinstance(node, dict):
        return
    teacher = 'config' in node and 'checkpoint' in node
    for name, value in node.items():
        key = f'{prefix}{name}'
        if name == 'init_cfg':
            many = isinstance(value, (list, tuple))
            for i, one in enumerate(value if many else [value]):
                source = one.get('checkpoint') if isinstance(one, dict) else None
                if isinstance(source, str):
                    where = f'{key}.{i}' if many else key
                    yield WeightSource(f'{where}.checkpoint', source, START, node, name)
        elif name in ('checkpoint', 'pretrained', 'load_from') and isinstance(value, str):
            yield WeightSource(key, value, TEACHER if teacher else START, node, name)
        elif name == 'guides' and type_name(node) == 'DSKDHook':
            for i, guide in enumerate(value if isinstance(value, (list, tuple)) else []):
                if isinstance(guide, str):
                    yield WeightSource(f'{key}.{i}', guide, GUIDE, node, name)
                else:
                    yield from _found(guide, f'{key}.{i}.')
        elif not (teacher and name == 'config'):
            yield from _found(value, f'{key}.')


def take_out(sources: list[WeightSource], cfg: dict) -> list[str]:
    """Let a run do without some checkpoints, in place; what that means, in words.

    The model starts as its layers are initialised, teachers stay untrained, and in the place of
    the finished trainings that guide a run (:class:`~mmpose_kd.dskd.DSKDHook`) there are as many
    copies of the run itself. The first copy teaches after an epoch, so a run of one is made two.

    Args:
        sources: From :func:`weight_sources`.
        cfg: The whole config.
    """
    hooks = {id(one.holder): one.holder for one in sources if one.use == GUIDE}
    for hook in hooks.values():
        hook.update(guides='snapshots', num_guides=len(hook['guides']), interval=1)
    for name in ('max_epochs', 'max_iters') if hooks else ():
        if (cfg.get('train_cfg') or {}).get(name) == 1:
            cfg['train_cfg'][name] = 2
    for source in sources:
        if source.use != GUIDE:
            source.holder[source.place] = None
    uses = {source.use for source in sources}
    return [
        words
        for use, words in (
            (START, 'from random weights'),
            (TEACHER, 'with an untrained teacher'),
            (GUIDE, 'guided by copies of the run itself'),
        )
        if use in uses
    ]
