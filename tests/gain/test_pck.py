"""PCK by hand, and the yardstick of each person."""

import numpy as np

from mmpose_kd.gain import pck


def test_pck_by_hand():
    target = np.array([[[0, 0], [30, 40], [9, 9]]], float)  # torso of 50
    visible = np.array([[True, True, False]])
    found = target + np.array([[[6, 8], [4.9, 0], [0, 0]]])  # 10 and 4.9 away
    length = pck.torso_lengths(target, visible, (0, 1))
    assert length.tolist() == [50]
    # 10 is not nearer than 0.2 torsos
    assert [int(a[0]) for a in pck.hits_and_counts(found, target, visible, length, 0.2)] == [1, 2]
    assert [int(a[0]) for a in pck.hits_and_counts(found, target, visible, length, 0.201)] == [
        2,
        2,
    ]


def test_persons_with_an_unlabelled_torso_joint_are_left_out():
    target, visible = np.ones((2, 3, 2)), np.array([[True, False, True], [True, True, True]])
    target[:, 1] = 9
    length = pck.torso_lengths(target, visible, (0, 1))
    hits, counts = pck.hits_and_counts(target, target, visible, length, 0.2)
    assert hits.tolist() == counts.tolist() == [0, 3]


def test_the_torso_is_found_by_name():
    assert pck.torso_joints(['nose', 'right_hip', 'left_shoulder']) == (2, 1)
    assert pck.torso_joints(['Left Shoulder', 'Right Hip']) == (0, 1)
    assert pck.torso_joints(['thumb1', 'wrist']) is None
    assert pck.box_lengths(np.array([[1, 2, 5, 12]])).tolist() == [10]
