"""Compile every Triton kernel for a GPU that need not be there, in a process that does not interpret them.

Called as `python compiled_kernels.py CAPABILITY TYPE ...`, the types being those of the logits, all of them where none
is named, as in `90 '*bf16' '*fp64'`. Prints what was compiled, and fails with the compiler's message.
"""

import sys
from itertools import product
from pathlib import Path

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

sys.path.insert(0, str(Path(__file__).parents[1]))

from seqsearch_fairseq.algorithms.kernels import candidate_pass, whole

# The type of logits -> of what is made of it.
REAL = {"*bf16": "fp32", "*fp16": "fp32", "*fp32": "fp32", "*fp64": "fp64"}
POINTERS = {"candidates": "*u8", "live": "*u8", "groups": "*i64", "places": "*i64"}
INTEGERS = {"vocabulary", "width", "tiles", "blocks", "count"}
FLAGS = {"NORMALIZED", "AUGMENTED"}
SIZES = {"TILES": 16, "TILE": 32, "BLOCKS": 16, "BLOCK": 512, "BEAMS": 3, "WIDE": 4}


def compile_all(kernel, capability: int, types: list[str]) -> None:
    names = kernel.arg_names
    for logits, *flags in product(types, *([True, False] for name in names if name in FLAGS)):
        fixed = dict(zip((name for name in names if name in FLAGS), flags, strict=True)) | SIZES
        made = compiled(kernel, logits, fixed, capability)
        print(kernel.__name__, logits, fixed, f"{len(made.asm['cubin'])} bytes")
    ones = dict.fromkeys([*INTEGERS, *FLAGS, "BEAMS", "WIDE"], 1)  # a number that is 1 is compiled into the kernel
    compiled(kernel, "*bf16", SIZES | ones, capability)


def compiled(kernel, logits: str, fixed: dict, capability: int):
    """The kernel for a type of logits, with what is `fixed`."""
    names, real = kernel.arg_names, REAL[logits]
    fixed = fixed | {"REAL": {"fp32": tl.float32, "fp64": tl.float64}[real]}
    fixed = {name: value for name, value in fixed.items() if name in names}
    types = dict.fromkeys(INTEGERS, "i32") | POINTERS | {"logits": logits, "exponentials": logits}
    signature = {name: "constexpr" if name in fixed else types.get(name, f"*{real}") for name in names}
    at = {(names.index(name),): value for name, value in fixed.items()}
    return triton.compile(ASTSource(kernel, signature, at), target=GPUTarget("cuda", capability, 32))


if __name__ == "__main__":
    for kernel in candidate_pass.KERNELS + whole.KERNELS:
        compile_all(kernel, int(sys.argv[1]), sys.argv[2:] or list(REAL))
