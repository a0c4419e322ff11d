"""Knowledge distillation for MMPose: importing this package registers its parts in MMPose."""

from .compat import prepare

prepare()  # first of all: without it the imports below fail on a lite mmcv

from . import codecs, hooks, models, transforms  # noqa: E402
from .version import __version__  # noqa: E402

__all__ = ['__version__', 'codecs', 'hooks', 'models', 'transforms']
