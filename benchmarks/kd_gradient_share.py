"""How strongly OKDHP's KL pulls at the heatmaps, compared with the task loss.

For the heatmaps of a trained model on training batches: the norm of the KL's gradient there,
with its weight and after the ramp-up, as a percentage of the norm of the task loss's gradient.

    python benchmarks/kd_gradient_share.py CONFIG CHECKPOINT [--batches 8] [--cfg-options ...]
"""

from __future__ import annotations

import argparse

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint, set_random_seed

import mmpose_kd  # noqa: F401  (registers the models)
from mmpose_kd.okdhp.branch import stage_loss
from mmpose_kd.okdhp.presets import PRESETS
from mmpose_kd.okdhp.statistics import gradient_share

RELEASED = PRESETS['released']['kd_loss']
DEFAULT = PRESETS['default']['kd_loss']
#: settings of HeatmapKLLoss to compare; weights in proportion to a stock task loss, which is
#: twice the release's
SETTINGS = {
    'released (temperature 1, weight 2 of half the MSE)': {**RELEASED, 'loss_weight': 4.0},
    'default': DEFAULT,
    'default, temperature 0.05': {**DEFAULT, 'temperature': 0.05},
    'default, temperature 0.2': {**DEFAULT, 'temperature': 0.2},
    'default, peak-normalised': {**DEFAULT, 'normalize': 'peak'},
    'standardised maps, temperature 1': {
        **DEFAULT, 'normalize': 'standard', 'temperature': 1.0
    },
}  # fmt: skip


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--batches', type=int, default=8)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args()

    set_random_seed(0)
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope('mmpose')
    from mmpose.registry import MODELS

    model = MODELS.build(cfg.model)
    load_checkpoint(model, args.checkpoint, map_location='cpu', strict=True)
    head = model.head
    losses = {name: MODELS.build(setting) for name, setting in SETTINGS.items()}
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)

    shares = {name: [] for name in losses}
    for index, data in enumerate(loader):
        if index == args.batches:
            break
        batch = model.data_preprocessor(data, True)
        with torch.no_grad():
            feats = model.extract_feat(batch['inputs'])
            heatmaps = head.forward_branches(feats)
            ensemble, _ = head.forward_ensemble(feats, heatmaps)
        target = torch.stack([d.gt_fields.heatmaps for d in batch['data_samples']])
        weight = torch.cat([d.gt_instance_labels.keypoint_weights for d in batch['data_samples']])
        for maps, branch in zip(heatmaps, head.branches):
            task = stage_loss(branch.head, -1)
            for name, kd in losses.items():
                share = gradient_share(maps, kd, ensemble, task, target, weight)
                shares[name].append(share)

    print('| setting of the KL | its gradient, % of the task loss |\n|---|---|')
    for name, found in shares.items():
        print(f'| {name} | {100 * torch.stack(found).mean():.1f} |')


if __name__ == '__main__':
    main()
