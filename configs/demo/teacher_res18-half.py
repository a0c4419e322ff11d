# The teacher of methods that need one: the heatmap model with twice the channels in its backbone.
_base_ = ['heatmap_res18-small.py']

model = dict(
    backbone=dict(stem_channels=32, base_channels=32),
    head=dict(in_channels=128))
