"""Drawn people, and one finished run, that the tests of DSKDHook look at."""

import pytest


@pytest.fixture(scope='session')
def data(tmp_path_factory):
    """A folder with the drawn pictures."""
    from ..helpers.runs import draw

    return draw(tmp_path_factory.mktemp('drawn') / 'data')


@pytest.fixture(scope='session')
def finished(data, tmp_path_factory):
    """A run of three generations with EMA and accumulated gradients.

    Its folder, the runner, what was seen of the guides, and the model's traces before it.
    """
    from mmengine.config import Config

    from ..helpers.dskd_runs import Record, Watch, dskd_config, make_runner, traces

    folder = tmp_path_factory.mktemp('finished')
    cfg = dskd_config(data, folder / 'work', hooks=[dict(type='EMAHook')], epochs=3, keep_prob=1.0)
    cfg['optim_wrapper']['accumulative_counts'] = 2
    Config(cfg).dump(folder / 'run.py')
    watch = Watch()
    runner = make_runner(cfg, Record(), watch)
    clean = traces(runner.model)
    runner.train()
    return folder, runner, watch, clean
