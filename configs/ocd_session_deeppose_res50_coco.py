# OCD on a DeepPose (ResNet-50) that is trained already: a short session of 20 epochs. COCO, 256 x 192.
# The paper's experiment, by our reconstruction, read in another way: its abstract has 52.8 -> 62.8 AP by one quick
# session of training. Starts from MMPose's plain model of 54.1. Epochs and steps are ours. Not yet trained by us.
_base_ = ['ocd_deeppose_res50_coco.py']

load_from = ('https://download.openmmlab.com/mmpose/v1/body_2d_keypoint/topdown_regression/coco/'
             'td-reg_res50_8xb64-210e_coco-256x192-72ef04f3_20220913.pth')
train_cfg = dict(max_epochs=20, val_interval=5)
param_scheduler = [
    dict(type='LinearLR', begin=0, end=500, start_factor=0.001, by_epoch=False),  # the new head starts from nothing
    dict(type='MultiStepLR', milestones=[14, 18], gamma=0.1, by_epoch=True)
]
