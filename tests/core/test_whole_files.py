"""Files are written whole or not at all."""

import os
from pathlib import Path

import pytest
from mmengine.fileio import get_file_backend

from mmpose_kd.core.whole_files import BACKEND, write_whole


def test_what_stood_there_stays_until_the_new_file_is_whole(tmp_path):
    path = tmp_path / 'a.pth'
    path.write_text('old')
    seen = []

    def write(unfinished):
        unfinished.write_text('ne')
        seen.append((unfinished, path.read_text()))
        unfinished.write_text('new')

    write_whole(path, write)
    ((unfinished, meanwhile),) = seen
    assert (meanwhile, path.read_text()) == ('old', 'new')
    assert unfinished.name == 'a.pth' and unfinished != path
    assert os.listdir(tmp_path) == ['a.pth']


@pytest.mark.parametrize('stood', [None, 'old'])
def test_an_error_on_the_way_leaves_what_was_there(tmp_path, stood):
    path = tmp_path / 'a.txt'
    if stood is not None:
        path.write_text(stood)

    def write(unfinished):
        unfinished.write_text('half')
        raise OSError('no room')

    with pytest.raises(OSError, match='no room'):
        write_whole(path, write)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == (
        {} if stood is None else {'a.txt': 'old'}
    )


def test_it_is_written_beside_its_place_where_only_this_user_can_enter(tmp_path):
    """Beside it, so that the move is one operation; the name of the folder cannot be foretold."""
    folders = []

    def write(unfinished):
        unfinished.touch()
        folders.append((unfinished.parent, unfinished.parent.stat().st_mode & 0o777))

    for _ in range(2):
        write_whole(tmp_path / 'runs' / 'a.txt', write)
    (one, mode), (two, _) = folders
    assert one.parent == tmp_path / 'runs' and one.name.startswith('.unfinished-')
    assert mode == 0o700 and one != two


def test_folders_on_the_way_are_made_also_in_a_path_that_is_text(tmp_path):
    write_whole(str(tmp_path / 'a' / 'b' / 'c.txt'), lambda path: path.write_text('c'))
    assert (tmp_path / 'a/b/c.txt').read_text() == 'c'


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
