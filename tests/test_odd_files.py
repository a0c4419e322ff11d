"""Files that are not what they should be: one clear line at every door, and nothing done on
a file's word."""

import functools
import json
import os
import resource
import shutil
import sqlite3
import zipfile
import zlib

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from mmpose_kd.cli import main
from mmpose_kd.core.loading import look_at_load_from
from mmpose_kd.demo import draw_dataset
from mmpose_kd.distiller.cache import CacheKey, TeacherCache
from mmpose_kd.distiller.compact import DamagedError, decode
from mmpose_kd.distiller.teacher import Teacher
from mmpose_kd.dskd.files import checked_state
from mmpose_kd.dskd.guides import GuideBank
from mmpose_kd.export import export_student
from mmpose_kd.gain.configs import load_config
from mmpose_kd.gain.files import read_arrays
from mmpose_kd.gain.plan import Run
from mmpose_kd.gain.report import write_report
from mmpose_kd.gain.start import initial_weights
from mmpose_kd.records import read_records

from .helpers.distillers import distiller_config
from .helpers.models import build, okdhp_config, plain_config
from .helpers.ocd import ocd_of
from .helpers.runs import run_config

pytestmark = pytest.mark.reliability

MISTAKES = (ValueError, FileNotFoundError, IsADirectoryError, NotADirectoryError)
MOST = 400  # MB that a door may take on top of what it had


def in_one_line(error):
    """A message of a line that says something; MMEngine's and torch's own may follow."""
    text = str(error)
    assert text.strip() and 'Traceback' not in text
    return text


