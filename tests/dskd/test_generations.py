"""Full generations: whole trainings, each guided by the finished ones before it."""

import copy

import pytest
import torch
from mmengine.config import Config

from mmpose_kd.cli import main
from mmpose_kd.core.checkpoints import is_whole_checkpoint
from mmpose_kd.dskd import generations

from ..helpers.dskd_runs import dskd_config, saved, with_17, without_dskd
from ..helpers.models import RESNET, build


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


def test_checkpoints_elsewhere_are_found_and_a_training_goes_on_from_a_whole_one(plain, tmp_path):
    cfg = Config.fromfile(plain)
    cfg.custom_hooks = []  # no ExactResumeHook
    torch.save({'state_dict': build(cfg.model).state_dict(), 'meta': {}}, tmp_path / 'start.pth')
    cfg.load_from = str(tmp_path / 'start.pth')  # what a training goes on from is its own
    place = str(tmp_path / 'elsewhere')
    cfg.default_hooks.checkpoint.update(out_dir=place, max_keep_ckpts=1)
    folder = tmp_path / 'out/generation_0'
    found = generations._train(copy.deepcopy(cfg), folder).checkpoint
    assert found == tmp_path / 'elsewhere/generation_0/epoch_3.pth' and is_whole_checkpoint(found)
    assert generations._train(copy.deepcopy(cfg), folder).checkpoint == found

    # as if it had been stopped while it wrote its last checkpoint
    (folder / generations.DONE).unlink()
    found.write_bytes(found.read_bytes()[:5000])
    before = found.with_name('epoch_2.pth').stat().st_mtime_ns
    assert generations._train(copy.deepcopy(cfg), folder).checkpoint == found
    assert is_whole_checkpoint(found)
    assert found.with_name('epoch_2.pth').stat().st_mtime_ns == before


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


def with_hook(plain, tmp_path, **settings):
    cfg = Config.fromfile(plain)
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='DSKDHook', **settings)]
    cfg.dump(tmp_path / 'hooked.py')
    return ['generations', str(tmp_path / 'hooked.py'), '--work-dir', str(tmp_path / 'out')]


@pytest.mark.slow
def test_a_bigger_teacher_guides_all_generations_and_the_finished_ones_join_it(
    plain, tmp_path, capfd
):
    bigger = Config(dict(model=with_17(dict(RESNET, base_channels=16))))
    bigger.model.head.in_channels = 128
    bigger.dump(tmp_path / 'bigger.py')
    teacher = dict(config=str(tmp_path / 'bigger.py'), checkpoint=None)
    options = with_hook(plain, tmp_path, teachers=[teacher], form='hard', alpha=2.0)
    assert main([*options, '--generations', '3']) == 0
    hooks = [
        Config.fromfile(tmp_path / f'out/generation_{g}.py').custom_hooks[-1] for g in range(3)
    ]
    assert all((hook.form, hook.alpha) == ('hard', 2.0) for hook in hooks)
    assert [len(hook.get('guides') or []) for hook in hooks] == [0, 1, 2]
    names = [g['name'] for g in saved(tmp_path / 'out/generation_2/epoch_3.pth')['dskd']['guides']]
    assert names == ['guide0', 'guide1', 'guide2']
    assert (tmp_path / 'out/student/student.pth').is_file()


def test_a_hook_that_has_guides_already_is_refused(plain, tmp_path, capfd):
    assert main(with_hook(plain, tmp_path, guides='generations')) == 1
    assert 'custom_hooks: DSKDHook has guides already: leave guides out' in capfd.readouterr().err
    assert not (tmp_path / 'out').exists()
