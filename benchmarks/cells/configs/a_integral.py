# Cell A: the same on livestock18.
_base_ = ['p_integral.py', 'livestock.py']

data_root = _base_._livestock.root
model = dict(head=dict(num_joints=18))
train_dataloader = _base_._livestock.train
val_dataloader = _base_._livestock.val
test_dataloader = _base_._livestock.val
val_evaluator = _base_._livestock.evaluator
test_evaluator = _base_._livestock.evaluator
