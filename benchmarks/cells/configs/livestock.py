# What the configs of cell A share: $LIVESTOCK names the folder of livestock18. Nothing here acts by itself.
_root = '{{$LIVESTOCK:data/livestock18}}/'
_dataset = dict(
    type='CocoDataset', data_root=_root, metainfo=dict(from_file=_root + 'metainfo.py'))
_livestock = dict(
    root=_root,
    train=dict(dataset=dict(**_dataset, ann_file='annotations/train.json')),
    val=dict(dataset=dict(**_dataset, ann_file='annotations/val.json')),
    evaluator=[
        dict(type='PCKAccuracy', thr=0.05, norm_item='bbox'),
        dict(
            type='CocoMetric',
            ann_file=_root + 'annotations/val.json',
            iou_type='keypoints',
            prefix='oks')
    ])
