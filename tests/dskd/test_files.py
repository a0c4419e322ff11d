"""Which files of guides stay beside a run's checkpoints, and where they are looked for."""

import shutil

import pytest

from mmpose_kd.dskd.files import GuideFiles

from ..helpers.dskd_runs import dskd_config, hook_of, make_runner, saved, train


def runner_with(data, folder, **checkpoint):
    cfg = dskd_config(data, folder)
    cfg['default_hooks']['checkpoint'].update(checkpoint)
    return make_runner(cfg)


def test_a_file_goes_with_the_last_checkpoint_that_needs_it(data, tmp_path):
    runner, files = runner_with(data, tmp_path), GuideFiles()
    for step, needed in ((1, ['dskd_a.pth']), (2, ['dskd_a.pth', 'dskd_b.pth'])):
        for name in needed:
            (tmp_path / name).touch()
        files.note(runner, dict(epoch=step, iter=10 * step), needed)
        (tmp_path / f'epoch_{step}.pth').touch()
    (tmp_path / 'epoch_1.pth').rename(tmp_path / 'best_AP_epoch_1.pth')
    (tmp_path / 'epoch_2.pth').unlink()
    files.note(runner, dict(epoch=3, iter=30), [])
    assert sorted(p.name for p in tmp_path.glob('dskd_*')) == ['dskd_a.pth']
    (tmp_path / 'best_AP_epoch_1.pth').unlink()
    files.note(runner, dict(epoch=4, iter=40), [])
    assert not list(tmp_path.glob('dskd_*'))


def test_none_is_removed_where_the_checkpoints_are_on_a_server(data, tmp_path):
    """Which of them are still there is not known here."""
    runner, files = runner_with(data, tmp_path, out_dir='s3://bucket/runs'), GuideFiles()
    assert files.folder(runner) == tmp_path
    (tmp_path / 'dskd_a.pth').touch()
    files.note(runner, dict(epoch=1, iter=10), ['dskd_a.pth'])
    files.note(runner, dict(epoch=2, iter=20), [])
    assert (tmp_path / 'dskd_a.pth').is_file()


BAD_NAMES = [
    '../other.pth',
    '/other.pth',
    'epoch_1.pth',
    'dskd_/../x.pth',
    'dskd_a.pth/../../x',
    'dskd_a.pth\n',
    'x/dskd_a.pth',
    'dskd_.pth',
    'dskd_a.b.pth',
]


@pytest.mark.parametrize('name', BAD_NAMES)
def test_a_checkpoint_cannot_name_other_files(data, tmp_path, name):
    runner = runner_with(data, tmp_path)
    state = dict(references={'1': [name]}, folder=str(tmp_path))
    with pytest.raises(ValueError, match='is no name of a guide'):
        GuideFiles().resume(runner, state)
    state = dict(references={}, folder=str(tmp_path))
    with pytest.raises(ValueError, match='is no name of a guide'):
        GuideFiles().resume(runner, state)(name)


def moved(data, tmp_path, **checkpoint):
    """A run of two epochs that was carried to another machine: its config and its folder."""
    here, there = (dskd_config(data, tmp_path / n, epochs=3) for n in ('here', 'there'))
    for cfg in (here, there):
        cfg['default_hooks']['checkpoint'].update(checkpoint)
    train(here)
    shutil.move(tmp_path / 'here', tmp_path / 'there')
    if checkpoint:
        shutil.move(tmp_path / 'weights/here', tmp_path / 'elsewhere')
    return there, tmp_path / ('elsewhere' if checkpoint else 'there')


def losses_of(cfg, **changes):
    runner, losses = train(cfg, **changes)
    assert [guide.name for guide in hook_of(runner).bank.guides] == ['epoch_1', 'epoch_2']
    return losses


def test_a_run_goes_on_from_another_path(data, tmp_path):
    cfg, folder = moved(data, tmp_path)
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_2.pth'))
    assert losses_of(cfg, resume=True)
    copy = tmp_path / 'copy'
    shutil.copytree(folder, copy)
    shutil.rmtree(folder)
    assert losses_of(cfg, resume=True, load_from=str(copy / 'epoch_2.pth'))
    # the new folder has all that the next resume needs
    needed = saved(folder / 'epoch_3.pth')['dskd']['guides']
    assert all((folder / guide['file']).is_file() for guide in needed)


def test_guides_are_found_beside_checkpoints_that_lie_in_another_folder(data, tmp_path):
    cfg, folder = moved(data, tmp_path, out_dir=str(tmp_path / 'weights'))
    (tmp_path / 'there/last_checkpoint').write_text(str(folder / 'epoch_2.pth'))
    assert losses_of(cfg, resume=True)
