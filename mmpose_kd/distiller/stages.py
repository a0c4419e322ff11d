"""Later stages of a training, whose pipeline has to make the teachers' views as the first one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..core.checks import is_whole, refusal
from ..core.recipe import type_name
from .entry import Entry
from .recipe import VIEW
from .teacher import Teacher


def check_stages(cfg: dict, entries: Sequence[Entry], teachers: Sequence[Teacher]) -> None:
    """Refuse a pipeline that would end the run in the middle, for want of a teacher's view.

    Args:
        cfg: The run's config in plain values; {} outside a run.
        entries: What the teachers are run for. One that does not act in a stage needs no view.
        teachers: All teachers.

    Raises:
        ValueError: A hook (``PipelineSwitchHook``) has a ``switch_pipeline`` without the view.
    """
    # a run that counts iterations is one long epoch
    epochs = int((cfg.get('train_cfg') or {}).get('max_epochs') or 1)
    for i, hook in enumerate(cfg.get('custom_hooks') or []):
        hook = hook if isinstance(hook, dict) else {}
        pipeline, start = hook.get('switch_pipeline'), hook.get('switch_epoch', 0)
        if not isinstance(pipeline, list) or not is_whole(start):
            continue
        steps = list(_steps(pipeline))
        names = [type_name(step) for step in steps]
        # a step of one's own may make the view as well
        defaults = {'TeacherView': VIEW}
        views = {step.get('name', defaults.get(type_name(step))) for step in steps}
        acting = [one for one in entries if _acts(one, range(start, epochs), epochs)]
        for n in sorted({n for entry in acting for n in entry.teacher_paths}):
            teacher = teachers[n]
            # a step of one's own may pack the views as well
            if teacher.view is None or (teacher.view in views and 'PackPoseInputs' not in names):
                continue
            give = (
                f'{teacher.key}.view={teacher.view!r} is needed from epoch {start} on as before: '
                f"put dict(type='TeacherView', name={teacher.view!r}, input_size=...) before "
                'TopdownAffine, and PackPoseViews in the place of PackPoseInputs, as in '
                'train_dataloader'
            )
            raise refusal(f'custom_hooks[{i}].switch_pipeline', names, give)


def _acts(entry: Entry, epochs: range, length: int) -> bool:
    """Whether an entry has a weight in one of some epochs of a run."""
    return entry.weight > 0 and any(entry.schedule.factor(e, length) > 0 for e in epochs)


def _steps(pipeline: Sequence) -> Iterator[dict]:
    """The steps of a pipeline, and those inside of them."""
    for step in pipeline:
        if isinstance(step, list):
            yield from _steps(step)
        elif isinstance(step, dict):
            yield step
            inner = step.get('transforms') or []
            yield from _steps([inner] if isinstance(inner, dict) else inner)
