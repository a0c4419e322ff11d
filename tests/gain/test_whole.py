"""All of it: from a pair of configs to the report, and on after a stop."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from ..helpers import ROOT


def call(pair, out, *more):
    return [
        sys.executable, '-m', 'mmpose_kd.cli', 'gain', *pair, '--out', str(out), '--seeds', '0',
        '1', '--train-persons', '4', '--jobs', '2', '--no-equal-wall-time', *more,
    ]  # fmt: skip


METRIC = """
from mmengine.evaluator import BaseMetric
from mmpose.registry import METRICS


@METRICS.register_module()
class OwnMetric(BaseMetric):
    default_prefix = 'own'

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return {'persons': len(results)}
"""


@pytest.fixture
def here(pair, data, tmp_path):
    """A folder with configs that name their data, and a metric of the user's, from there."""
    folder = tmp_path / 'here'
    folder.mkdir()
    (folder / 'data').symlink_to(data)
    (folder / 'own_metric.py').write_text(METRIC)
    for path in pair:
        cfg = Config.fromfile(path)
        cfg.custom_imports.imports.append('own_metric')
        for name in ('val_evaluator', 'test_evaluator'):
            cfg[name] = [*cfg[name], dict(type='OwnMetric')]
        (folder / Path(path).name).write_text(cfg.pretty_text.replace(str(data), 'data'))
    return folder


@pytest.mark.slow
def test_from_configs_to_the_report_and_on_after_a_stop(here, tmp_path):
    where = dict(cwd=here, env={**os.environ, 'PYTHONPATH': str(ROOT)}, text=True)
    command = call(['plain.py', 'okdhp.py'], tmp_path, '--epochs', '2')
    working = subprocess.Popen(command, stderr=subprocess.PIPE, **where)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob('runs/*/work/epoch_1.pth')) and time.monotonic() < deadline:
        time.sleep(0.05)
    working.send_signal(signal.SIGTERM)
    assert working.wait(60) == 130
    running = subprocess.run(['ps', '-eo', 'args'], capture_output=True, text=True).stdout
    assert str(tmp_path) not in running

    done = subprocess.run(command, capture_output=True, **where)
    assert done.returncode == 0, done.stderr[-3000:]
    assert '4 of 4 runs done' in done.stderr
    assert 'okdhp over plain, same epochs (4 persons, 2 epochs)' in done.stdout
    page = (tmp_path / 'results.md').read_text()
    assert 'Not run' not in page and 'MACs' in page
    rows = list(csv.DictReader((tmp_path / 'results.csv').open()))
    assert len(rows) == 4
    assert len({(row['parameters'], row['MACs']) for row in rows}) == 1
    validated = 0
    for folder in tmp_path.glob('runs/*'):
        student = (folder / 'student/student.py').read_text()
        assert 'mmpose_kd' not in student and 'OKDHP' not in student
        trained, tested = (
            json.loads((folder / 'result.json').read_text())[key] for key in ('curve', 'metrics')
        )
        if '2' in trained:  # the stop may have come between checkpoint and validation
            assert trained['2']['EPE'] == tested['all']['EPE']
            assert trained['2']['own/persons'] == tested['all']['own/persons'] > 0
            validated += 1
    assert validated >= 2  # two runs at most were at work when it came

    # what is finished stays; what was lost is made again, to the same weights
    kept, lost = sorted(tmp_path.glob('runs/okdhp_*'))
    before = [torch.load(p / 'student/student.pth', weights_only=True) for p in (kept, lost)]
    time_before = os.stat(kept / 'result.json').st_mtime_ns
    subprocess.run(['rm', '-r', str(lost)], check=True)
    assert subprocess.run(command, **where).returncode == 0
    assert os.stat(kept / 'result.json').st_mtime_ns == time_before
    again = torch.load(lost / 'student/student.pth', weights_only=True)['state_dict']
    assert all(torch.equal(again[k], v) for k, v in before[1]['state_dict'].items())
