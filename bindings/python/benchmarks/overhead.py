"""What a call of heed.attention costs beside the C function that it calls, in microseconds, the best of several runs.

    PYTHONPATH=bindings/python HEED_LIBRARY=build/release/bindings/c/libheed_c.so.1 \
        python3 bindings/python/benchmarks/overhead.py
"""

import timeit

import numpy

import heed
from heed import _library

SHAPE = (1, 1, 1, 8)
CALLS, RUNS = 20_000, 9


def best(function):
    function()
    return min(timeit.repeat(function, number=CALLS, repeat=RUNS)) / CALLS * 1e6


def report(name, cost, base):
    print(f"{name:40} {cost:6.2f} us {cost - base:+7.2f} us")


def c_function():
    """heed_run alone, called as ctypes calls it."""
    q = numpy.ones(SHAPE, "float32")
    out, workspace = numpy.empty_like(q), heed.Workspace()
    plan = heed.Plan(q, q, q)
    plan.run(q, q, q, out=out, workspace=workspace)
    runner, run = plan._runner(), _library.lib.heed_run
    return best(lambda: run(plan._handle, runner.address, workspace._handle, None))


def library(name, make):
    q, k, v = make(), make(), make()
    out, workspace, plan = make(), heed.Workspace(), heed.Plan(q, k, v)
    report(f"{name}: attention(q, k, v)", best(lambda: heed.attention(q, k, v)), BASE)
    report(
        f"{name}: attention(…, causal=True, out=out)", best(lambda: heed.attention(q, k, v, causal=True, out=out)), BASE
    )
    report(f"{name}: attention(…, softcap=1)", best(lambda: heed.attention(q, k, v, softcap=1.0)), BASE)
    report(f"{name}: plan.run(…, out, workspace)", best(lambda: plan.run(q, k, v, out=out, workspace=workspace)), BASE)


BASE = c_function()
report("the C function", BASE, BASE)
library("numpy", lambda: numpy.ones(SHAPE, "float32"))
try:
    import torch
except ImportError:
    print("there is no torch")
else:
    import heed.torch

    library("torch", lambda: torch.ones(SHAPE))
    q = torch.ones(SHAPE)
    report("torch: scaled_dot_product_attention", best(lambda: heed.torch.scaled_dot_product_attention(q, q, q)), BASE)
