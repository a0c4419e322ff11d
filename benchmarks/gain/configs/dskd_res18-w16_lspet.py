# DSKD: guided by its own earlier selves. The generations are thirds of the run, however long it is.
_base_ = ['plain_res18-w16_lspet.py']

custom_hooks = [*_base_.custom_hooks, dict(type='DSKDHook', guides='generations', num_guides=2)]
