"""Files are written whole or not at all, in a place that nobody can foretell."""

import errno
import os
import resource
import signal
import stat
from pathlib import Path

import pytest
import torch
from mmengine.fileio import get_file_backend

from mmpose_kd.core.checkpoints import (
    is_whole_checkpoint,
    whole_checkpoints,
    write_checkpoint,
)
from mmpose_kd.core.whole_files import BACKEND, WholeFilesBackend, write_whole

from ..helpers.forks import in_a_fork

pytestmark = pytest.mark.reliability

MEGABYTE = 2**20


def test_the_file_is_there_under_its_name_and_nothing_beside_it(tmp_path):
    write_whole(str(tmp_path / 'a/b/c.txt'), lambda path: path.write_text('all of it'))
    assert [path.name for path in tmp_path.rglob('*')] == ['a', 'b', 'c.txt']
    assert (tmp_path / 'a/b/c.txt').read_text() == 'all of it'
    os.umask(mask := os.umask(0))
    assert stat.S_IMODE((tmp_path / 'a/b/c.txt').stat().st_mode) == 0o666 & ~mask


def test_it_is_not_seen_before_it_is_whole_and_the_old_one_stays_until_then(tmp_path):
    target = tmp_path / 'x.bin'
    target.write_text('old')

    def write(path):
        path.write_text('half')
        assert target.read_text() == 'old'
        assert path != target and path.name == target.name
        path.write_text('whole')

    write_whole(target, write)
    assert target.read_text() == 'whole'


def test_a_failed_write_leaves_the_old_file_and_nothing_of_the_new(tmp_path):
    target = tmp_path / 'x.bin'
    target.write_text('old')

    def write(path):
        path.write_text('half')
        raise OSError('no more')

    with pytest.raises(OSError, match='no more'):
        write_whole(target, write)
    assert target.read_text() == 'old'
    assert os.listdir(tmp_path) == ['x.bin']


def test_the_place_is_another_each_time_and_only_this_user_can_enter_it(tmp_path):
    places = []

    def write(path):
        places.append(path.parent)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        path.touch()

    for _ in range(3):
        write_whole(tmp_path / 'x', write)
    assert len(set(places)) == 3
    assert not any(place.exists() for place in places)


def test_a_link_at_the_target_is_replaced_not_followed(tmp_path):
    (tmp_path / 'precious').write_text('keep')
    (tmp_path / 'x').symlink_to(tmp_path / 'precious')
    write_whole(tmp_path / 'x', lambda path: path.write_text('new'))
    assert (tmp_path / 'precious').read_text() == 'keep'
    assert not (tmp_path / 'x').is_symlink() and (tmp_path / 'x').read_text() == 'new'


def test_of_a_process_that_is_killed_while_it_writes_the_old_file_stays(tmp_path):
    target = tmp_path / 'x.pth'
    write_checkpoint({'a': torch.zeros(3)}, target)
    before = target.read_bytes()

    def write(path):
        path.write_bytes(b'half')
        os.kill(os.getpid(), signal.SIGKILL)

    said = in_a_fork(lambda: str(write_whole(target, write)))
    assert said == f'died of {signal.SIGKILL}'
    assert target.read_bytes() == before


@pytest.mark.parametrize('by', ['write_checkpoint', 'backend'])
def test_a_full_disk_leaves_nothing_under_the_name(tmp_path, by):
    content = {'a': torch.zeros(MEGABYTE)}  # four megabytes, where one may be written

    def fill():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MEGABYTE, MEGABYTE))
        try:
            if by == 'backend':
                WholeFilesBackend().put(bytes(4 * MEGABYTE), tmp_path / 'x.pth')
            else:
                write_checkpoint(content, tmp_path / 'x.pth')
        except OSError as error:
            return 'full' if error.errno == errno.EFBIG else repr(error)
        return 'written'

    assert in_a_fork(fill) == 'full'
    assert os.listdir(tmp_path) == []


def test_a_backend_of_mmengine_that_writes_text_and_bytes(tmp_path):
    backend = WholeFilesBackend()
    backend.put(b'\x00\x01', tmp_path / 'a')
    backend.put_text('ä', tmp_path / 'b')
    assert (backend.get(tmp_path / 'a'), backend.get_text(tmp_path / 'b')) == (b'\x00\x01', 'ä')


def test_a_checkpoint_that_is_cut_anywhere_is_not_whole(tmp_path):
    path = tmp_path / 'x.pth'
    write_checkpoint({'a': torch.zeros(100)}, path)
    whole = path.read_bytes()
    assert is_whole_checkpoint(path)
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert not is_whole_checkpoint(path), length
    assert not is_whole_checkpoint(tmp_path / 'gone.pth')


def test_whole_checkpoints_come_in_the_order_of_their_numbers(tmp_path):
    for name in ('epoch_2', 'epoch_10', 'epoch_9', 'best_AP_epoch_4', 'iter_7'):
        write_checkpoint({}, tmp_path / f'{name}.pth')
    (tmp_path / 'epoch_11.pth').write_bytes(b'half')
    names = [path.stem for path in whole_checkpoints(tmp_path)]
    assert names == ['epoch_2', 'iter_7', 'epoch_9', 'epoch_10']
    assert whole_checkpoints(tmp_path / 'nowhere') == []


def test_the_content_is_on_the_disk_before_the_file_has_its_name(tmp_path, monkeypatch):
    order, fsync, replace = [], os.fsync, os.replace

    def flushed(descriptor):
        order.append(Path(f'/proc/self/fd/{descriptor}').resolve().name)
        fsync(descriptor)

    def moved(source, target):
        order.append('moved')
        replace(source, target)

    monkeypatch.setattr(os, 'fsync', flushed)
    monkeypatch.setattr(os, 'replace', moved)
    write_whole(tmp_path / 'a.txt', lambda path: path.write_text('a'))
    assert order == ['a.txt', 'moved']


def test_mmengine_writes_whole_files_by_the_name_of_the_backend(tmp_path, monkeypatch):
    moved = []
    replace = os.replace
    monkeypatch.setattr(os, 'replace', lambda *paths: moved.append(paths[1]) or replace(*paths))
    backend = get_file_backend(backend_args=dict(backend=BACKEND))
    backend.put(b'\x00a', tmp_path / 'a.pth')
    backend.put_text('ä', tmp_path / 'a.txt')
    backend.put_text('ä', tmp_path / 'b.txt', encoding='latin1')
    assert moved == [tmp_path / name for name in ('a.pth', 'a.txt', 'b.txt')]
    assert [path.read_bytes() for path in moved] == [b'\x00a', b'\xc3\xa4', b'\xe4']