@pytest.fixture(autouse=True)
def memory():
    """Nothing large is allocated."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MOST


# ------------------------------------------------------------------------- checkpoints


@functools.cache
def weights():
    return build(plain_config()).state_dict()


def changed(value, name='backbone.conv1.weight'):
    return {**weights(), name: value}


def quantised():
    return torch.quantize_per_tensor(torch.zeros(8, 3, 7, 7), 0.1, 0, torch.qint8)


class Command:
    def __reduce__(self):
        return os.system, ('touch ran',)


def deep(n=2000):
    nested = []
    for _ in range(n):
        nested = [nested]
    return nested


#: by name what is saved as a checkpoint, and a part of the message
CHECKPOINTS = {
    'a list': (lambda: [1], 'list'),
    'a tensor': (lambda: torch.zeros(3), 'Tensor'),
    'None': (lambda: None, 'NoneType'),
    'state_dict a list': (lambda: dict(state_dict=[1, 2]), 'found a list'),
    'state_dict None': (lambda: dict(state_dict=None), 'found a NoneType'),
    'state_dict a text': (lambda: dict(state_dict='weights'), 'found a str'),
    'state_dict a tensor': (lambda: dict(state_dict=torch.zeros(2)), 'found a Tensor'),
    'integer keys': (lambda: dict(state_dict={0: torch.zeros(1)}), 'the key 0, a int'),
    'bytes as keys': (lambda: {b'a': torch.zeros(1)}, "b'a'"),
    'None as key': (lambda: dict(state_dict={None: torch.zeros(1)}), 'the key None'),
    'one integer key': (lambda: dict(state_dict={**weights(), 5: torch.zeros(1)}), 'key 5'),
    'a dict in it': (lambda: dict(state_dict=dict(a=dict(b=torch.zeros(1)))), 'found a, a dict'),
    'None in it': (lambda: dict(state_dict=changed(None)), 'conv1.weight, a NoneType'),
    'a number in it': (lambda: dict(state_dict=changed(3.5)), 'conv1.weight, a float'),
    'an array in it': (lambda: dict(state_dict=changed(np.zeros((8, 3, 7, 7)))), 'ndarray'),
    'complex': (
        lambda: dict(state_dict=changed(torch.zeros(8, 3, 7, 7, dtype=torch.complex64))),
        'conv1.weight, a tensor of torch.complex64',
    ),
    'sparse': (lambda: dict(state_dict=changed(torch.zeros(8, 3, 7, 7).to_sparse())), 'sparse'),
    'quantised': (lambda: dict(state_dict=changed(quantised())), 'quantised'),
    'no weights': (lambda: dict(meta={}, optimizer={}), 'by name'),
    'meta alone': (lambda: dict(meta=None), 'by name'),
    'larger than a disk': (lambda: dict(state_dict=changed(torch.zeros(1).expand(10**12))), ''),
    'empty': (dict, ''),
    'empty state_dict': (lambda: dict(state_dict={}), ''),
    'another shape': (lambda: dict(state_dict=changed(torch.zeros(2))), ''),
    'a command': (lambda: dict(state_dict=Command()), 'cannot be read'),
    'nested': (lambda: dict(state_dict=deep(200)), 'found a list'),
}  # fmt: skip

#: the same of files that torch did not write
FILES = {
    'a text': b'weights',
    'nothing': b'',
    'half a file': None,
    'a zip of nothing': b'PK\x05\x06' + 18 * b'\0',
}


def write_checkpoint(name, path):
    if name in CHECKPOINTS:
        torch.save(CHECKPOINTS[name][0](), path)
    elif FILES[name] is None:
        torch.save(dict(state_dict=weights()), path)
        os.truncate(path, os.path.getsize(path) // 2)
    else:
        path.write_bytes(FILES[name])
    return path


def by_teacher(path):
    teacher = Teacher(plain_config(), str(path))
    teacher.load()
    return teacher


def by_guide(path):
    model = build(plain_config())
    GuideBank(plain_config(), 'heatmap', 2, 'key').give(0, str(path), model.head, 'guides[0]')


def by_resumed_guide(path):
    GuideBank(plain_config(), 'heatmap', 2, 'key')._read_copy('epoch_1', path)


def by_export(path):
    config = path.with_name('config.py')
    Config(run_config(path.parent, path.parent, okdhp_config())).dump(config)
    return export_student(config, path, path.with_name('out'))


def by_gain(path):
    initial_weights(plain_config(), None, 0, str(path))


def by_load_from(make):
    def door(path):
        text = f'load_from = {str(path)!r}\n'
        MessageHub.get_current_instance().update_info('cfg', text)
        model = build(make())  # looks at it
        model.load_state_dict(torch.load(path, weights_only=True)['state_dict'], strict=True)

    return door


DOORS = {
    'teacher': by_teacher,
    'guide': by_guide,
    'guide of a resumed run': by_resumed_guide,
    'export': by_export,
    'gain': by_gain,
    'load_from of OKDHP': by_load_from(okdhp_config),
    'load_from of OCD': by_load_from(lambda: ocd_of('regression')),
    'load_from of a distiller': by_load_from(distiller_config),
}


#: what does not fit, but is a checkpoint: load_from takes what it can
MISFITS = ('empty', 'empty state_dict', 'another shape', 'larger than a disk')
STRICT = ('teacher', 'guide', 'guide of a resumed run', 'export')
#: at every door each time; the others at one door, and at all with -m slow
FEW = ('state_dict a list', 'one integer key', 'complex', 'half a file')


def door_and_name(door, name):
    quick = door == 'teacher' or name in FEW
    return pytest.param(door, name, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(
    ('door', 'name'),
    [
        door_and_name(door, name)
        for door in DOORS
        for name in [*CHECKPOINTS, *FILES]
        if door in STRICT or name not in MISFITS
    ],
)
def test_an_odd_checkpoint_is_refused(tmp_path, monkeypatch, door, name):
    monkeypatch.chdir(tmp_path)
    path = write_checkpoint(name, tmp_path / 'dskd_odd.pth')
    with pytest.raises(MISTAKES) as error:
        DOORS[door](path)
    text = in_one_line(error.value)
    assert CHECKPOINTS.get(name, ('', ''))[1] in text and (
        'odd.pth' in text or 'load_from' in text
    )
    assert not (tmp_path / 'ran').exists() and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('name', ['state_dict a list', 'integer keys', 'complex', 'a text'])
def test_the_command_says_it_in_one_line(tmp_path, capsys, name):
    path = write_checkpoint(name, tmp_path / 'odd.pth')
    Config(run_config(tmp_path, tmp_path, okdhp_config())).dump(tmp_path / 'config.py')
    code = main(['export', str(tmp_path / 'config.py'), str(path), str(tmp_path / 'out')])
    told = capsys.readouterr().err
    assert code == 1 and told.count('\n') == 1 and 'odd.pth' in told


def test_state_dicts_that_are_none_are_refused_by_the_models_themselves():
    model = build(okdhp_config())
    for state in ({3: torch.zeros(1)}, {'backbone.conv1.weight': 3}, changed(torch.zeros(1) * 1j)):
        with pytest.raises(ValueError, match='load_from: the checkpoint has no weights by name'):
            model.load_state_dict(state)


def test_in_a_run_load_from_is_looked_at_before_mmengine_reads_it(tmp_path):
    cfg = run_config(draw_and_return(tmp_path), tmp_path / 'work')
    cfg['load_from'] = str(write_checkpoint('state_dict a list', tmp_path / 'odd.pth'))
    with pytest.raises(ValueError, match=r'odd.pth.*found a list'):
        Runner.from_cfg(Config(cfg)).train()


def draw_and_return(folder):
    draw_dataset(folder / 'data', train=1, val=1, progress=False)
    return folder / 'data'


def test_other_places_than_files_are_left_to_mmengine():
    hub = MessageHub.get_current_instance()
    for source in (None, '', 's3://bucket/a.pth', 'torchvision://resnet18', 3):
        hub.update_info('cfg', f'load_from = {source!r}\n')
        look_at_load_from()


#: meta that says nothing, or nonsense, beside good weights
METAS = {
    'None': None,
    'a list': [1],
    'a text': 'meta',
    'integer keys': {0: 1},
    'cfg a number': dict(cfg=3),
    'cfg a dict': dict(cfg=dict(model=3)),
    'cfg with an error': dict(cfg='model = dict('),
    'cfg of nonsense': dict(cfg='model = 3\ndata_preprocessor = [1]'),
    'cfg deeply nested': dict(cfg='a = ' + '[' * 500 + ']' * 500),
    'mean of texts': dict(cfg="model = dict(data_preprocessor=dict(mean='abc', std=[None]))"),
    'dataset_meta a list': dict(dataset_meta=[1, 2]),
    'dataset_meta None': dict(dataset_meta=None),
    'flip_indices a text': dict(dataset_meta=dict(flip_indices='01234')),
    'flip_indices of others': dict(dataset_meta=dict(flip_indices=[9, 9, 9])),
    'names a list': dict(dataset_meta=dict(keypoint_id2name=['nose'])),
    'names of tensors': dict(dataset_meta=dict(keypoint_id2name={0: torch.zeros(2)})),
    'keys of tuples': dict(dataset_meta={(1, 2): 3, 'a': {4, 5}}),
    'epoch a text': dict(epoch='ten', iter=None, experiment_name=3),
}


@pytest.mark.parametrize('name', METAS)
def test_odd_meta_beside_good_weights_does_no_harm(tmp_path, name):
    path = tmp_path / 'odd.pth'
    torch.save(dict(state_dict=weights(), meta=METAS[name]), path)
    names = dict(keypoint_id2name={k: f'k{k}' for k in range(5)})
    try:
        teacher = by_teacher(path)
    except ValueError as error:  # a normalisation that is not the config's
        assert name == 'mean of texts' and 'data_preprocessor' in in_one_line(error)
    else:
        teacher.compare_keypoints(names)
        assert teacher._flip_indices([0, 1, 2, 3, 4]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('name', ['None', 'integer keys', 'cfg of nonsense', 'keys of tuples'])
def test_odd_meta_beside_good_weights_is_no_hindrance_to_the_export(tmp_path, name):
    path = tmp_path / 'odd.pth'
    torch.save(dict(state_dict=build(okdhp_config()).state_dict(), meta=METAS[name]), path)
    by_export(path)


# ------------------------------------------------------------------------------ configs

CONFIGS = {
    'syntax error': ('a.py', b'model = dict(\n', 'in line 1'),
    'another': ('a.py', b'a = 1\nmodel = dict(a=1))\n', 'in line 2'),
    'not indented': ('a.py', b'if True:\nmodel = 3\n', 'in line 2'),
    'unknown name': ('a.py', b'model = nowhere\n', 'nowhere'),
    'raises': ('a.py', b'1 / 0\n', 'division'),
    'raises nothing said': ('a.py', b'raise KeyError\n', 'KeyError'),
    'exits': ('a.py', b'import sys; sys.exit(3)\n', 'SystemExit'),
    'a weights file': ('a.pth', b'PK\x03\x04', 'ends in one of .py'),
    'no ending': ('config', b'model = dict()', 'ends in one of .py'),
    'no Python': ('a.py', b'\x00\x01\x02', 'a.py'),
    'latin': ('a.py', 'a = "é"'.encode('latin-1'), 'a.py'),
    'empty': ('a.py', b'', 'model'),
    'a list': ('a.json', b'[1, 2]', 'a.json'),
    'half a JSON': ('a.json', b'{"model": ', 'a.json'),
    'no YAML': ('a.yaml', b'a: [1', 'a.yaml'),
    'model a list': ('a.py', b'model = [1]\n', 'a.py'),
    'model a text': ('a.py', b"model = 'HRNet'\n", 'a.py'),
    'model without type': ('a.py', b'model = dict(head=None)\n', 'a.py'),
    'unknown model': ('a.py', b"model = dict(type='Nowhere')\n", 'Nowhere'),
    'odd backbone': (
        'a.py',
        b"model = dict(type='TopdownPoseEstimator', backbone=3)\n",
        'should be a dict',
    ),
    'no base': ('a.py', b"_base_ = ['nowhere.py']\n", 'nowhere.py'),
    'base of a package': ('a.py', b"_base_ = ['mmpose::body/nowhere.py']\n", 'nowhere.py'),
    'a base a number': ('a.py', b'_base_ = 3\n', 'a.py'),
    'its own base': ('a.py', b"_base_ = ['a.py']\n", 'a.py'),
    'a folder': ('a.py', None, 'a.py'),
    'an import': ('a.py', b"custom_imports = dict(imports=['no.where'])\n", 'a.py'),
}  # fmt: skip


def write_config(name, folder):
    file, content, _ = CONFIGS[name]
    if content is None:
        (folder / file).mkdir()
    else:
        (folder / file).write_bytes(content)
    return folder / file


def config_by_export(path):
    torch.save(dict(state_dict=weights()), path.with_name('w.pth'))
    export_student(path, path.with_name('w.pth'), path.with_name('out'))


CONFIG_DOORS = {
    'teacher': lambda path: Teacher(str(path), None),
    'student': lambda path: build(distiller_config(student=str(path))),
    'export': config_by_export,
    'gain': lambda path: load_config(str(path)),
}


SLOW_CONFIGS = [  # Python takes seconds to notice
    (door, 'its own base') for door in CONFIG_DOORS if door != 'export'
]


@pytest.mark.parametrize(
    ('door', 'name'),
    [
        pytest.param(door, name, marks=[pytest.mark.slow] * ((door, name) in SLOW_CONFIGS))
        for door in CONFIG_DOORS
        for name in CONFIGS
    ],
)
def test_an_odd_config_is_refused(tmp_path, door, name):
    path = write_config(name, tmp_path)
    with pytest.raises(MISTAKES) as error:
        CONFIG_DOORS[door](path)
    text = in_one_line(error.value)
    built = name in ('unknown model', 'odd backbone')  # named by their key; gain builds nothing
    assert '\n' not in text.strip() and (built or path.name in text)
    if path.is_file() and not (built and door == 'gain'):
        assert CONFIGS[name][2] in text


@pytest.mark.parametrize('name', ['syntax error', 'a weights file', 'raises', 'exits', 'a folder'])
@pytest.mark.parametrize('command', ['export', 'gain'])
def test_a_command_says_of_a_config_in_one_line(tmp_path, capsys, command, name):
    path = write_config(name, tmp_path)
    torch.save(dict(state_dict=weights()), tmp_path / 'w.pth')
    rest = [str(tmp_path / 'w.pth'), str(tmp_path / 'out')]
    rest = rest if command == 'export' else [str(path), '--out', str(tmp_path / 'out')]
    code = main([command, str(path), *rest])
    told = capsys.readouterr().err
    assert code == 1 and told.count('\n') == 1 and path.name in told


# ------------------------------------------------------------------------ cached outputs


def entry(head, body=b''):
    head = head if isinstance(head, bytes) else json.dumps(head).encode()
    content = head + b'\n' + body
    return zlib.crc32(content).to_bytes(4, 'little') + content


def written(shape=(1, 2), dtype='<f2', region=0, **more):
    return dict(shape=shape, dtype=dtype, region=region, **more)


TERA = 10**12 - 10**12 % 2
half = np.zeros(2, '<f2').tobytes()
#: entries with a right checksum and a wrong content
ENTRIES = {
    'no JSON': entry(b'head', half),
    'no head': entry(b'', half),
    'a list': entry([1, 2], half),
    'null': entry(b'null', half),
    'wrong key': entry(dict(size=[1, 2], dtype='<f2', region=0), half),
    'another type': entry(written(dtype='<f4'), 2 * half),
    'objects': entry(written(dtype='|O'), 4 * half),
    'no type': entry(written(dtype='nothing'), half),
    'type a number': entry(written(dtype=3), half),
    'shape a number': entry(written(shape=2), half),
    'shape a text': entry(written(shape='12'), half),
    'negative': entry(written(shape=[-1, 2]), half),
    'of nothing': entry(written(shape=[0, TERA]), b''),
    'fractions': entry(written(shape=[1.0, 2.0]), half),
    'many axes': entry(written(shape=[1] * 99 + [2]), half),
    'too short': entry(written(shape=[1, 3]), half),
    'too long': entry(written(shape=[1, 1]), half),
    '1.8 TiB': entry(written(shape=[TERA]), half),
    'endless': entry(b'{"shape": [1' + b'0' * 5000 + b'], "dtype": "<f2", "region": 0}'),
    'nested': entry(b'[' * 100000, half),
    'region of 1.8 TiB': entry(written(shape=[1, 10**6, 10**6], region=1), b'\0' * 6),
    'region of two axes': entry(written(shape=[1, 2], region=1), half),
    'region a text': entry(written(shape=[1, 2, 2], region='1'), half),
    'region below 0': entry(written(shape=[1, 2, 2], region=-1), half),
    'region outside': entry(
        written(shape=[1, 2, 2], region=1), np.array([5, 5], '<i2').tobytes() + half[:2]
    ),
    'region before': entry(
        written(shape=[1, 2, 2], region=1), np.array([-1, 0], '<i2').tobytes() + half[:2]
    ),
    'nan': entry(written(), np.array([0, np.nan], '<f2').tobytes()),
    'inf': entry(written(), np.array([0, -np.inf], '<f2').tobytes()),
    'nan in a region': entry(
        written(shape=[1, 2, 2], region=1), b'\0' * 4 + np.array([np.nan], '<f2').tobytes()
    ),
    'a text': 'head',
    'a number': 3,
    'a few bytes': b'\0\0',
}  # fmt: skip
KEY = CacheKey('a', 0, 0)


@pytest.mark.parametrize('name', ENTRIES)
def test_an_entry_with_a_wrong_content_is_refused(tmp_path, name):
    with pytest.raises(DamagedError):
        decode(ENTRIES[name])
    cache = TeacherCache(tmp_path / 'a.sqlite', {})
    cache.db.execute('INSERT INTO outputs VALUES (?, ?, ?, ?, ?)', ('a', 0, 'x', 0, ENTRIES[name]))
    with pytest.raises(ValueError, match=r'a.sqlite is damaged.*delete it') as error:
        cache.outputs([KEY], ['x'], lambda _: 1 / 0, torch.device('cpu'))
    assert len(str(error.value)) < 600


def test_entries_of_several_shapes_are_refused(tmp_path):
    cache = TeacherCache(tmp_path / 'a.sqlite', {})
    for n, shape in enumerate(([1, 2], [2, 1])):
        row = (str(n), 0, 'x', 0, entry(written(shape=shape), half))
        cache.db.execute('INSERT INTO outputs VALUES (?, ?, ?, ?, ?)', row)
    with pytest.raises(ValueError, match=r'a.sqlite is damaged.*\(1, 2\), \(2, 1\)'):
        cache.outputs(
            [CacheKey(str(n), 0, 0) for n in (0, 1)], ['x'], lambda _: 1 / 0, torch.device('cpu')
        )


@pytest.mark.parametrize(
    'change',
    [
        'DROP TABLE outputs',
        'CREATE TABLE more (a)',
        'ALTER TABLE outputs RENAME COLUMN data TO content',
        'ALTER TABLE fingerprint RENAME COLUMN value TO content',
        "UPDATE fingerprint SET value = x'00ff'",
        "UPDATE fingerprint SET name = 3 WHERE name = 'teacher'",
        'UPDATE fingerprint SET value = 3',
        "INSERT INTO fingerprint VALUES ('more', x'ff')",
    ],
)
def test_an_odd_index_is_refused(tmp_path, change):
    TeacherCache(tmp_path / 'a.sqlite', {'teacher': 'a'}).close()
    db = sqlite3.connect(tmp_path / 'a.sqlite')
    db.execute(change)
    db.commit()
    db.close()
    with pytest.raises(ValueError, match=r'a.sqlite (is damaged|was made under other settings)'):
        TeacherCache(tmp_path / 'a.sqlite', {'teacher': 'a'})


# ---------------------------------------------------------------------- the files of gain

JSONS = {
    'no JSON': b'{',
    'nothing': b'',
    'null': b'null',
    'a list': b'[]',
    'a number': b'3',
    'bytes': b'\xff\xfe\x00',
    'nested': b'[' * 100000,
    'other keys': b'{"a": 1}',
    'numbers': b'{"comparisons": 3, "commands": 4, "settings": 5, "costs": 6, "metrics": 7}',
    'lists': b'{"comparisons": [3], "commands": [4], "settings": [5], "costs": [6]}',
    'dicts': b'{"comparisons": [{"plain": 3}], "commands": [], "settings": {}, "fingerprint": 1}',
    'texts': b'{"comparisons": [{"plain": "a", "distilled": "b", "persons": "c", "epochs": "d", '
    b'"seeds": "ef"}], "commands": []}',
}  # fmt: skip


def finished(out):
    """A harness's folder with one finished run of each model."""
    comparison = dict(plain='plain', distilled='okdhp', persons=None, epochs=1, seeds=[0],
                      plain_epochs=None)  # fmt: skip
    plan = dict(comparisons=[comparison], commands=['mmpose-kd gain'])
    out.mkdir()
    (out / 'plan.json').write_text(json.dumps(plan))
    names = ['left_shoulder', 'right_hip', 'nose']
    for method in ('plain', 'okdhp'):
        folder = Run(method, None, 1, 0).folder(out)
        folder.mkdir(parents=True)
        np.savez_compressed(
            folder / 'persons.npz', ids=np.arange(4), names=np.array(names),
            keypoints=np.random.rand(4, 3, 2), target=np.random.rand(4, 3, 2),
            visible=np.ones((4, 3), bool), boxes=np.tile([0.0, 0, 1, 1], (4, 1)),
        )  # fmt: skip
        about = dict(metrics=dict(oks_ap=0.5), samples=4, seconds=1.0, curve={'1': {'AP': 0.5}})
        (folder / 'result.json').write_text(json.dumps(about))
        (folder / 'run.json').write_text('{"settings": {}}')
    cost = dict(models=None, costs={})
    (out / 'cost.json').write_text(json.dumps(cost))
    return out


