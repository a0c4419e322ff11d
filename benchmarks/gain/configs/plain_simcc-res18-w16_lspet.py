# The same with a light head: no deconvolutions, a 1 x 1 convolution and one linear layer an axis.
_base_ = ['plain_simcc-full-res18-w16_lspet.py']

model = dict(
    head=dict(
        deconv_out_channels=None, deconv_kernel_sizes=None, deconv_num_groups=None))
