"""PKD on a config of one's own."""

from __future__ import annotations

from typing import Optional

from ..core.recipe import Recipe, changed, register, type_name

FEATURE = 'head.deconv_layers'


def misfit(cfg: dict) -> Optional[str]:
    """Why PKD does not fit: it is set up between the deconvolutions of two heatmap heads."""
    head = (cfg.get('model') or {}).get('head') or {}
    if type_name(head) != 'HeatmapHead' or not head.get('deconv_out_channels', (256,) * 3):
        return (
            f'model.head.type={type_name(head)!r} has no deconvolutions: name features of student '
            'and teacher in an entry of PoseDistiller yourself'
        )
    return None


def distilled(cfg: dict, teacher: dict) -> dict:
    """The config with a teacher whose head has deconvolutions of as many channels."""
    loss = dict(type='PearsonFeatureLoss', loss_weight=0.001)
    entry = dict(name='pkd', loss=loss, student=FEATURE, teacher=FEATURE)
    model = dict(type='PoseDistiller', student=cfg['model'], teachers=[teacher], distill=[entry])
    return changed(cfg, model, (dict(type='TeacherMetricsHook'),))


RECIPE = register(
    Recipe('pkd', "features that vary as a bigger model's do", True, misfit, distilled)
)
