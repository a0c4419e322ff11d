"""Checkpoints of others are read safely, and fetched whole or not at all."""

import hashlib
import http.server
import threading

import pytest
import torch
from torch import nn

from mmpose_kd.core.checkpoints import (
    CheckpointError,
    is_whole_checkpoint,
    read_checkpoint,
    whole_checkpoints,
    write_checkpoint,
)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a folder on a web server; fetched files are kept apart."""
    folder = tmp_path / 'served'
    folder.mkdir()
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            """Quiet."""

    httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield folder, f'http://127.0.0.1:{httpd.server_port}'
    httpd.shutdown()
    httpd.server_close()


def save(path, value=1.0):
    torch.save({'state_dict': {'x': torch.tensor(value)}}, path)


def test_a_missing_file_is_told():
    with pytest.raises(FileNotFoundError, match=r'nowhere.pth'):
        read_checkpoint('nowhere.pth')


def test_a_file_in_the_home_folder_may_be_named_by_its_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    save(tmp_path / 'a.pth', 2.0)
    assert read_checkpoint('~/a.pth')['state_dict']['x'] == 2
    with pytest.raises(FileNotFoundError, match=r'^/.*b\.pth: no such file'):
        read_checkpoint('~/b.pth')


def test_an_address_is_fetched_once(server):
    folder, address = server
    save(folder / 'a.pth', 3.0)
    assert read_checkpoint(f'{address}/a.pth')['state_dict']['x'] == 3
    (folder / 'a.pth').unlink()
    assert read_checkpoint(f'{address}/a.pth')['state_dict']['x'] == 3


def test_files_of_the_same_name_are_kept_apart(server):
    folder, address = server
    for name, value in (('one', 1.0), ('two', 2.0)):
        (folder / name).mkdir()
        save(folder / name / 'best.pth', value)
    found = [read_checkpoint(f'{address}/{n}/best.pth')['state_dict']['x'] for n in ('one', 'two')]
    assert found == [1, 2]


def test_a_broken_download_is_fetched_again(server):
    folder, address = server
    (folder / 'a.pth').write_bytes(b'half')
    with pytest.raises(CheckpointError, match=r'a.pth cannot be read'):
        read_checkpoint(f'{address}/a.pth')
    save(folder / 'a.pth')
    assert read_checkpoint(f'{address}/a.pth')['state_dict']['x'] == 1


def test_the_checksum_in_a_published_name_is_checked(server):
    folder, address = server
    save(folder / 'a.pth')
    content = (folder / 'a.pth').read_bytes()
    good = hashlib.sha256(content).hexdigest()[:8]
    for name in (f'm-{good}_20220913.pth', 'm-00000000_20220913.pth'):
        (folder / name).write_bytes(content)
    assert read_checkpoint(f'{address}/m-{good}_20220913.pth')['state_dict']['x'] == 1
    with pytest.raises(CheckpointError, match=r'cannot be fetched.*hash'):
        read_checkpoint(f'{address}/m-00000000_20220913.pth')


def test_a_date_in_a_name_is_no_checksum(server):
    folder, address = server
    save(folder / 'm-20230101.pth', 4.0)
    assert read_checkpoint(f'{address}/m-20230101.pth')['state_dict']['x'] == 4
    for name in ('m-20231301.pth', 'm-20230101_20230102.pth'):
        save(folder / name)
        with pytest.raises(CheckpointError, match=r'cannot be fetched.*hash'):
            read_checkpoint(f'{address}/{name}')


def test_a_missing_address_is_told(server):
    with pytest.raises(CheckpointError, match=r'none.pth cannot be fetched.*404'):
        read_checkpoint(f'{server[1]}/none.pth')


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save({'state_dict': nn.Linear(1, 1)}, tmp_path / 'unsafe.pth')
    with pytest.raises(CheckpointError, match=r'unsafe.pth cannot be read'):
        read_checkpoint(tmp_path / 'unsafe.pth')
    torch.save([1], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match=r'holds a list'):
        read_checkpoint(tmp_path / 'list.pth')


class Breaks:
    """Cannot be pickled: the disk is full when a part is written already."""

    def __reduce__(self):
        raise OSError('no room')


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'run' / 'a.pth'
    with pytest.raises(OSError, match='no room'):
        write_checkpoint({'x': torch.ones(3), 'y': Breaks()}, path)
    assert not list(tmp_path.glob('**/*.pth'))
    write_checkpoint({'x': torch.ones(3)}, path)
    with pytest.raises(OSError, match='no room'):
        write_checkpoint({'x': torch.zeros(3), 'y': Breaks()}, path)
    assert read_checkpoint(path)['x'].tolist() == [1, 1, 1]
    assert [p.name for p in path.parent.iterdir()] == ['a.pth']


def test_whole_checkpoints_are_told_from_cut_ones_and_come_in_order(tmp_path):
    for name in ('epoch_2', 'epoch_10', 'iter_7', 'best_AP_epoch_2', 'epoch_x', 'xepoch_1'):
        save(tmp_path / f'{name}.pth')
    content = (tmp_path / 'epoch_2.pth').read_bytes()
    (tmp_path / 'epoch_11.pth').write_bytes(content[:-30])
    assert not is_whole_checkpoint(tmp_path / 'epoch_11.pth')
    assert not is_whole_checkpoint(tmp_path / 'nowhere.pth')
    assert is_whole_checkpoint(tmp_path / 'epoch_2.pth')
    found = whole_checkpoints(tmp_path)
    assert [path.name for path in found] == ['epoch_2.pth', 'iter_7.pth', 'epoch_10.pth']


def test_an_address_may_have_a_query(server):
    folder, address = server
    save(folder / 'a.pth', 2.0)
    assert read_checkpoint(f'{address}/a.pth?token=1')['state_dict']['x'] == 2
    (found,) = (folder.parent / 'hub').glob('**/*.pth')
    assert found.name == 'a.pth'


def test_why_a_file_is_refused_is_told_in_a_line_without_torchs_advice(tmp_path):
    torch.save({'a': nn.Linear(1, 1)}, tmp_path / 'unsafe.pth')
    (tmp_path / 'empty.pth').touch()
    for name, why in (('unsafe', r'asks for torch\.nn\.modules\.linear\.Linear, '), ('empty', '')):
        with pytest.raises(
            CheckpointError, match=rf'cannot be read as a checkpoint: .*{why}'
        ) as e:
            read_checkpoint(tmp_path / f'{name}.pth')
        text = str(e.value)
        assert '\n' not in text and 'weights_only' not in text and not text.endswith(': ')
