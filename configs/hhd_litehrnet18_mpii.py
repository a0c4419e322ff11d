# HHD: LiteHRNet-18 as integral regressor, taught by HRNet-w48's heatmaps. MPII, 256 x 256. Not trained by us.
# Ours: it starts from a heatmap model and balances the loss; the release's way: hhd_paper_litehrnet18_mpii.py.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/mpii/td-hm_litehrnet-18_8xb64-210e_mpii-256x256.py', '_base_/hhd.py']

codec = dict(_base_._coordinates, input_size=(256, 256), heatmap_size=(64, 64))
model = dict(
    _delete_=True,
    type='PoseDistiller',
    student=dict(
        _base_._hhd_student,
        data_preprocessor=_base_.model.data_preprocessor,
        backbone=_base_.model.backbone,
        head=dict(_base_._hhd_head, in_channels=40, in_featuremap_size=(64, 64), num_joints=16,
                  deconv_out_channels=None, decoder=codec),
        # the student starts from the heatmap model of its kind, final layer included
        init_cfg=dict(
            type='Pretrained',
            checkpoint=_base_._weights_url + 'top_down/litehrnet/litehrnet18_mpii_256x256-cabd7984_20210623.pth')),
    teachers=[_base_._teachers.hrnet_w48_mpii],
    distill=[_base_._hhd])

# the inherited pipeline with the coordinates' codec: flip, scale and rotation, no shift
_targets = [dict(type='GenerateTarget', encoder=codec), dict(type='PackPoseInputs')]
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-2], *_targets]))
custom_hooks = [*_base_.custom_hooks, dict(type='TeacherMetricsHook')]
