"""The file of a cached teacher: whole or refused, never wrong."""

import multiprocessing
import os
import sqlite3
import time

import numpy as np
import pytest
import torch

from mmpose_kd.distiller.cache import CacheKey, TeacherCache
from mmpose_kd.distiller.compact import decode, encode

PRINT = {'teacher': 'a', 'seed': '0'}


def keys(*numbers, picture=5):
    return [CacheKey(f'person {n}', n % 2, picture + n) for n in numbers]


def maps(*numbers, size=(3, 16, 12)):
    return torch.stack(
        [torch.randn(size, generator=torch.Generator().manual_seed(n)) for n in numbers]
    )


def put(cache, *numbers, name='head'):
    blobs = encode(maps(*numbers), cache.region)
    cache.put(keys(*numbers), [{name: blob} for blob in blobs])


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'made' / 'teacher0.sqlite'


@pytest.fixture(autouse=True)
def warnings(monkeypatch):
    told = []
    monkeypatch.setattr(
        'mmpose_kd.distiller.cache.print_log', lambda text, *args: told.append(text)
    )
    return told


@pytest.mark.parametrize('store', ['float16', 'regions'])
def test_what_is_put_is_found_by_another_process_later(path, store):
    cache = TeacherCache(path, PRINT, store, region_size=4)
    put(cache, 1, 2)
    cache.close()
    again = TeacherCache(path, PRINT, store, region_size=4)
    found = again.get([*keys(1, 3), None, *keys(2)], ['head'])
    assert found[1] is None and found[2] is None
    for entry, number in ((found[0], 1), (found[3], 2)):
        assert np.array_equal(entry['head'], decode(encode(maps(number), cache.region)[0]))
    assert again.get(keys(1), ['head', 'backbone']) == [None]


def test_only_what_is_missing_is_computed_and_all_of_it_is_the_stored_form(path):
    asked = []

    def run(numbers):
        asked.append(numbers)
        return [maps(*(persons[i] for i in numbers)), maps(*numbers, size=(7,))]

    cache = TeacherCache(path, PRINT)
    seen = {}
    for persons in ([1, 2, 3], [3, 4, 1], [4, 3, 2]):
        heads, _ = cache.outputs(keys(*persons), ['head', 'x'], run, torch.device('cpu'))
        assert heads.dtype == torch.float32 and heads.shape == (3, 3, 16, 12)
        for person, head in zip(persons, heads):
            assert torch.equal(head, seen.setdefault(person, head))
            assert torch.equal(head, maps(person)[0].half().float())
    assert asked == [[0, 1, 2], [1]]
    assert (cache.num_read, cache.num_computed, cache.num_written) == (5, 4, 4)


def test_features_stay_whole_beside_regions(path):
    cache = TeacherCache(path, PRINT, 'regions', region_size=2, whole=['backbone'])
    head, backbone = cache.outputs(
        keys(1), ['head', 'backbone'], lambda _: [maps(1), maps(1)], torch.device('cpu')
    )
    assert (head != 0).sum() == 3 * 4
    assert torch.equal(backbone, maps(1).half().float())


def test_a_sample_without_a_key_is_computed_told_and_not_stored(path, warnings):
    cache = TeacherCache(path, PRINT)
    for _ in range(2):
        (out,) = cache.outputs(
            [None, *keys(2)], ['head'], lambda n: [maps(1, 2)[n]], torch.device('cpu')
        )
        assert torch.equal(out, maps(1, 2).half().float())
    assert cache.db.execute('SELECT count(*) FROM outputs').fetchone() == (1,)
    assert len(warnings) == 1 and 'FixedAugmentations' in warnings[0]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(fingerprint={**PRINT, 'seed': '1'}), 'seed is 0 in the file, 1 now.*delete'),
        (dict(fingerprint={**PRINT, 'teacher': 'b'}), 'teacher is a in the file, b now'),
        (dict(fingerprint={'teacher': 'a'}), 'seed is 0 in the file, missing now'),
        (dict(store='regions'), 'store is float16 in the file, regions now'),
    ],
)
def test_another_fingerprint_is_refused_and_named(path, change, message):
    TeacherCache(path, PRINT).close()
    with pytest.raises(ValueError, match=f'teacher0.sqlite.*{message}'):
        TeacherCache(**{'path': path, 'fingerprint': PRINT, **change})
    TeacherCache(path, PRINT)


@pytest.mark.parametrize('share', [0.001, 0.3, 0.9, 'one byte less'])
def test_a_truncated_file_is_noticed(path, share):
    cache = TeacherCache(path, PRINT)
    for n in range(40):
        put(cache, n)
    cache.close()
    size = os.path.getsize(path)
    os.truncate(path, size - 1 if share == 'one byte less' else int(size * share))
    with pytest.raises(ValueError, match=r'teacher0.sqlite is damaged.*delete it'):
        TeacherCache(path, PRINT)


@pytest.mark.parametrize('content', ['text', 'database'])
def test_a_foreign_file_is_refused_and_left_alone(path, content):
    path.parent.mkdir()
    if content == 'text':
        path.write_text('not a database ' * 100)
    else:
        with sqlite3.connect(path) as db:
            db.execute('CREATE TABLE mine (x)')
        db.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r'teacher0.sqlite is damaged or no teacher cache'):
        TeacherCache(path, PRINT)
    assert path.read_bytes() == before


