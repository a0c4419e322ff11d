"""Every 2D config of the installed MMPose, wrapped with every method.

For each config and method: whether the method fits, else why not; whether what `mmpose-kd wrap`
writes evaluates to what the method asks for; and, with --train, whether it trains a step as
written (full size, two made-up pictures through the config's own pipeline, CPU).

    python -m benchmarks.wrap_stock_configs --csv docs/results/wrap_stock_configs.csv --train

Goes on where it was stopped. --train kinds: of configs that differ in names, widths and sizes
alone one is trained. Afterwards, and with --report, it prints the tables of docs/own_config.md.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import functools
import re
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

import mmengine.config.utils
import mmpose
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmpose_kd
from mmpose_kd.core.config_file import ConfigError
from mmpose_kd.core.recipe import RECIPES, Recipe, type_name, without_values
from mmpose_kd.wrap.source import Source, evaluated
from mmpose_kd.wrap.text import config_text, says_what_is_wanted
from mmpose_kd.wrap.trial import TrialError, tried

STOCK = Path(mmpose.__file__).parent / '.mim' / 'configs'
PARTS = ('body_2d_keypoint', 'wholebody_2d_keypoint', 'hand_2d_keypoint', 'face_2d_keypoint',
         'animal_2d_keypoint', 'fashion_2d_keypoint')  # fmt: skip
FIELDS = ('config', 'method', 'kind', 'answer', 'reason', 'lines', 'step')
TEACHER = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py'


#: MMEngine reads the index of MMPose's models anew for each name; here it is kept
mmengine.config.utils.load = functools.lru_cache(maxsize=None)(mmengine.config.utils.load)


@functools.lru_cache(maxsize=1)
def stock_names() -> list[str]:
    """Names of MMPose's configs, without those that others inherit."""
    return [
        f'mmpose::{path.relative_to(STOCK).as_posix()}'
        for part in PARTS
        for path in sorted((STOCK / part).rglob('*.py'))
        if '_base_' not in path.parts
    ]


@functools.lru_cache(maxsize=1)
def read(name: str) -> Source:
    """A config."""
    return Source.of(name)


def kind_of(cfg: dict) -> str:
    """What a model is made of, without widths, depths and sizes."""
    model = cfg.get('model') or {}
    head = model.get('head') or {}
    codec = head.get('decoder') or {}
    loss = head.get('loss') or {}
    words = [
        type_name(model), type_name(model.get('backbone')), type_name(model.get('neck')),
        type_name(head), type_name(codec), codec.get('heatmap_type', ''),
        type_name(loss if isinstance(loss, dict) else None), type_name(cfg.get('train_cfg')),
        type_name((cfg.get('train_dataloader') or {}).get('dataset')),
    ]  # fmt: skip
    return ' '.join(words[:5]).strip() + ''.join(f' {word}' for word in words[5:] if word)


def first_of_a_kind_first(names: list[str]) -> list[str]:
    """The names in another order: what is new comes early."""
    seen: set[str] = set()
    later = []
    for name in names:
        kind = kind_or_none(name)
        if kind in seen:
            later.append(name)
        seen.add(kind)
    return [name for name in names if name not in later] + later


def coarse(kind: str) -> str:
    """Backbone and head of a kind."""
    return ' '.join(kind.split(' ')[1:4:2])


def kind_or_none(name: str) -> Optional[str]:
    """The kind of a config; None of one that MMEngine cannot read."""
    try:
        return kind_of(Config.fromfile(STOCK / name.partition('::')[2]))
    except Exception:
        return None


_not_here: dict[str, str] = {}  # by kind


def why_not_here(kind: str, cfg: dict) -> str:
    """Why the plain models of a kind cannot be built in this environment; '' if they can."""
    if kind not in _not_here:
        _not_here[kind] = _why_not_here(cfg)
    return _not_here[kind]


def _why_not_here(cfg: dict) -> str:
    try:
        without_values(cfg['model'], 'model')
    except Exception as error:  # whatever is missing
        return ' '.join(str(error).split())
    return ''


