"""Builds mmpose-kd; see pyproject.toml for the build backend."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent


def version():
    scope = {}
    exec((ROOT / 'mmpose_kd' / 'version.py').read_text(encoding='utf-8'), scope)
    return scope['__version__']


def long_description():
    readme = ROOT / 'README.md'
    return readme.read_text(encoding='utf-8') if readme.is_file() else ''


class EditableWheel(editable_wheel):
    """An editable install in which ``mim train mmpose-kd`` finds the configs.

    mim joins the folder of the package's metadata with the first line of ``top_level.txt``. An
    editable install leaves only metadata in site-packages, so that line is made the absolute
    path of the sources; the import name follows on the next line.
    """

    def _create_wheel_file(self, bdist_wheel):
        package = ROOT / 'mmpose_kd'
        top_level = Path(self.dist_info_dir, 'top_level.txt')
        top_level.write_text(f'{package}\n{package.name}\n', encoding='utf-8')
        return super()._create_wheel_file(bdist_wheel)


setup(
    name='mmpose-kd',
    version=version(),
    description='Knowledge distillation for MMPose 1.x',
    long_description=long_description(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='pose estimation, knowledge distillation, MMPose',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in (10, 11, 12, 13)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
    packages=find_packages(include=['mmpose_kd', 'mmpose_kd.*']),
    # .mim/configs is a link to configs/; in wheel and sdist it becomes real files.
    package_data={
        'mmpose_kd': [
            'py.typed',
            '.mim/model-index.yml',
            '.mim/tools/*.py',
            '.mim/configs/**/*.py',
            '.mim/configs/**/*.yml',
        ]
    },
    # 3.9 is not refused, since MMPose runs there; what was run is in README.md
    python_requires='>=3.9',
    # Empty on purpose: mmpose_kd/compat.py says why, and checks the versions at import.
    install_requires=[],
    # of `mmpose-kd export --onnx`; onnxscript where torch's older exporter cannot write a model
    extras_require={'onnx': ['onnx', 'onnxruntime', 'onnxscript']},
    entry_points={'console_scripts': ['mmpose-kd = mmpose_kd.cli:main']},
    cmdclass={'editable_wheel': EditableWheel},
    zip_safe=False,
)
