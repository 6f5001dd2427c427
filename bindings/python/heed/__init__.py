"""heed: multi-head attention for CPUs, on arrays of NumPy and tensors of PyTorch where they lie.

    import heed
    out = heed.attention(q, k, v, causal=True)   # [batch, tokens, heads, head_dim]

Everything of heed's C interface is here under the names of the C++ one. heed.torch has PyTorch's
scaled_dot_product_attention, heed.layer an attention layer with its projections. What goes wrong raises
a heed.Error with a sentence.
"""

from ._attention import attention, clear_plans
from ._cache import FORGOTTEN_PAGE, KvCache, KvPages, Memory, PageCopy, PagedSequences, append
from ._cpu import CpuInfo, Isa, alibi_slopes, chosen_isa, convert, cpu_info, isas, thread_library, version
from ._head_norm import normalise_heads
from ._options import KeyLists, KeyMask, KeyShard
from ._plan import Executor, Forecast, Plan, StateShape, Workspace
from ._rotary import Rotary, RotaryScaling
from ._rows import log_softmax, log_softmax_gradient, log_sum_exp, softmax, softmax_gradient
from ._sampling import NO_TOKEN, sample
from ._states import PartialStates, clear, empty_states, merge, merge_into, run_partial
from ._weights import AttentionWeights, attention_weights
from .errors import Error, Exhausted, Internal, InvalidArgument, OutOfMemory, Unsupported

__all__ = [
    "alibi_slopes",
    "append",
    "attention",
    "attention_weights",
    "AttentionWeights",
    "chosen_isa",
    "clear",
    "clear_plans",
    "convert",
    "cpu_info",
    "CpuInfo",
    "empty_states",
    "Error",
    "Executor",
    "Exhausted",
    "Forecast",
    "FORGOTTEN_PAGE",
    "Internal",
    "InvalidArgument",
    "Isa",
    "isas",
    "KeyLists",
    "KeyMask",
    "KeyShard",
    "KvCache",
    "KvPages",
    "log_softmax",
    "log_softmax_gradient",
    "log_sum_exp",
    "Memory",
    "merge",
    "merge_into",
    "NO_TOKEN",
    "normalise_heads",
    "OutOfMemory",
    "PageCopy",
    "PagedSequences",
    "PartialStates",
    "Plan",
    "Rotary",
    "RotaryScaling",
    "run_partial",
    "sample",
    "softmax",
    "softmax_gradient",
    "StateShape",
    "thread_library",
    "Unsupported",
    "version",
    "Workspace",
]
