"""Full generations: whole trainings, each guided by the finished ones before it."""

import pytest
import torch
from mmengine.config import Config

from mmpose_kd.cli import main
from mmpose_kd.dskd import generations

from ..helpers.dskd_runs import dskd_config, saved, without_dskd


@pytest.fixture
def plain(data, tmp_path, monkeypatch):
    """The file of a plain config that trains for three epochs."""
    cfg = without_dskd(dskd_config(data, tmp_path / 'unused', epochs=3))
    Config(cfg).dump(tmp_path / 'plain.py')
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'plain.py'


@pytest.mark.slow
def test_one_command_trains_guides_exports_and_goes_on(plain, tmp_path, capfd, monkeypatch):
    arguments = ['generations', str(plain), '--work-dir', str(tmp_path / 'out')]
    assert main(arguments) == 0
    said = capfd.readouterr().out
    assert 'generation 1: ' in said and 'times the first training' in said
    first, second = (tmp_path / f'out/generation_{g}' for g in (0, 1))
    last = Config.fromfile(second.with_suffix('.py'))
    assert [hook.type for hook in last.custom_hooks][-1] == 'DSKDHook'
    assert last.custom_hooks[-1].guides == [str(first / 'epoch_3.pth')]
    seeds = [Config.fromfile(f.with_suffix('.py')).randomness.get('seed') for f in (first, second)]
    assert seeds[1] == seeds[0] + 1
    trained, student = (
        saved(path)['state_dict']
        for path in (second / 'epoch_3.pth', tmp_path / 'out/student/student.pth')
    )
    assert all(torch.equal(trained[key], student[key]) for key in student)

    # as if the last one had been stopped after its second epoch: it alone goes on
    (second / generations.DONE).unlink()
    (second / 'epoch_3.pth').unlink()
    (second / 'last_checkpoint').write_text(str(second / 'epoch_2.pth'))
    before = (first / 'epoch_3.pth').stat().st_mtime_ns
    assert main(arguments) == 0
    again = saved(second / 'epoch_3.pth')['state_dict']
    assert all(torch.equal(again[key], trained[key]) for key in trained)
    assert (first / 'epoch_3.pth').stat().st_mtime_ns == before

    assert main([*arguments, '--cfg-options', 'train_cfg.max_epochs=4']) == 1
    assert 'is another config' in capfd.readouterr().err


def test_a_config_that_dskd_does_not_fit_is_refused_before_any_training(plain, tmp_path, capfd):
    cfg = Config.fromfile(plain)
    cfg.model.head = None
    cfg.dump(tmp_path / 'headless.py')
    out = tmp_path / 'out'
    assert main(['generations', str(tmp_path / 'headless.py'), '--work-dir', str(out)]) == 1
    assert 'model.head' in capfd.readouterr().err
    assert main(['generations', str(plain), '--work-dir', str(out), '--generations', '1']) == 1
    assert 'give 2 or more' in capfd.readouterr().err
    assert not list(out.rglob('*.pth'))
