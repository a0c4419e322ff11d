"""A real run of MMPose's runner on a few drawn people, for the tests that need one."""

from __future__ import annotations

from pathlib import Path

from mmpose_kd.demo.drawn_people import draw_dataset

from .models import CODEC, RESNET, SIZE, okdhp_config

EPOCHS = 2


def draw(folder: Path) -> Path:
    """15 drawn persons for training, 5 for validation."""
    draw_dataset(folder, train=15, val=5, seed=0, progress=False)
    return folder


def run_config(data: Path, work_dir: Path, model: dict | None = None) -> dict:
    """Config of a short run with validation of every branch after every epoch."""
    if model is None:
        model = okdhp_config(RESNET, 'stage2')
        model['head']['head']['out_channels'] = 17
        model['test_cfg']['branch'] = 'all'
    pipeline = [
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='TopdownAffine', input_size=SIZE),
    ]

    def loader(split: str, transforms: list, **dataset) -> dict:
        return dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
            dataset=dict(
                type='CocoDataset',
                data_root=str(data),
                data_mode='topdown',
                ann_file=f'annotations/person_keypoints_{split}2017.json',
                data_prefix=dict(img=f'{split}2017/'),
                pipeline=[*pipeline, *transforms],
                **dataset,
            ),
        )

    val = loader('val', [dict(type='PackPoseInputs')], test_mode=True)
    metric = [
        dict(type='CocoMetric', ann_file=str(data / 'annotations/person_keypoints_val2017.json')),
        dict(type='EPE'),  # never 0, however short the run
    ]
    return dict(
        default_scope='mmpose',
        custom_imports=dict(imports=['mmpose_kd'], allow_failed_imports=False),
        model=model,
        train_dataloader=loader(
            'train', [dict(type='GenerateTarget', encoder=CODEC), dict(type='PackPoseInputs')]
        ),
        val_dataloader=val,
        test_dataloader=val,
        val_evaluator=metric,
        test_evaluator=metric,
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS, val_interval=1),
        val_cfg=dict(),
        test_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-3)),
        custom_hooks=[dict(type='SyncBuffersHook'), dict(type='BranchMetricsHook')],
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(
                type='CheckpointHook', interval=1, save_best='coco/AP', rule='greater'
            ),
        ),
        visualizer=dict(type='PoseLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
        env_cfg=dict(dist_cfg=dict(backend='gloo')),
        randomness=dict(seed=0),
        work_dir=str(work_dir),
        log_level='WARNING',
    )
