# HHD, aligned, with UnbiasedIntegralHead as the student's head; compare with
# unbiased_integral-res18-w16_lspet.py.
_base_ = ['hhd_integral-res18-w16_lspet.py']

model = dict(student=dict(head=dict(type='UnbiasedIntegralHead')))