@pytest.fixture(autouse=True)
def no_costs(monkeypatch):
    """Nothing is measured here."""
    monkeypatch.setattr('mmpose_kd.gain.results._model_hash', lambda student: 'x')
    monkeypatch.setattr('mmpose_kd.gain.report.save_plots', lambda *_: None)
    known = dict(parameters=1, macs=2, seconds=[1.0])
    cost = dict(models=dict(plain='x', okdhp='x'), costs=dict(plain=known, okdhp=known))
    monkeypatch.setattr(
        'mmpose_kd.gain.results.write_json', lambda path, value: path.write_text(json.dumps(value))
    )
    return cost


def test_the_folder_that_is_made_odd_is_sound(tmp_path, no_costs):
    out = finished(tmp_path / 'out')
    (out / 'cost.json').write_text(json.dumps(no_costs))
    assert 'okdhp over plain' in write_report(out)


@pytest.mark.parametrize('name', JSONS)
@pytest.mark.parametrize(
    'file', ['plan.json', 'cost.json', 'timing.json', 'RUN/result.json', 'RUN/run.json']
)
def test_an_odd_file_of_gain_is_refused_or_not_believed(tmp_path, capsys, no_costs, file, name):
    out = finished(tmp_path / 'out')
    (out / 'cost.json').write_text(json.dumps(no_costs))
    path = out / file.replace('RUN', 'runs/okdhp_allp_1e_seed0')
    path.write_bytes(JSONS[name])
    code = main(['gain', '--out', str(out), '--report-only'])
    told = capsys.readouterr().err
    believed = file == 'timing.json' or (file == 'RUN/run.json' and name in ('dicts',))
    if code == 0:
        assert believed
    else:
        assert code == 1 and told.count('\n') == 1 and path.name in told


