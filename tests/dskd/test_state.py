"""DSKDHook: what checkpoints hold of it, and runs that go on from them."""

import copy
import shutil

import pytest
import torch
from mmengine.hooks import Hook

from ..helpers.dskd_runs import (
    HOOK,
    Record,
    dskd_config,
    hook_of,
    make_runner,
    saved,
    traces,
    train,
    with_17,
    without_dskd,
)
from ..helpers.models import build
from ..helpers.runs import run_config


def test_the_checkpoint_holds_the_state_and_no_guide_among_the_weights(finished):
    folder, _, _, _ = finished
    checkpoint = saved(folder / 'work/epoch_3.pth')
    stock = build(with_17()).state_dict()
    assert checkpoint['state_dict'].keys() == stock.keys()
    assert {key[7:] for key in checkpoint['ema_state_dict'] if key != 'steps'} == stock.keys()
    assert not any('guide' in key or 'dskd' in key for key in checkpoint['state_dict'])
    state = checkpoint['dskd']
    assert [guide['file'] for guide in state['guides']] == ['dskd_epoch_1.pth', 'dskd_epoch_2.pth']
    assert state['generation'] == 2
    # a guide's file is a checkpoint of the stock model
    guide = saved(folder / 'work/dskd_epoch_1.pth')
    build(with_17()).load_state_dict(guide['state_dict'], strict=True)


def test_guides_that_no_checkpoint_needs_are_removed(data, tmp_path):
    snapshots = dict(guides='snapshots', interval=1, num_guides=2)
    cfg = dskd_config(data, tmp_path, epochs=6, **snapshots)
    cfg['default_hooks']['checkpoint']['max_keep_ckpts'] = 2
    train(cfg)
    # epoch_5 was trained on with guides 4 and 5, epoch_6 is the end: no guide is made of it
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == [
        'dskd_epoch_4.pth', 'dskd_epoch_5.pth', 'epoch_5.pth', 'epoch_6.pth',
    ]  # fmt: skip
    for epoch in (5, 6):
        for guide in saved(tmp_path / f'epoch_{epoch}.pth')['dskd']['guides']:
            assert (tmp_path / guide['file']).is_file()


def test_every_checkpoint_that_is_left_finds_its_guides(data, tmp_path):
    """Beside the newest, those of two best ones, which are replaced at times of their own."""
    cfg = run_config(data, tmp_path, with_17())
    hook = dict(guides='snapshots', interval=1, num_guides=1)
    cfg['custom_hooks'] = [{**HOOK, **hook}]
    cfg['train_cfg'] = dict(by_epoch=True, max_epochs=6, val_interval=1)
    cfg['default_hooks']['checkpoint'].update(
        max_keep_ckpts=1, save_best=['EPE', 'coco/AP'], rule=['less', 'greater']
    )
    train(cfg)
    left = [p for p in tmp_path.glob('*.pth') if not p.name.startswith('dskd_')]
    needed = {guide['file'] for p in left for guide in saved(p)['dskd']['guides']}
    assert {p.name for p in tmp_path.glob('dskd_*.pth')} == needed
    assert len(left) > 1


def test_it_goes_on_with_its_guides_where_an_interrupted_training_goes_on(data, tmp_path):
    """As in a notebook: Ctrl-C, and ``runner.train()`` once more."""
    whole_runner, whole = train(dskd_config(data, tmp_path / 'whole', epochs=3))

    def interrupt():
        record.end_at = None
        raise KeyboardInterrupt

    per_epoch = len(whole) // 3
    record = Record(2 * per_epoch, interrupt)
    runner = make_runner(dskd_config(data, tmp_path / 'parts', epochs=3), record)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    runner.train()
    assert record.losses == whole
    bank, other = hook_of(runner).bank, hook_of(whole_runner).bank
    assert [g.fingerprint for g in bank.guides] == [g.fingerprint for g in other.guides]


