"""The benchmark of whole epochs: it trains both models, on what the options say."""

import sys
from pathlib import Path

import pytest
from mmengine.config import Config

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import epoch
from mmpose_kd.demo.drawn_people import draw_dataset


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('drawn')
    draw_dataset(folder, train=8, val=2, seed=0, progress=False)
    return folder


def test_both_models_of_a_method_run_two_epochs_a_round(data):
    found = epoch.measured('ocd', data, workers=0, rounds=1)
    assert len(found.plain) == len(found.distilled) == len(found.ratios) == 2
    assert min(found.plain + found.distilled) > 0


def test_a_teacher_is_read_from_its_cache_after_the_first_epoch(data, monkeypatch):
    seen = []

    def epochs(cfg, folder, clock):
        found = original(cfg, folder, clock)
        seen.append((cfg.model.type, sorted(p.suffix for p in folder.parent.rglob('cache/**/*'))))
        return found

    original = epoch.epochs
    monkeypatch.setattr(epoch, 'epochs', epochs)
    epoch.measured('pkd', data, workers=0, rounds=1)
    (plain, nothing), (distiller, files) = seen
    assert (plain, distiller) == ('TopdownPoseEstimator', 'PoseDistiller')
    assert not nothing
    assert files


def test_the_small_models_are_those_of_the_demo_at_96_by_96(data, tmp_path):
    cfg = Config.fromfile(epoch.plain_file('integral_res18-small', data, tmp_path, workers=3))
    assert cfg.model.head.decoder.input_size == (96, 96)
    assert cfg.model.head.in_featuremap_size == (6, 6)
    assert cfg.train_dataloader.num_workers == 3
    assert 'val_dataloader' not in cfg


@pytest.mark.parametrize('option', ['--persons', '--rounds'])
def test_less_than_one_is_refused_before_anything_is_drawn(option, capsys):
    with pytest.raises(SystemExit):
        epoch.main([option, '0'])
    assert f'{option} is 0; at least 1 is needed' in capsys.readouterr().err
