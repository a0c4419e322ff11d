"""Stands in for ``mmcv._ext``, the compiled operators that mmcv-lite does not have.

MMPose 1.2 and newer imports ``mmcv.ops`` whatever model is used, and that import needs
``mmcv._ext``. This module lets the import through; calling an operator says what is missing.
It is used in two ways, so it imports nothing of mmpose_kd:

- ``mmpose_kd.compat`` loads it under the name ``mmcv._ext`` when mmcv has none;
- ``mmpose-kd setup-mmcv``, or this file run as a script, copies it into mmcv's folder as
  ``_ext.py`` when mmcv has none, so that MMPose works in that environment without mmpose_kd too.
  A compiled ``_ext`` that is installed later wins over the copy.
"""


def __getattr__(name):
    # Python looks up names like __path__ or __all__ to learn what a module has.
    if name.startswith('__') and name.endswith('__'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def missing_op(*args, **kwargs):
        raise NotImplementedError(
            f'the mmcv operator {name!r} was called, but mmcv-lite has no compiled operators: '
            'install the full mmcv in its place (pip uninstall mmcv-lite, then pip install mmcv)'
        )

    missing_op.__name__ = missing_op.__qualname__ = name
    return missing_op


def install():
    """Copy this file to ``mmcv/_ext.py`` unless mmcv has its own; return what was done."""
    import importlib.util
    import os
    import shutil
    import tempfile
    from importlib.machinery import PathFinder

    mmcv = importlib.util.find_spec('mmcv')
    if mmcv is None or mmcv.origin is None:
        raise SystemExit('mmcv is not installed here')
    found = PathFinder.find_spec('mmcv._ext', mmcv.submodule_search_locations)
    target = os.path.join(os.path.dirname(mmcv.origin), '_ext.py')
    if found is not None and found.origin != target:  # an earlier copy is brought up to date
        return f'mmcv has its own operators: {found.origin}'
    # Written beside and renamed, so that a half-written copy never passes for the module.
    with tempfile.TemporaryDirectory(dir=os.path.dirname(target)) as folder:
        os.replace(shutil.copyfile(__file__, os.path.join(folder, '_ext.py')), target)
    return f'mmcv has no compiled operators, wrote a stand-in: {target}'


if __name__ == '__main__':
    import sys

    sys.stdout.write(install() + '\n')
