"""``mmpose-kd verify``: a dry run of a config, before anybody pays for the whole one."""

from .command import Settings, VerifyError, verify

__all__ = ['Settings', 'VerifyError', 'verify']
