"""``results.csv``, ``results.md`` and the pictures, from the runs that have finished."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Optional

import numpy as np

from .configs import SettingError, as_json, differences, short
from .files import FileError, read_json, read_timing, write_text
from .interval import Gain
from .plan import Comparison, Run, all_runs, read_plan
from .plots import Panel, save_plots
from .progress import duration
from .results import THRESHOLDS, Result, costs, gain, latency_ratio, read_result

METRICS = (*(f'PCK@{thr}' for thr in THRESHOLDS), 'OKS AP')
COLUMNS = (
    'config', 'persons', 'seed', 'epochs', 'wall time [s]', *METRICS,
    'parameters', 'MACs', 'latency ratio to plain', 'yardstick',
)  # fmt: skip


def write_report(out: Path, yardstick: Optional[str] = None) -> str:
    """Write the report of all that was asked for so far, and return the gains as text.

    Args:
        out: The harness's folder.
        yardstick: ``'torso'``, ``'bbox'``, or None for the torso where there is one.

    Raises:
        SettingError: There is no plan, or the yardstick does not fit the data.
    """
    wanted, commands = read_plan(out)
    if not wanted:
        raise SettingError(f'--out {out}: nothing was asked for there yet; give configs first')
    runs = all_runs(wanted)
    found = {run: read_result(out, run, yardstick) for run in runs}
    results = {run: result for run, result in found.items() if result is not None}
    cost = costs(out, list(results.values()))
    plain = {method: c.plain for c in wanted for method in (c.plain, c.distilled)}
    write_text(out / 'results.csv', _csv(results, cost, plain))
    groups = _groups(wanted)
    parts = [
        '# Gain of distillation',
        _method(out, wanted, commands, results),
        *(_section(group, results) for group in groups),
        _cost_table(cost, plain) if results else '',
        '![accuracy](accuracy.png)\n\n![learning curves](curves.png)' if results else '',
        _missing([run for run in runs if run not in results]),
    ]
    write_text(out / 'results.md', '\n\n'.join(filter(None, parts)) + '\n')
    save_plots(out, [_panel(group, results) for group in groups])
    lines = [
        f'{c.distilled} over {over} ({c.persons or "all"} persons, {c.epochs} epochs): '
        + ', '.join(f'{name} {value}' for name, value in zip(METRICS, values) if value)
        for c in wanted
        for over, values in _gains(c, results)
    ]
    missing = len(runs) - len(results)
    note = [f'{missing} of {len(runs)} runs have no result yet'] if missing else []
    return '\n'.join([*lines, *note, f'report: {out / "results.md"}']) + '\n'


def _csv(results: dict[Run, Result], cost: dict, plain: dict[str, str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    for run, result in sorted(results.items(), key=lambda item: item[0].name):
        own = cost.get(run.method, {})
        ratio = latency_ratio(cost, run.method, plain[run.method])
        row = [
            run.method, result.about['samples'], run.seed, run.epochs,
            f'{result.about["seconds"]:.1f}', *(f'{result.pck(t):.3f}' for t in THRESHOLDS),
            '' if result.oks_ap is None else f'{result.oks_ap:.4f}',
            own.get('parameters', ''), own.get('macs') or '',
            '' if ratio is None else f'{ratio:.3f}', result.yardstick,
        ]  # fmt: skip
        writer.writerow(row)
    return text.getvalue()


# ---------------------------------------------------------------------------- the text


def _method(out: Path, wanted: list[Comparison], commands: list[str], results: dict) -> str:
    lines = ['Made by', '', '```bash', *commands, '```', '']
    lines.append(
        'Plain and distilled models see the same data in the same order with the same '
        'augmentation and start from the same weights where they share them. The weights of the '
        'last epoch are exported and tested as stock MMPose, on ground-truth boxes.'
    )
    yardsticks = {r.yardstick for r in results.values()}
    if yardsticks:
        persons = max(int((r.counts > 0).sum()) for r in results.values())
        by = {
            'torso': "the torso's length (left shoulder to right hip; persons without both labels "
            'are left out)',
            'bbox': 'the longer side of the box',
        }
        lines.append(
            f'PCK in percent of the labelled joints of {persons} persons, by '
            f'{" and ".join(by[y] for y in sorted(yardsticks))}.'
        )
    lines.append(
        'Tables: mean ± standard deviation over seeds. Gains: percentage points, with a 95 % '
        "interval for other seeds and other persons (paired, Student's t; with two or three seeds "
        'it is wide). One seed says nothing of others: its interval is for other persons only.'
    )
    lines += _other_settings(out, wanted)
    timing = read_timing(out)
    for c in {(c.plain, c.distilled): c for c in wanted if c.plain_epochs}.values():
        measured = timing.get(f'{c.plain} {c.distilled}')
        if measured and _says_where(measured):
            machine = measured['machine']
            where = machine['gpu'] or f'{machine["cpu"]}, threads: {machine["threads"]}'
            lines.append(
                f'Same wall time: a training step (loading, forward, backward, optimiser) of '
                f'{c.distilled} takes {measured["ratio"]:.2f} steps of {c.plain} (median of '
                f'{len(measured["turns"])} turns, {where}), so the plain model may train '
                f'{measured["ratio"]:.2f} times the epochs, rounded up, with its schedule '
                'stretched to them. Wall times in the tables are those of the runs themselves, '
                'without validation.'
            )
    return '\n'.join(lines)


def _says_where(measured: dict) -> bool:
    machine = measured.get('machine')
    known = isinstance(machine, dict) and {'gpu', 'cpu', 'threads'} <= machine.keys()
    return known and isinstance(measured.get('turns'), list)


def _other_settings(out: Path, wanted: list[Comparison]) -> list[str]:
    """Where optimiser and schedule of a distilled model are not those of the plain one."""
    found: dict[str, None] = {}
    for c in wanted:
        for seed in c.seeds:
            pair = [
                _settings(Run(method, c.persons, c.epochs, seed).folder(out) / 'run.json')
                for method in (c.plain, c.distilled)
            ]
            if None in pair:
                continue
            one, two = (
                {k: as_json(run.get(k)) for k in ('optim_wrapper', 'param_scheduler')}
                for run in pair
            )
            for key, old, new in differences(one, two):
                found[
                    f'{c.distilled} trains with `{key}={short(new)}`, '
                    f'{c.plain} with `{key}={short(old)}`.'
                ] = None
            break
    return list(found)


def _settings(file: Path) -> Optional[dict]:
    settings = read_json(file, {'settings': None}, keys=['settings'])['settings']
    if settings is not None and not isinstance(settings, dict):
        raise FileError(file, 'its settings are none')
    return settings


def _groups(wanted: list[Comparison]) -> list[list[Comparison]]:
    """Comparisons with the same plain model, size and epochs, in order of size."""
    groups: dict[tuple, list[Comparison]] = {}
    for c in wanted:
        groups.setdefault((c.plain, c.persons, c.epochs), []).append(c)
    order = sorted(groups, key=lambda k: (k[0], k[1] is None, k[1] or 0, k[2]))
    return [groups[key] for key in order]


def _models(group: list[Comparison]) -> list[tuple[str, list[Run]]]:
    """The models of a group by name: the plain one, the longer plain ones, the distilled."""
    rows: dict[str, list[Run]] = {}
    for c in group:
        for run in c.runs():
            name = run.method
            if run.method == c.plain and run.epochs != c.epochs:
                name = f'{c.plain}, wall time of {c.distilled}'
            runs = rows.setdefault(name, [])
            if run not in runs:
                runs.append(run)
    plain = group[0].plain
    return sorted(rows.items(), key=lambda row: not row[0].startswith(plain))


def _title(group: list[Comparison], results: dict[Run, Result]) -> str:
    c = group[0]
    persons = c.persons
    if persons is None:
        sizes = [results[r].about['samples'] for r in c.runs() if r in results]
        persons = f'all {sizes[0]}' if sizes else 'all'
    return f'{persons} training persons, {c.epochs} epochs, against {c.plain}'


def _panel(group: list[Comparison], results: dict[Run, Result]) -> Panel:
    rows = [(name, [results[r] for r in runs if r in results]) for name, runs in _models(group)]
    return _title(group, results), rows


def _section(group: list[Comparison], results: dict[Run, Result]) -> str:
    title, rows = _panel(group, results)
    lines = [f'## {title[0].upper()}{title[1:]}', '']
    lines += _table('model', 'epochs', 'seeds', 'wall time', *METRICS)
    for (name, runs), (_, own) in zip(_models(group), rows):
        cells = [name, str(runs[0].epochs), f'{len(own)} of {len(runs)}']
        if own:
            cells.append(duration(float(np.mean([r.about['seconds'] for r in own]))))
            cells += [_spread([r.pck(thr) for r in own], '.2f') for thr in THRESHOLDS]
            aps = [r.oks_ap for r in own]
            cells.append('' if None in aps else _spread(aps, '.4f'))
        else:
            cells += ['not run'] * 4
        lines.append(_row(cells))
    gains = [(c, *row) for c in group for row in _gains(c, results)]
    if gains:
        lines += ['', *_table('gain of', 'over', *METRICS)]
        lines += [_row([c.distilled, over, *values]) for c, over, values in gains]
    return '\n'.join(lines)


def _gains(c: Comparison, results: dict[Run, Result]) -> list[tuple[str, list[str]]]:
    """Over what, and the gain in each of METRICS."""

    def of(method: str, epochs: int) -> list[Result]:
        runs = [Run(method, c.persons, epochs, seed) for seed in c.seeds]
        return [results[run] for run in runs if run in results]

    rows = []
    against = [(f'{c.plain}, same epochs', c.epochs)]
    if c.plain_epochs:
        against.append((f'{c.plain}, same wall time', c.plain_epochs))
    for name, epochs in against:
        plain, distilled = of(c.plain, epochs), of(c.distilled, c.epochs)
        gains = [gain(plain, distilled, thr) for thr in THRESHOLDS]
        if None in gains:
            continue
        rows.append((name, [*map(_gain, gains), _ap_gain(plain, distilled)]))
    return rows


def _gain(g: Gain) -> str:
    only = ' (one seed)' if g.seeds == 1 else ''
    return f'{g.gain:+.2f} [{g.low:+.2f}, {g.high:+.2f}]{only}'


def _ap_gain(plain: list[Result], distilled: list[Result]) -> str:
    """Mean difference in OKS AP over the seeds that both have."""
    pairs = [(a.oks_ap, b.oks_ap) for a in plain for b in distilled if a.run.seed == b.run.seed]
    if any(None in pair for pair in pairs):
        return ''
    return f'{np.mean([b - a for a, b in pairs]):+.4f}'


def _cost_table(cost: dict, plain: dict[str, str]) -> str:
    """Of each student, its latency beside that of its own plain model."""
    if not cost:
        return '## Cost of the students\n\nNot measured: cost_log.txt says why.'
    models = sorted({*plain.values()})
    of = models[0] if len(models) == 1 else 'its plain model'
    head = _table('student', 'parameters', 'MACs', f'latency, in those of {of}')
    rows = []
    for method, own in cost.items():
        macs = 'not known' if own['macs'] is None else f'{own["macs"]:,}'
        ratio = latency_ratio(cost, method, plain[method])
        rows.append(
            _row([method, f'{own["parameters"]:,}', macs, '' if ratio is None else f'{ratio:.2f}'])
        )
    note = 'Latency: the network without decoding, one image, on the GPU or with one thread.'
    return '\n'.join(['## Cost of the students', '', note, '', *head, *rows])


def _missing(runs: list[Run]) -> str:
    if not runs:
        return ''
    return '\n'.join(['## Not run', '', *(f'- {run.name}' for run in runs)])


def _spread(values: list[float], form: str) -> str:
    mean = format(float(np.mean(values)), form)
    if len(values) < 2:
        return mean
    return f'{mean} ± {format(float(np.std(values, ddof=1)), form)}'


def _table(*names: str) -> list[str]:
    return [_row(names), '|' + '---|' * len(names)]


def _row(cells) -> str:
    return f'| {" | ".join(str(cell).strip() for cell in cells)} |'
