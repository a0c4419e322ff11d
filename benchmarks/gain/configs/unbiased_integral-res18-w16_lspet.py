# UnbiasedIntegralHead in the place of the plain integral model's head, without a teacher.
_base_ = ['plain_integral-res18-w16_lspet.py']

model = dict(head=dict(type='UnbiasedIntegralHead'))
