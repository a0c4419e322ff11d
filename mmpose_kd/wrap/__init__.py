"""A config of one's own: which methods fit it, and the config that trains with one."""

from .advice import Advice, advise
from .command import WrapError, Wrapped, wrap_config
from .trial import Trial, TrialError

__all__ = ['Advice', 'Trial', 'TrialError', 'WrapError', 'Wrapped', 'advise', 'wrap_config']
