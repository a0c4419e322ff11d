"""The configs that the gain harness was run on: they load, build and can be compared."""

import copy
import json
import sys

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmpose_kd.gain.configs import check_pair, load_config

from ..helpers import ROOT

sys.path.append(str(ROOT))

CONFIGS = ROOT / 'benchmarks/gain/configs'
#: by a distilled config, where its name does not say it: the plain one with the same student
PLAIN = {
    'okdhp-unbalanced_res18-w16': 'res18-w16',
    'dskd_res18-w16': 'res18-w16',
    'ocd-assistant_simcc-res18-w16': 'simcc-res18-w16',
    'hhd-released_integral-res18-w16': 'integral-res18-w16',
    'hhd-unbiased_integral-res18-w16': 'integral-res18-w16',
}
NAMES = sorted(path.stem.removesuffix('_lspet') for path in CONFIGS.glob('*_lspet.py'))

DISTILLED = [name for name in NAMES if not name.startswith(('plain_', 'teacher_'))]


@pytest.fixture
def lspet(tmp_path, monkeypatch):
    """Annotations without persons, where the configs look for them."""
    (tmp_path / 'annotations').mkdir()
    for split in ('train', 'val'):
        (tmp_path / f'annotations/{split}.json').write_text(json.dumps({}))
    monkeypatch.setenv('LSPET', str(tmp_path))
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize('name', NAMES)
def test_every_config_builds_the_model_it_names(lspet, name):
    init_default_scope('mmpose')
    cfg = load_config(str(CONFIGS / f'{name}_lspet.py'))
    for teacher in cfg.model.get('teachers', ()):
        teacher.checkpoint = None
    model = MODELS.build(copy.deepcopy(cfg.model))
    assert sum(p.numel() for p in model.parameters()) > 10_000


@pytest.mark.parametrize('name', DISTILLED)
def test_every_distilled_config_can_be_compared_with_its_plain_one(lspet, name):
    plain = PLAIN.get(name, name.partition('_')[2])
    plain = Config.fromfile(CONFIGS / f'plain_{plain}_lspet.py')
    check_pair(plain, Config.fromfile(CONFIGS / f'{name}_lspet.py'), name)
