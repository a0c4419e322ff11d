# Cell A: the same on livestock18; $LIVESTOCK names its folder.
_base_ = ['p_heatmap.py']

data_root = '{{$LIVESTOCK:data/livestock18}}/'
model = dict(head=dict(out_channels=18))
dataset = dict(
    type='CocoDataset',
    data_root=data_root,
    ann_file='annotations/train.json',
    metainfo=dict(from_file=data_root + 'metainfo.py'))
_test = dict(dataset=dict(**{**dataset, 'ann_file': 'annotations/val.json'}))
train_dataloader = dict(dataset=dataset)
val_dataloader = _test
test_dataloader = _test
val_evaluator = [
    dict(type='PCKAccuracy', thr=0.05, norm_item='bbox'),
    dict(
        type='CocoMetric',
        ann_file=data_root + 'annotations/val.json',
        iou_type='keypoints',
        prefix='oks')
]
test_evaluator = val_evaluator
