"""Settings of the one public function, before it reads anything."""

import inspect

import pytest

import mmpose_kd

from .values import VALUES, complaints

pytestmark = pytest.mark.reliability

#: these are looked at where the file or the model is known
LATER = {
    'branch': 'what it may be depends on the model',
    'config': {"'no'", "'False'"},
    'checkpoint': {"'no'", "'False'"},
    'out': {"'no'", "'False'"},
    'allow_bigger': {'True', 'False'},
    'force': {'True', 'False'},
    'onnx': {'True', 'False'},
    'onnx_outputs': set(),
    'onnx_channels': set(),
    'half': {'False'},
}


def test_all_its_settings_are_here():
    assert LATER.keys() == inspect.signature(mmpose_kd.export_student).parameters.keys()


@pytest.mark.parametrize('name', [name for name, later in LATER.items() if isinstance(later, set)])
def test_a_value_of_a_wrong_kind_is_refused(name):
    for label, value in VALUES.items():
        settings = {'config': 'a.py', 'checkpoint': 'a.pth', 'out': 'out', name: value}
        kind = FileNotFoundError if label in LATER[name] else ValueError
        with pytest.raises(kind) as error:
            mmpose_kd.export_student(**settings)
        if kind is ValueError:
            assert not complaints(error.value, name, value), error.value