def archive(path, **members):
    with zipfile.ZipFile(path, 'w') as file:
        for name, content in members.items():
            file.writestr(f'{name}.npy', content)


def header(shape, descr='<f8'):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + '\n'
    return b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text.encode()


@pytest.mark.parametrize(
    'content',
    [
        b'', b'ids', header((TERA,)), header((2,)), header((2,)) + b'\0' * 15,
        header((2,)) + b'\0' * 17, header((1,), '|O') + b'\0' * 8, header((-1,)), header('x'),
        header((2**62, 2**62)), b'\x93NUMPY\x09\x00' + b'\0' * 20, header((1,), 'nothing'),
    ],
)  # fmt: skip
def test_an_odd_array_is_refused_and_not_made(tmp_path, content):
    archive(tmp_path / 'a.npz', ids=content)
    with pytest.raises(ValueError, match=r'a.npz is damaged'):
        read_arrays(tmp_path / 'a.npz', ['ids'])


def test_arrays_come_back_as_they_were_written(tmp_path):
    arrays = dict(
        a=np.arange(6.0).reshape(2, 3), b=np.asfortranarray(np.arange(6).reshape(2, 3)),
        c=np.array(['nose', 'eye']), d=np.ones((2, 0, 2), bool), e=np.array(3),
    )  # fmt: skip
    np.savez_compressed(tmp_path / 'a.npz', **arrays)
    found = read_arrays(tmp_path / 'a.npz', list(arrays))
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)


