"""How a config is read, and inherited from wherever the new one stands."""

import os

import pytest

from mmpose_kd.core.config_file import ConfigError
from mmpose_kd.wrap.source import Source, evaluated

STOCK = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py'


def base(folder, name='base.py', python=False):
    folder.mkdir(parents=True, exist_ok=True)
    first = 'from torch.optim import Adam\n' if python else ''
    (folder / name).write_text(f'{first}model = dict(type={"Adam" if python else "4"})\n')
    return folder / name


@pytest.mark.parametrize('python', [False, True], ids=['text', 'python'])
@pytest.mark.parametrize('places', ['. .', 'a .', '. a', 'a b', 'a/b/c d', 'a a/b', 'a-b a-b/c'])
def test_it_is_inherited_from_wherever_the_new_one_stands(places, python, tmp_path):
    there, here = (tmp_path / place for place in places.split())
    source = Source.of(base(there, python=python))
    here.mkdir(parents=True, exist_ok=True)
    (here / 'out.py').write_text(source.inheriting(here / 'out.py'))
    assert source.python is python
    assert evaluated(here / 'out.py') == source.whole and 'model' in source.whole
    assert str(tmp_path) not in (here / 'out.py').read_text()


@pytest.mark.parametrize('python', [False, True], ids=['text', 'python'])
def test_links_on_the_way_are_no_detour(python, tmp_path):
    source = Source.of(base(tmp_path / 'configs', python=python))
    (tmp_path / 'far/away').mkdir(parents=True)
    os.symlink(tmp_path / 'far/away', tmp_path / 'link')
    (tmp_path / 'link/out.py').write_text(source.inheriting(tmp_path / 'link/out.py'))
    assert evaluated(tmp_path / 'link/out.py') == source.whole


def test_a_path_from_the_current_folder_is_one_from_the_new_file(tmp_path, monkeypatch):
    base(tmp_path / 'configs')
    monkeypatch.chdir(tmp_path)
    assert Source.of('configs/base.py').inheriting('out.py') == "_base_ = ['configs/base.py']\n"
    assert Source.of('configs/base.py').inheriting('new/out.py') == (
        "_base_ = ['../configs/base.py']\n"
    )


def test_an_installed_one_is_inherited_by_its_name():
    source = Source.of(STOCK)
    assert source.inheriting('/any/where.py') == f'_base_ = [{STOCK!r}]\n'
    assert source.whole['model']['_scope_'] == 'mmpose'  # as a config that inherits it sees it


@pytest.mark.parametrize('name', ['my-config.py', 'two words.py', 'class/a.py', '1/a.py'])
def test_what_cannot_be_imported_is_refused_in_pure_python_style(name, tmp_path):
    where = tmp_path / name
    source = Source.of(base(where.parent, where.name, python=True))
    with pytest.raises(ValueError, match=r'cannot be imported: give the file'):
        source.inheriting(tmp_path / 'out.py')


@pytest.mark.parametrize('name', ['own.yaml', 'own.json'])
def test_configs_of_other_kinds_of_files_are_inherited_too(name, tmp_path):
    (tmp_path / name).write_text('{"model": {"type": "A"}}')
    source = Source.of(tmp_path / name)
    (tmp_path / 'out.py').write_text(source.inheriting(tmp_path / 'out.py'))
    assert evaluated(tmp_path / 'out.py') == source.whole == dict(model=dict(type='A'))


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('none.py', None, 'none.py'),
        ('a.txt', '', 'ends in one of .py'),
        ('a.py', 'model = (', 'line 1'),
        ('a.py', "_base_ = ['none.py']", 'none.py'),
        ('a.py', 'raise RuntimeError("mine")', 'mine'),
    ],
)
def test_what_is_no_config_is_told_in_one_line(name, text, message, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        Source.of(tmp_path / name)
    assert '\n' not in str(caught.value)
