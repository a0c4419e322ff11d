"""Train a model: MMPose's own tools/train.py, with mmpose_kd imported before it."""

import os
import runpy

import mmpose

import mmpose_kd  # noqa: F401

if __name__ == '__main__':
    tools = os.path.join(os.path.dirname(mmpose.__file__), '.mim', 'tools')
    runpy.run_path(os.path.join(tools, 'train.py'), run_name='__main__')
