"""``python -m mmpose_kd.cli`` is ``mmpose-kd``."""

import sys

from . import main

sys.exit(main())
