"""Every shipped config: builds, trains a step, and exports to a stock model.

The default tests see each config twice: at its full size without weights or arithmetic (all
shapes and settings; beside the tests of each method), and here, made cheap but with its own
structure (a training step and a real export). The slow one trains and exports each at its full
size.
"""

import itertools
import re

import pytest
import torch
import yaml
from mmengine.config import Config
from mmpose.registry import MODELS

from mmpose_kd.export import export_student
from mmpose_kd.export.same_predictions import input_size_of

from .helpers.configs import (
    BASES,
    CONFIGS,
    DEEPPOSE_WHOLEBODY,
    DISTILLERS,
    DSKD,
    HHD,
    HOURGLASSES,
    MPII,
    OKDHP_PAPER,
    REPEATED,
    SHIPPED,
    each,
    inherited,
    load,
    offline,
    packed,
    shrunk,
    unscoped,
    upstream,
)
from .helpers.models import total

# What a schedule of the paper changes beside the model.
PAPERS_RUN = {'train_cfg', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr'}

# And what its data and evaluation change.
PAPERS_DATA = {'train_pipeline', 'val_dataloader', 'test_dataloader', 'default_hooks'}

# Hourglasses that differ from another one in what `shrunk` takes away: the number of stacks.
SAME_WHEN_SHRUNK = [
    CONFIGS / f'okdhp_{name}.py'
    for name in (
        'hourglass4_coco', 'hourglass8_coco', 'paper_hourglass4_coco', 'paper_hourglass8_coco',
        'paper_hourglass4_mpii', 'paper_hourglass8_mpii',
    )
]  # fmt: skip


def train_a_step_and_export(cfg, folder):
    """Check both, and return the exported config; the weights are removed."""
    model = MODELS.build(cfg.model).train()
    model.init_weights()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    width, height = input_size_of(cfg)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    loss = total(model.loss(torch.randn(2, 3, height, width), packed(cfg)))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert any(not torch.equal(p, before[name]) for name, p in model.named_parameters())

    cfg.dump(folder / 'config.py')
    torch.save({'state_dict': model.state_dict()}, folder / 'epoch_1.pth')
    export_student(folder / 'config.py', folder / 'epoch_1.pth', folder / 'out')
    student = Config.fromfile(folder / 'out/student.py')
    stock = MODELS.build(student.model)
    state = torch.load(folder / 'out/student.pth', weights_only=True)['state_dict']
    stock.load_state_dict(state, strict=True)
    for weights in folder.rglob('*.pth'):
        weights.unlink()
    return student


def test_there_are_configs():
    assert CONFIGS / 'okdhp_hrnet_coco.py' in SHIPPED
    assert MPII


@each([path for path in SHIPPED if path not in SAME_WHEN_SHRUNK], slow=REPEATED)
def test_config_trains_a_step_and_exports(path, tmp_path):
    """With few layers and a small picture, else as shipped; the slow test has the full size."""
    student = train_a_step_and_export(shrunk(load(path)), tmp_path)
    check_what_export_changed(path, student.to_dict(), lambda: shrunk(upstream(path, tmp_path)))


def check_what_export_changed(path, student, theirs):
    """Beside the stock config that the shipped one inherits."""
    theirs = theirs().to_dict()
    changed = {key for key in theirs if unscoped(student.get(key)) != unscoped(theirs[key])}
    allowed = {'model'}
    if path.stem in DEEPPOSE_WHOLEBODY:
        allowed |= {'codec', 'train_dataloader'}
    if path in MPII + HOURGLASSES:
        allowed |= PAPERS_RUN
    elif path in OKDHP_PAPER:
        allowed |= PAPERS_RUN | PAPERS_DATA
    elif path in HHD:  # coordinates as targets
        allowed |= {'codec', 'train_dataloader'}
    elif path in DISTILLERS:
        allowed |= {'optim_wrapper'}
    elif path.stem == 'ocd_session_deeppose_res50_coco':  # shorter, of a model that is trained
        allowed |= {'train_cfg', 'param_scheduler'}
    elif path in DSKD:  # weights that it starts from, which the tests leave out
        assert student['model'] == offline(theirs['model'])
    assert changed <= allowed
    needed = {'custom_imports'} if path in OKDHP_PAPER else set()  # parts that MMPose has not
    assert set(student) == {*theirs, *needed}


@pytest.mark.slow
@each(SHIPPED)
@pytest.mark.usefixtures('laid_out')
def test_config_trains_a_step_and_exports_at_full_size(path, tmp_path):
    student = train_a_step_and_export(load(path), tmp_path)
    check_what_export_changed(path, student.to_dict(), lambda: upstream(path, tmp_path))


@each(SHIPPED)
def test_config_is_short(path):
    lines = [line.strip() for line in path.read_text().splitlines()]
    assert len([line for line in lines if line and not line.startswith('#')]) <= 20
    assert len(lines) <= 25


@each(SHIPPED)
def test_what_our_bases_share_leaves_no_trace_inside_a_setting(path):
    """Help variables stay beside the settings, where the export drops them."""
    cfg = Config.fromfile(path).to_dict()
    settings = {key: value for key, value in cfg.items() if not key.startswith('_')}
    inside = {part for key in keys_of(settings) for part in key.split('.')}
    assert {name for name in inside if name.startswith('_')} <= {'_scope_'}


def keys_of(node, prefix=''):
    """Dotted keys of dicts in dicts and lists."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield f'{prefix}{key}'
            yield from keys_of(value, f'{prefix}{key}.')
    elif isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from keys_of(value, f'{prefix}{i}.')


@each([path for path in BASES if not any('::' in name for name in inherited(path))])
def test_a_base_of_ours_stands_beside_any_config_of_mmpose(path):
    """Two bases of a config may not define the same key."""
    settings = [key for key in Config.fromfile(path) if not key.startswith('_')]
    assert settings in ([], ['custom_imports'])


@each(BASES)
def test_everything_in_a_base_of_ours_is_used(path):
    whole = '\n'.join(other.read_text() for other in SHIPPED + BASES)
    for name in re.findall(r'^(_\w+) = ', path.read_text(), re.MULTILINE):
        assert re.search(rf'(?<!\w){name}\b(?! = )', whole)


#: Whose experiment a config is, as its header says.
WHOSE = ("The paper's experiment", "The release's run", 'Ours')
#: A gain: `52.8 -> 62.8`, `from 89.2 to 90.0`.
GAIN = re.compile(r'\d\d(\.\d+)? (->|to) \d\d')


def header(path):
    """The comment that a config begins with, its lines without the sign."""
    lines = path.read_text().splitlines()
    return [line[1:].strip() for line in itertools.takewhile(lambda x: x.startswith('#'), lines)]


@each(SHIPPED)
def test_a_config_says_whose_experiment_it_is_and_claims_no_number_of_another(path):
    found = [words for line in header(path) for words in WHOSE if line.startswith(words)]
    assert len(found) == 1
    if found == ['Ours']:
        assert not GAIN.search(' '.join(header(path)))


def test_the_model_index_says_that_there_are_no_checkpoints_and_what_to_do():
    """mim, asked to download one, ends in a list of the fields that there are."""
    collections = yaml.safe_load((CONFIGS / 'metafile.yml').read_text())['Collections']
    told = 'No checkpoints are published, train your own with mim train mmpose-kd'
    assert all(told in collection['Metadata'] for collection in collections)
    # mim would take a field with "weight" in its name for the addresses
    assert 'weight' not in told.lower()


def test_the_model_index_has_every_shipped_config():
    models = yaml.safe_load((CONFIGS / 'metafile.yml').read_text())['Models']
    assert {model['Name']: model['Config'] for model in models} == {
        path.stem: f'configs/{path.name}' for path in SHIPPED
    }
