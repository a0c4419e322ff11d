"""Knowledge distillation for MMPose: importing this package registers its parts in MMPose."""

from .compat import prepare

prepare()  # first of all: without it the imports below fail on a lite mmcv

from .core.safe_loading import register_loader  # noqa: E402
from .distiller import (  # noqa: E402
    FixedAugmentations,
    PackPoseViews,
    PoseDistiller,
    TeacherCacheHook,
    TeacherMetricsHook,
    TeacherView,
)
from .dskd import DSKDHook, HeatmapClassificationLoss  # noqa: E402
from .export import export_student  # noqa: E402
from .hhd import HHDLoss, UnbiasedIntegralHead  # noqa: E402
from .hooks import (  # noqa: E402
    AccuracyIntervalHook,
    BranchMetricsHook,
    DistillationVisualizationHook,
    ExactResumeHook,
)
from .losses import FeatureMSELoss, HeatmapKLLoss, JointsMSELoss, SimCCKLLoss  # noqa: E402
from .ocd_tcd import (  # noqa: E402
    CrossCoordinateLoss,
    CrossHeatmapLoss,
    CrossRepresentationLabel,
    CrossSimCCLoss,
    OCDHead,
    ThroughTeacherHead,
)
from .okdhp import (  # noqa: E402
    FAU,
    BranchStatisticsHook,
    OKDHPHead,
    PixelShuffleHead,
    SharedTrunk,
    StackedHourglass,
)
from .pkd import PearsonFeatureLoss  # noqa: E402
from .version import __version__  # noqa: E402

register_loader()  # MMEngine reads its own training checkpoints under torch's safe loader

__all__ = [
    'FAU',
    'AccuracyIntervalHook',
    'BranchMetricsHook',
    'BranchStatisticsHook',
    'CrossCoordinateLoss',
    'CrossHeatmapLoss',
    'CrossRepresentationLabel',
    'CrossSimCCLoss',
    'DSKDHook',
    'DistillationVisualizationHook',
    'ExactResumeHook',
    'FeatureMSELoss',
    'FixedAugmentations',
    'HHDLoss',
    'HeatmapClassificationLoss',
    'HeatmapKLLoss',
    'JointsMSELoss',
    'OCDHead',
    'OKDHPHead',
    'PackPoseViews',
    'PearsonFeatureLoss',
    'PixelShuffleHead',
    'PoseDistiller',
    'SharedTrunk',
    'SimCCKLLoss',
    'StackedHourglass',
    'TeacherCacheHook',
    'TeacherMetricsHook',
    'TeacherView',
    'ThroughTeacherHead',
    'UnbiasedIntegralHead',
    '__version__',
    'advise',
    'export_student',
    'wrap_config',
]


def __getattr__(name: str):
    """What a training never needs and takes a second to import."""
    if name in ('advise', 'wrap_config'):
        from . import wrap

        return getattr(wrap, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