@pytest.mark.parametrize('name', ['missing', 'a text', 'other names', 'other shapes', 'texts'])
def test_odd_persons_are_refused(tmp_path, capsys, no_costs, name):
    out = finished(tmp_path / 'out')
    (out / 'cost.json').write_text(json.dumps(no_costs))
    path = out / 'runs/okdhp_allp_1e_seed0/persons.npz'
    arrays = dict(np.load(path))
    if name == 'missing':
        path.unlink()
    elif name == 'a text':
        path.write_text('persons')
    elif name == 'other names':
        np.savez(path, a=np.zeros(3))
    elif name == 'other shapes':
        np.savez(path, **{**arrays, 'target': np.zeros((4, 2, 2))})
    else:
        np.savez(path, **{**arrays, 'keypoints': np.full((4, 3, 2), 'a')})
    code = main(['gain', '--out', str(out), '--report-only'])
    told = capsys.readouterr().err
    assert code == 1 and told.count('\n') == 1 and 'persons.npz' in told


def test_odd_lines_in_a_runs_records_are_left_out(tmp_path):
    lines = [b'{"step": 1}', b'[1]', b'3', b'{', b'\xff\xfe', b'null', b'[' * 100000, b'{"a": 2}']
    (tmp_path / 'scalars.json').write_bytes(b'\n'.join(lines))
    assert read_records(tmp_path / 'scalars.json') == [{'step': 1}, {'a': 2}]


