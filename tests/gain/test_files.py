"""Text and JSON files of the harness."""

import os

import pytest

from mmpose_kd.gain.files import read_json, write_json, write_text


def test_what_is_written_is_read_and_looks_as_git_likes_it(tmp_path):
    path = tmp_path / 'deep' / 'a.json'
    write_json(path, {'a': [1, 'ä']})
    assert read_json(path) == {'a': [1, 'ä']}
    assert path.read_text().splitlines()[1] == ' "a": [' and path.read_text().endswith('}\n')
    write_text(tmp_path / 'a.md', 'ä')
    assert (tmp_path / 'a.md').read_bytes() == b'\xc3\xa4'


def test_a_file_that_is_not_there_is_what_was_asked_for(tmp_path):
    assert read_json(tmp_path / 'a.json') is None
    assert read_json(tmp_path / 'a.json', missing={}) == {}
    assert read_json(tmp_path, missing=[]) == []


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / 'a.json'
    write_json(path, {'a': 1})

    def full(*paths):
        raise OSError('no room')

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(OSError, match='no room'):
        write_json(path, {'a': 2})
    assert read_json(path) == {'a': 1} and os.listdir(tmp_path) == ['a.json']
