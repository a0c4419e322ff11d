"""Checkpoints of others are read safely, and fetched whole or not at all."""

import hashlib
import http.server
import threading

import pytest
import torch
from torch import nn

from mmpose_kd.core.checkpoints import CheckpointError, read_checkpoint


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