@pytest.mark.parametrize('content', [*JSONS.values(), b'{"info": 3}', b'{"info": {"size": 1}}'])
def test_make_data_leaves_a_foreign_file_alone(tmp_path, capsys, content):
    file = tmp_path / 'out/annotations/person_keypoints_train2017.json'
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    code = main(['make-data', str(tmp_path / 'out'), '--train', '1', '--val', '1'])
    told = capsys.readouterr().err
    assert code == 1 and told.strip().count('\n') == 0 and file.name in told
    assert file.read_bytes() == content
    shutil.rmtree(tmp_path / 'out')


# --------------------------------------------------------------------- the state of DSKD

STATE = dict(
    guides=[dict(name='epoch_1', file='dskd_epoch_1.pth', sha256='a')],
    guides_from='snapshots', references={'1': ['dskd_epoch_1.pth']}, folder='a',
    draws=torch.zeros(3), redraw_seed=0,
)  # fmt: skip


def test_a_state_of_dskd_that_is_whole_passes():
    assert checked_state(STATE, 'key') is STATE
    assert checked_state(None, 'key') == checked_state({}, 'key') == {}


@pytest.mark.parametrize(
    'change',
    [
        dict(guides=None), dict(guides=[3]), dict(guides=[{}]), dict(guides={'a': 1}),
        dict(guides=[dict(name=1, file=None, sha256='a')]), dict(references=[1]),
        dict(references={'1': 'file'}), dict(references={1: []}), dict(folder=None),
        dict(draws=None), dict(redraw_seed='0'), dict(guides_from=3),
    ],
)  # fmt: skip
def test_an_odd_state_of_dskd_is_refused(change):
    with pytest.raises(ValueError, match=f'key: .*without {next(iter(change))}'):
        checked_state({**STATE, **change}, 'key')


@pytest.mark.parametrize('state', [[1], 'state', 3, {'guides': []}, torch.ones(1)])
def test_what_is_no_state_of_dskd_is_refused(state):
    with pytest.raises(ValueError, match=r'key: .*state without'):
        checked_state(state, 'key')
