"""What a dry run showed, in tables of words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from .run import Measured, iterations

SHOWN = 4  # names of metrics


@dataclass(frozen=True)
class Report:
    """A dry run and what it says of the whole run.

    Attributes:
        config: Its name.
        found: What was measured.
        gpus: How many the whole run is to have.
        stated: Pictures in a step of one GPU as the config says.
        workers: Processes that load data as the config says.
        left_out: What was not as in the run itself.
    """

    config: str
    found: Measured
    gpus: int = 1
    stated: Optional[int] = None
    workers: int = 0
    left_out: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Of the whole run."""
        found = self.found
        if found.iterations is not None:
            return found.iterations
        return found.epochs * iterations(found.persons, found.batch, self.gpus, found.drop_last)

    @property
    def seconds(self) -> float:
        """Of the whole run, its validations apart.

        Processes that load work beside the steps, so the slower of both counts; without them one
        comes after the other.
        """
        step, loading = self.found.step, self.found.loading
        return self.steps * (max(step, loading / self.workers) if self.workers else step + loading)

    def networks(self) -> list[tuple[str, str, str, str]]:
        """Rows: network, parameters, those that are trained, multiply-accumulates a picture."""
        return [
            (
                cost.name,
                f'{cost.parameters:,}',
                f'{cost.trained:,}',
                'not counted' if cost.macs is None else f'{cost.macs / 1e9:.3f} G',
            )
            for cost in self.found.costs
        ]

    def facts(self) -> list[tuple[str, str]]:
        """Rows: what, and what was found."""
        found = self.found
        batch = f'{found.batch} pictures'
        if self.stated not in (None, found.batch):
            batch += f" (the config's: {self.stated})"
        if found.persons < found.batch:
            batch += ', repeated, as the data has fewer'
        seconds = ', '.join(f'{one:.3g}' for one in found.seconds)
        losses = ', '.join(f'{name} {value:.3g}' for name, value in found.losses.items())
        rows = [
            ('config', self.config),
            ('device', found.device),
            ('training data', f'{found.persons:,} samples'),
            ('batch', batch),
            (f'{len(found.seconds)} steps', f'{seconds} s; at the end {losses}'),
            ('step', f'{found.step:.3g} s, without the first'),
            ('loading', self._loading()),
            ('memory', f'{found.memory / 2**30:.2f} GiB at most ({found.memory_of})'),
        ]
        if found.validated is None:
            rows.append(('validation', 'the config has none'))
        else:
            of = f'{found.validated} of {found.validation:,} samples'
            more = len(found.metrics) - SHOWN
            names = [*found.metrics[:SHOWN], *([f'{more} more'] if more > 0 else [])]
            rows.append(('validation', f'{of}, measured: {", ".join(names)}'))
        if self.left_out:
            rows.append(('but', '; '.join(self.left_out)))
        return [*rows, ('whole run', self._whole())]

    def _loading(self) -> str:
        found = self.found
        text = f'{found.loading:.3g} s a batch in one process; num_workers={self.workers}'
        if self.workers and found.loading / self.workers > found.step:
            text += ' are slower than the steps, so the estimate counts loading'
        return text

    def _whole(self) -> str:
        found = self.found
        steps = f'{self.steps:,} steps'
        if found.epochs is not None:
            each = iterations(found.persons, found.batch, self.gpus, found.drop_last)
            steps = f'{found.epochs} epochs x {each:,} iterations = {steps}'
        where = f'{self.gpus} x {found.device}, {found.batch} pictures each a step'
        return (
            f'{duration(self.seconds)}: {steps} of {self.seconds / max(self.steps, 1):.3g} s on '
            f'{where}; validations and the exchange between GPUs are not counted'
        )


def duration(seconds: float) -> str:
    """A time for the reader: ``'2.4 h'``."""
    if seconds < 120:
        return f'{seconds:.3g} s'
    if seconds < 7200:
        return f'{seconds / 60:.3g} min'
    hours = seconds / 3600
    return f'{hours:.3g} h' if hours < 72 else f'{hours:,.0f} h ({hours / 24:.1f} days)'