def test_a_flipped_byte_in_an_entry_is_noticed(path):
    cache = TeacherCache(path, PRINT)
    put(cache, 1)
    cache.close()
    content = bytearray(path.read_bytes())
    middle = decode(encode(maps(1))[0])[1, 8].tobytes()
    content[content.index(middle)] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'teacher0.sqlite is damaged.*checksum.*delete it'):
        TeacherCache(path, PRINT).get(keys(1), ['head'])


def test_an_entry_of_another_picture_is_never_used(path):
    cache = TeacherCache(path, PRINT)
    put(cache, 1)
    with pytest.raises(
        ValueError, match=r'teacher0.sqlite: the picture of person person 1.*outside'
    ):
        cache.get(keys(1, picture=6), ['head'])


def test_the_largest_size_is_kept_told_once_and_the_rest_is_computed(path, warnings):
    cache = TeacherCache(path, PRINT, max_gb=100e-6)
    for _ in range(2):
        for n in range(100):
            (out,) = cache.outputs(
                keys(n), ['head'], lambda _, n=n: [maps(n)], torch.device('cpu')
            )
            assert torch.equal(out, maps(n).half().float())
    assert 90e3 < os.path.getsize(path) <= 100e3
    assert 20 < cache.num_written == cache.num_read < 80
    assert len(warnings) == 1 and 'max_gb=0.0001' in warnings[0]


def test_a_full_disk_is_told_once_and_what_is_stored_stays_right(path, warnings):
    cache = TeacherCache(path, PRINT)
    put(cache, 1)
    pages = cache.db.execute('PRAGMA page_count').fetchone()[0]
    cache.db.execute(f'PRAGMA max_page_count = {pages + 2}')  # what a full disk answers as well
    put(cache, *range(2, 40))
    put(cache, 40)
    assert len(warnings) == 1 and 'full' in warnings[0]
    cache.close()
    found = TeacherCache(path, PRINT).get(keys(*range(1, 41)), ['head'])
    assert [entry is not None for entry in found] == [True] + [False] * 39  # none of the batch


def test_a_file_that_another_process_holds_is_told_and_the_teacher_is_run(path, warnings):
    cache = TeacherCache(path, PRINT)
    put(cache, 1)
    cache.db.execute('PRAGMA busy_timeout = 10')
    other = sqlite3.connect(path, isolation_level=None)
    other.execute('BEGIN EXCLUSIVE')
    (out,) = cache.outputs(keys(1), ['head'], lambda _: [maps(1)], torch.device('cpu'))
    assert torch.equal(out, maps(1).half().float())
    assert any('locked' in text for text in warnings)
    other.execute('ROLLBACK')
    assert cache.get(keys(1), ['head'])[0] is not None


def test_a_value_that_cannot_be_stored_is_told_by_its_output(path):
    cache = TeacherCache(path, PRINT)
    with pytest.raises(ValueError, match=r"'backbone'.*65504.*leave the hook"):
        cache.outputs(keys(1), ['backbone'], lambda _: [maps(1) * 1e6], torch.device('cpu'))
    with pytest.raises(ValueError, match=r"'x' of the teacher has shape \(3, 16, 12\)"):
        cache.outputs(keys(1), ['x'], lambda _: [maps(1)[0]], torch.device('cpu'))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(store='float8'), "store='float8'"),
        (dict(region_size=0), 'region_size=0'),
        (dict(max_gb=0), 'max_gb=0'),
    ],
)
def test_a_wrong_setting_is_told(path, settings, message):
    with pytest.raises(ValueError, match=f'TeacherCacheHook.{message}'):
        TeacherCache(path, PRINT, **settings)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match=r'cannot be opened.*TeacherCacheHook.path'):
        TeacherCache(tmp_path / 'file' / 'x.sqlite', PRINT)


def write_and_wait(path, waiting):
    cache = TeacherCache(path, PRINT)
    cache.db.execute('PRAGMA cache_size = 1')  # so that pages reach the file before the commit
    cache.db.set_trace_callback(lambda sql: sql == 'COMMIT' and (waiting.set(), time.sleep(600)))
    put(cache, *range(2, 200))


def test_a_process_killed_in_the_middle_of_a_batch_leaves_none_of_it(path):
    cache = TeacherCache(path, PRINT)
    put(cache, 1)
    cache.close()
    before = os.path.getsize(path)
    fork = multiprocessing.get_context('fork')
    waiting = fork.Event()
    writer = fork.Process(target=write_and_wait, args=(path, waiting))
    writer.start()
    assert waiting.wait(60)
    writer.kill()
    writer.join()
    assert os.path.getsize(path) > before and path.with_name(path.name + '-journal').exists()
    again = TeacherCache(path, PRINT)
    assert os.path.getsize(path) == before
    found = again.get(keys(*range(1, 200)), ['head'])
    assert [entry is not None for entry in found] == [True] + [False] * 198
    put(again, *range(1, 200))
    assert all(again.get(keys(*range(1, 200)), ['head']))


def write(path, at_once, barrier):
    cache = TeacherCache(path, PRINT)
    barrier.wait()
    for n in range(0, 60, 3):
        put(cache, *range(n, n + at_once))
    os._exit(0)  # without what pytest does at the end of a process


def test_two_processes_write_at_once(path):
    fork = multiprocessing.get_context('fork')
    barrier = fork.Barrier(2)
    writers = [fork.Process(target=write, args=(path, n, barrier)) for n in (3, 4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    found = TeacherCache(path, PRINT).get(keys(*range(61)), ['head'])
    for n, entry in enumerate(found):
        assert np.array_equal(entry['head'], decode(encode(maps(n))[0]))
