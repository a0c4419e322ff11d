"""The table of several outputs' metrics in the log."""

import numpy as np

from mmpose_kd.core.metric_table import metric_table


def test_rows_are_outputs_and_columns_are_metrics():
    rows = {'branch0': {'coco/AP': 0.12345, 'EPE': 12.0}, 'ensemble': {'coco/AP': 0.5}}
    assert [line.split() for line in metric_table(rows).splitlines()] == [
        ['coco/'],
        ['AP', 'EPE'],
        ['-' * len(metric_table(rows).splitlines()[2])],
        ['branch0', '0.1235', '12.0000'],
        ['ensemble', '0.5000'],
    ]


def test_numbers_of_numpy_are_cut_too_and_whole_ones_are_whole():
    row = metric_table({'a': {'x': np.float32(1 / 3), 'y': 7, 'z': 'no'}}).splitlines()[-1]
    assert row.split() == ['a', '0.3333', '7', 'no']


def test_it_is_plain_text_however_many_columns_there_are():
    text = metric_table({'a [b]': {f'metric [{i}]': float(i) for i in range(60)}})
    assert text.isascii() and len(text.splitlines()) == 3
    assert 'metric [59]' in text and text.splitlines()[2].startswith('a [b]')