def goes_on_from(path, cfg):
    """Whether the first step of the resumed run has the checkpoint's weights."""
    first = {}

    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if not first:
                first.update(copy.deepcopy(runner.model.state_dict()))

    (path.parent / 'last_checkpoint').write_text(str(path))
    make_runner(cfg, Look(), resume=True).train()
    return all(torch.equal(first[key], v) for key, v in saved(path)['state_dict'].items())


def test_a_resume_within_a_redrawn_generation_keeps_what_was_learned(data, tmp_path):
    """Checkpoints that are written by iterations lie in the middle of an epoch."""
    cfg = dskd_config(data, tmp_path, epochs=3, redraw=True)
    cfg['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=1, by_epoch=False)
    _, losses = train(cfg)
    assert goes_on_from(tmp_path / f'iter_{len(losses) // 3 + 1}.pth', cfg)


def test_a_plain_run_that_is_resumed_with_redraw_keeps_what_was_learned(data, tmp_path):
    """Also where a generation would have begun: there is no guide yet that knows it."""
    cfg = dskd_config(data, tmp_path, epochs=3, redraw=True)
    train(without_dskd(cfg), train_cfg__max_epochs=1)
    assert goes_on_from(tmp_path / 'epoch_1.pth', cfg)


def test_of_more_guides_than_the_resumed_run_asks_for_the_newest_are_kept(data, tmp_path):
    cfg = dskd_config(data, tmp_path, epochs=4, guides='snapshots', interval=1, num_guides=3)
    train(cfg)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_3.pth'))
    cfg['custom_hooks'][-1]['num_guides'] = 1
    runner, _ = train(cfg, resume=True)
    assert [guide.name for guide in hook_of(runner).bank.guides] == ['epoch_3']


def test_a_changed_plan_is_told_and_the_run_goes_on_with_its_guides(data, tmp_path):
    cfg = dskd_config(data, tmp_path, epochs=3)
    train(cfg)
    runner, _ = train(cfg, resume=True, train_cfg__max_epochs=6)
    log = next(tmp_path.glob(f'{runner.timestamp}/*.log')).read_text()
    assert 'epoch_1, epoch_2' in log and 'would have been epoch_2;' in log
    assert [guide.name for guide in hook_of(runner).bank.guides] == ['epoch_2', 'epoch_4']


def test_a_lost_or_changed_guide_stops_the_resume(data, tmp_path):
    cfg = dskd_config(data, tmp_path, epochs=3)
    train(cfg)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    guide = tmp_path / 'dskd_epoch_1.pth'
    shutil.copy(guide, tmp_path / 'kept.pth')
    content = saved(guide)
    content['state_dict']['head.final_layer.bias'] += 1
    torch.save(content, guide)
    with pytest.raises(ValueError, match=r'dskd_epoch_1\.pth is not the guide'):
        train(cfg, resume=True)
    guide.unlink()
    runner = make_runner(cfg, resume=True)
    with pytest.raises(ValueError, match=r'dskd_epoch_1\.pth is needed to resume'):
        runner.train()
    shutil.copy(tmp_path / 'kept.pth', guide)
    runner.train()  # found, in the same process
    assert [guide.name for guide in hook_of(runner).bank.guides] == ['epoch_1', 'epoch_2']
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    with pytest.raises(ValueError, match=r"had 'generations', the config asks for 'snapshots'"):
        changed = copy.deepcopy(cfg)
        changed['custom_hooks'][-1].update(guides='snapshots', interval=1)
        train(changed, resume=True)


def test_a_test_or_a_validation_alone_does_not_need_the_guides(data, tmp_path):
    cfg = run_config(data, tmp_path, with_17())
    cfg['custom_hooks'] = [{**HOOK, 'guides': ['nowhere.pth']}]
    del cfg['default_hooks']['checkpoint']['save_best']  # MMEngine needs a training for that
    for job in ('test', 'val'):
        runner = make_runner(cfg)
        clean = traces(runner.model)
        assert 'coco/AP' in getattr(runner, job)()
        assert traces(runner.model) == clean