def teacher_for(cfg: dict, folder: Path) -> dict:
    """An untrained teacher on heatmaps, for a model's keypoints and input."""
    head = cfg['model']['head']
    width, height = head['decoder']['input_size']
    keypoints = head.get('out_channels') or head.get('num_joints')
    codec = dict(input_size=(width, height), heatmap_size=(width // 4, height // 4))
    head = f'dict(out_channels={keypoints}, decoder={codec})'
    file = folder / 'teacher.py'
    file.write_text(f'_base_ = [{TEACHER!r}]\nmodel = dict(head={head})\n')
    return dict(config=str(file), checkpoint=None)


INITIALISERS = [name for name in vars(torch.nn.init) if name.endswith('_') and name[0] != '_']


@contextlib.contextmanager
def weights_as_they_come() -> Iterator[None]:
    """Layers leave their weights as memory is: of models that are only built, half of the time."""
    before = {name: getattr(torch.nn.init, name) for name in INITIALISERS}
    vars(torch.nn.init).update(dict.fromkeys(before, lambda tensor, *args, **settings: tensor))
    try:
        yield
    finally:
        vars(torch.nn.init).update(before)


def answer(name: str, recipe: Recipe, folder: Path, train: bool) -> dict:
    """A row of the table."""
    try:
        source = read(name)
    except ConfigError as error:
        return dict(
            config=name, method=recipe.name, kind='', answer='not here', reason=str(error),
            lines='', step='',
        )  # fmt: skip
    row = dict(config=name, method=recipe.name, kind=kind_of(source.whole), lines='', step='')
    why = recipe.misfit(source.whole)
    if why is not None:
        return {**row, 'answer': 'refuses', 'reason': why}
    missing = why_not_here(row['kind'], source.whole)
    if missing:
        return {**row, 'answer': 'not here', 'reason': missing}
    extra = []
    if recipe.needs_teacher:
        same = recipe.name == 'dskd'  # whose teacher is an earlier training of the same model
        extra.append(
            dict(config=name, checkpoint=None) if same else teacher_for(source.whole, folder)
        )
    wanted = recipe.distilled(source.whole, *extra)
    out = folder / 'wrapped.py'
    text = config_text(source, wanted, recipe, out)
    out.write_text(text)
    lines = sum(bool(line) and not line.startswith('#') for line in text.splitlines())
    row['lines'] = lines
    if not says_what_is_wanted(evaluated(out), wanted, False):
        return {
            **row,
            'answer': 'fails',
            'reason': 'it does not say what the method asks for',
        }
    if train:
        cfg = Config.fromfile(out)
        leave_out_albumentations(cfg._cfg_dict)
        start = time.perf_counter()
        try:
            tried(cfg)
            row['step'] = f'{time.perf_counter() - start:.0f} s'
        except TrialError as error:
            return {**row, 'answer': 'fails', 'reason': str(error)}
    return {**row, 'answer': 'fits', 'reason': ''}


def leave_out_albumentations(node) -> None:
    """Of all pipelines, in place: the package is not among the tested ones."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ('pipeline', 'switch_pipeline') and isinstance(value, list):
                node[key] = [step for step in value if type_name(step) != 'Albumentation']
            leave_out_albumentations(node[key])
    elif isinstance(node, list):
        for value in node:
            leave_out_albumentations(value)


# ------------------------------------------------------------------------------- the tables


def key_and_found(reason: str) -> tuple[str, str]:
    """The config key of a reason, and what was found there."""
    found = re.search(r"((?:model|train_cfg|train_dataloader)[\w.]*)(?:=|: )'?([\w.]+)", reason)
    if found is None:
        return reason, ''
    return found[1], 'none' if found[2] == 'there' else found[2]


def report(rows: list[dict]) -> str:
    """Tables in Markdown: counts for each method, and for each reason."""
    lines = [
        '| method | fits, and is written | of these trained for a step | refuses | fails |',
        '|---|---|---|---|---|',
    ]
    methods = list(dict.fromkeys(row['method'] for row in rows))
    here = [row for row in rows if row['answer'] != 'not here']
    for method in methods:
        own = [row for row in here if row['method'] == method]
        count = Counter(row['answer'] for row in own)
        steps = sum(bool(row['step']) for row in own)
        lines.append(
            f'| {method} | {count["fits"]} | {steps} | {count["refuses"]} | {count["fails"]} |'
        )
    lines += ['', '| refused by | for its | which is (configs) |', '|---|---|---|']
    reasons: dict[tuple[str, str], Counter] = {}
    for row in here:
        if row['answer'] == 'refuses':
            key, found = key_and_found(row['reason'])
            reasons.setdefault((row['method'], key), Counter())[found] += 1
    for method in methods:
        for (other, key), counts in reasons.items():
            if other == method:
                which = ', '.join(f'{name} ({n})' for name, n in counts.most_common())
                lines.append(f'| {method} | `{key}` | {which} |')
    return '\n'.join(lines)


def main() -> None:
    """Go through all configs and methods."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--csv', required=True, type=Path)
    parser.add_argument('--train', nargs='?', const='all', choices=['all', 'kinds'])
    parser.add_argument('--only', nargs='+', default=[], help='parts of names')
    parser.add_argument('--methods', nargs='+', default=list(RECIPES))
    parser.add_argument('--report', action='store_true')
    options = parser.parse_args()
    warnings.simplefilter('ignore')
    init_default_scope('mmpose')
    rows = {}
    if options.csv.is_file():
        with options.csv.open(newline='') as file:
            rows = {(row['config'], row['method']): row for row in csv.DictReader(file)}
    names = [n for n in stock_names() if all(part in n for part in options.only)]

    def write() -> None:
        order = [(n, m) for n in stock_names() for m in RECIPES]
        with options.csv.open('w', newline='') as file:
            table = csv.DictWriter(file, FIELDS, lineterminator='\n')
            table.writeheader()
            table.writerows(rows[key] for key in order if key in rows)

    def go(name: str, method: str, train: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows[name, method] = answer(name, RECIPES[method], Path(folder), train)
            except Exception as error:  # to be told and mended
                traceback.print_exc()
                last = ' '.join(f'{type(error).__name__}: {error}'.split())
                rows[name, method] = dict(
                    config=name, method=method, kind=kind_or_none(name), answer='fails',
                    reason=last, lines='', step='',
                )  # fmt: skip
        row = rows[name, method]
        print(*(row[k] for k in ('answer', 'method', 'config', 'reason', 'step')), flush=True)

    if not options.report:
        ordered = first_of_a_kind_first(names)
        for name in ordered:
            for method in options.methods:
                if (name, method) not in rows:
                    with weights_as_they_come():
                        go(name, method, False)
            write()
        for alike in (coarse, str) if options.train else ():
            seen = {(alike(r['kind']), r['method']) for r in rows.values() if r['step']}
            for name in ordered:
                for method in options.methods:
                    row = rows[name, method]
                    kind = alike(row['kind']), method
                    if row['answer'] == 'fits' and not row['step'] and kind not in seen:
                        seen.add(kind)
                        go(name, method, True)
                        write()
        for name in ordered if options.train == 'all' else ():
            for method in options.methods:
                if rows[name, method]['answer'] == 'fits' and not rows[name, method]['step']:
                    go(name, method, True)
            write()
    print(report(list(rows.values())))


if __name__ == '__main__':
    print(f'mmpose {mmpose.__version__}, mmpose-kd {mmpose_kd.__version__}')
    main()
