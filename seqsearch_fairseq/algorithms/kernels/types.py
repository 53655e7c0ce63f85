"""What all kernels share."""

import torch
import triton.language as tl

TYPES = {torch.float32: tl.float32, torch.float64: tl.float64}  # that they compute in
NOTHING = tl.constexpr(float("-inf"))  # the score of what is no candidate
