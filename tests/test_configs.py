"""Every shipped config: builds, trains a step, and exports to the stock model it inherits."""

from pathlib import Path

import pytest
import torch
from build import total
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData
from mmpose.registry import KEYPOINT_CODECS, MODELS
from mmpose.structures import PoseDataSample

from mmpose_kd.export import _input_size, export_student

CONFIGS = Path(__file__).parents[1] / 'configs'
ALL = sorted(CONFIGS.rglob('*.py'))


def offline(node):
    """Without pretrained weights: tests fetch nothing."""
    if isinstance(node, dict):
        if (node.get('init_cfg') or {}) and 'checkpoint' in str(node['init_cfg']):
            node['init_cfg'] = None
        for value in node.values():
            offline(value)
    return node


def load(path):
    cfg = Config.fromfile(path)
    init_default_scope('mmpose')
    offline(cfg.model)
    return cfg


def packed(cfg, batch=2):
    """Data samples with the targets of the config's own codec."""
    encoder = next(t for t in cfg.train_pipeline if t.type == 'GenerateTarget').encoder
    codec = KEYPOINT_CODECS.build(encoder)
    k = cfg.model.head.head.out_channels
    width, height = _input_size(cfg)
    samples = []
    for _ in range(batch):
        xy = torch.rand(1, k, 2).numpy() * (width, height)
        encoded = codec.encode(xy, torch.ones(1, k).numpy())
        sample = PoseDataSample()
        sample.gt_fields = PixelData(heatmaps=torch.tensor(encoded['heatmaps']))
        sample.gt_instance_labels = InstanceData(
            keypoint_weights=torch.tensor(encoded['keypoint_weights'])
        )
        samples.append(sample)
    return samples


def test_there_are_configs():
    assert CONFIGS / 'okdhp_hrnet_coco.py' in ALL


@pytest.mark.parametrize('path', ALL, ids=lambda p: p.stem)
def test_config_trains_a_step_and_exports(path, tmp_path):
    cfg = load(path)
    model = MODELS.build(cfg.model).train()
    model.init_weights()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    width, height = _input_size(cfg)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    loss = total(model.loss(torch.randn(2, 3, height, width), packed(cfg)))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in model.parameters())
    assert any(not torch.equal(p, before[name]) for name, p in model.named_parameters())

    cfg.dump(tmp_path / 'config.py')
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'epoch_1.pth')
    export_student(tmp_path / 'config.py', tmp_path / 'epoch_1.pth', tmp_path / 'out')
    student = Config.fromfile(tmp_path / 'out/student.py')
    stock = MODELS.build(student.model)
    state = torch.load(tmp_path / 'out/student.pth', weights_only=True)['state_dict']
    stock.load_state_dict(state, strict=True)


def test_the_student_of_the_coco_config_is_mmposes_own_hrnet(tmp_path):
    cfg = load(CONFIGS / 'okdhp_hrnet_coco.py')
    model = MODELS.build(cfg.model)
    cfg.dump(tmp_path / 'config.py')
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'epoch_1.pth')
    export_student(tmp_path / 'config.py', tmp_path / 'epoch_1.pth', tmp_path)
    stock = tmp_path / 'stock.py'
    name = 'body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py'
    stock.write_text(f"_base_ = ['mmpose::{name}']\n")
    ours, theirs = (Config.fromfile(p).to_dict() for p in (tmp_path / 'student.py', stock))
    offline(theirs['model'])
    assert ours['model'] == theirs['model']
    changed = {key for key in theirs if ours.get(key) != theirs[key]}
    assert changed <= {'model'}
    assert set(ours) == set(theirs)


def test_the_coco_config_is_short():
    lines = (CONFIGS / 'okdhp_hrnet_coco.py').read_text().splitlines()
    assert len(lines) <= 40
