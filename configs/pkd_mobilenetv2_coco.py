# PKD: MobileNetV2 taught by ResNet-152, both with MMPose's deconvolutions. COCO, 256 x 192.
# Ours: the paper (https://arxiv.org/abs/2207.02039) is on detectors; for pose, place and weight are not from it.
# Not trained by us.
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_mobilenetv2_8xb64-210e_coco-256x192.py']
custom_imports = dict(imports=['mmpose_kd'], allow_failed_imports=False)
model = dict(
    _delete_=True,
    type='PoseDistiller',
    student=_base_.model,
    teachers=[
        dict(
            config='mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res152_8xb32-210e_coco-256x192.py',
            checkpoint='https://download.openmmlab.com/mmpose/v1/body_2d_keypoint/topdown_heatmap/coco/'
            'td-hm_res152_8xb32-210e_coco-256x192-0345f330_20220928.pth')
    ],
    # 256 channels on both sides. 0.001: the loss is near 1 at the start, the heatmap loss near 0.001
    distill=[
        dict(name='pkd', loss=dict(type='PearsonFeatureLoss', loss_weight=0.001),
             student='head.deconv_layers', teacher='head.deconv_layers')
    ])
custom_hooks = [*_base_.custom_hooks, dict(type='TeacherMetricsHook')]
