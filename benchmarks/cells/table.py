"""The table of a cell, from its ledger alone."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from scipy.stats import t

from .cell import SEEDS, Cell
from .ledger import Ledger, Row
from .methods import METHODS

#: a method is not worse than plain training if the interval's lower end is above it, in points
MARGIN = -0.75


@dataclass(frozen=True)
class Difference:
    """What a method has over plain training, in points of PCK.

    Attributes:
        mean: Over the seeds that both have.
        low, high: Ends of the paired 95 % t-interval over seeds; None with fewer than two.
        seeds: How many.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int

    def __str__(self) -> str:
        if self.low is None:
            return f'{self.mean:+.2f} (one seed)'
        few = '' if self.seeds == len(SEEDS) else f', {self.seeds} seeds'
        return f'{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]{few}'

    @property
    def not_worse(self) -> str:
        """Whether the interval's lower end is above MARGIN; '' without an interval."""
        if self.low is None:
            return ''
        return 'yes' if self.low > MARGIN else 'not shown'


def paired(plain: dict[int, Row], method: dict[int, Row]) -> Difference | None:
    """The paired t-interval over the seeds that both have; None without any.

    Args:
        plain: Runs by seed.
        method: Runs by seed.
    """
    differences = [method[seed].pck02 - plain[seed].pck02 for seed in plain if seed in method]
    count = len(differences)
    if not count:
        return None
    mean = statistics.fmean(differences)
    if count == 1:
        return Difference(mean, None, None, 1)
    half = t.ppf(0.975, count - 1) * statistics.stdev(differences) / count**0.5
    return Difference(mean, mean - half, mean + half, count)


def step_of(rows: dict[int, Row]) -> float:
    """Median time of a training step over the seeds, in the plain model's."""
    return statistics.median(row.step for row in rows.values())


def time_to_plain(plain: dict[int, Row], method: dict[int, Row]) -> float | None:
    """From when on a method's validations are as good as the plain model's last one.

    Args:
        plain: Runs by seed.
        method: Runs by seed.

    Returns:
        Median over the seeds that both have, as a share of the plain training's time; None if
        half of them do not end as good.
    """
    times = []
    for seed in plain.keys() & method.keys():
        final = plain[seed].validations()[plain[seed].epochs]
        since = float('inf')
        for epoch, value in sorted(method[seed].validations().items(), reverse=True):
            if value < final:
                break
            since = epoch
        times.append(since * method[seed].step / plain[seed].epochs)
    found = statistics.median(times) if times else float('inf')
    return None if found == float('inf') else found


def as_long(
    cell: Cell, ledger: Ledger, part: str, head: str, rows: dict[int, Row]
) -> tuple[int, dict[int, Row]]:
    """Epochs and runs of the plain training that took at least a method's time.

    Of several lengths that of which most seeds were run, of these the shortest.

    Args:
        cell, ledger, part, head: Which runs.
        rows: The method's runs by seed.
    """
    needed = cell.plain_epochs(step_of(rows))
    found = {
        epochs: ledger.select(part, head, 'plain', epochs)
        for epochs in ledger.epochs(part, head, 'plain')
        if epochs >= needed
    }
    epochs = max(found, key=lambda e: (len(found[e].keys() & rows.keys()), -e), default=needed)
    return epochs, found.get(epochs, {})


def table(cell: Cell, ledger: Ledger, part: str) -> str:
    """Markdown: each head's plain model, and each method over it at equal epochs and equal time.

    Args:
        cell: Which.
        ledger: Its runs.
        part: ``'val'`` or ``'tune'``.
    """
    lines = [
        f'Cell {cell.name}: {cell.title}. PCK@0.2 by the {cell.yardstick}, mean ± standard '
        'deviation over seeds of exported students in stock MMPose; differences with the paired '
        '95 % t-interval over seeds. Equal wall time: the plain model trains for the epochs in '
        'brackets, which take it as long or longer. Not worse: the lower end at equal epochs is '
        f'above {MARGIN}. Reached: from when on all validations are as good as the plain '
        "model's last one, as a share of the plain training's time; the plain model's own beside "
        'it. There are few validations, so it is known to a step of them only.',
        '',
        '| student | method | seeds | PCK@0.2 | PCK@0.1 | OKS AP | step '
        '| over plain, equal epochs | not worse | over plain, equal wall time | reached |',
        '|---|---|---|---|---|---|---|---|---|---|---|',
    ]
    for head in cell.heads:
        plain = ledger.select(part, head, 'plain', cell.epochs)
        if not plain:
            continue
        lines.append(_row(head, 'plain', plain, reached=_share(time_to_plain(plain, plain))))
        for epochs in ledger.epochs(part, head, 'plain'):
            if epochs != cell.epochs:
                longer = ledger.select(part, head, 'plain', epochs)
                gained = paired(plain, longer)
                name = f'plain, {epochs} epochs' + ('' if gained is None else f': {gained}')
                lines.append(_row('', name, longer))
        for name, method in METHODS.items():
            rows = ledger.select(part, head, name, cell.epochs)
            if not rows:
                continue
            epochs, longer = as_long(cell, ledger, part, head, rows)
            equal = paired(longer, rows)
            over_longer = '' if equal is None else f'{equal} ({epochs})'
            same = paired(plain, rows)
            lines.append(
                _row(
                    '',
                    method.title,
                    rows,
                    equal=str(same or ''),
                    not_worse=same.not_worse if same else '',
                    longer=over_longer,
                    reached=_share(time_to_plain(plain, rows)),
                )
            )
    lines += [
        f'\n**{kind} was run with different settings: {", ".join(sorted(found))}.** These rows do '
        'not belong together; delete the old ones and run them again.'
        for kind, found in ledger.settings(part).items()
        if len(found) > 1
    ]
    return '\n'.join(lines) + '\n'


def _share(found: float | None) -> str:
    return 'not' if found is None else f'{found:.2f}'


def _row(
    head: str,
    name: str,
    rows: dict[int, Row],
    *,
    equal: str = '',
    not_worse: str = '',
    longer: str = '',
    reached: str = '',
) -> str:
    seeds = f'{len(rows)} of {len(SEEDS)}'
    pck02, pck01, ap = ([getattr(r, k) for r in rows.values()] for k in ('pck02', 'pck01', 'ap'))
    cells = [
        head, name, seeds, _spread(pck02, '.2f'), _spread(pck01, '.2f'), _spread(ap, '.3f'),
        f'{step_of(rows):.2f}', equal, not_worse, longer, reached,
    ]  # fmt: skip
    return f'| {" | ".join(cells)} |'


def _spread(values: list[float], form: str) -> str:
    mean = format(statistics.fmean(values), form)
    return mean if len(values) < 2 else f'{mean} ± {format(statistics.stdev(values), form)}'
