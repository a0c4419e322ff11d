"""The version of mmpose_kd, written here and nowhere else."""

__version__ = '0.1.0'
