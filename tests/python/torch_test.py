"""PyTorch's tensors, its scaled_dot_product_attention, and modules that run on it."""

import importlib
import unittest
from unittest import mock

from support import EPSILON, Refusals, exact_attention, main, need, random

numpy, torch = need("numpy", "torch")
import heed
import heed.torch
from heed.torch import scaled_dot_product_attention as attend

functional = torch.nn.functional
Q, K, V = (
    torch.from_numpy(random(numpy, 2, heads, tokens, 64, seed=seed))
    for heads, tokens, seed in ((8, 5, 1), (2, 40, 2), (2, 40, 3))
)
WIDE = [t.repeat_interleave(4, 1) for t in (K, V)]
ROUNDING = {torch.float32: 0, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def rows(tensor):
    """As NumPy, [batch, tokens, heads, dim], whatever the type."""
    return tensor.detach().to(torch.float64).numpy().transpose(0, 2, 1, 3)


def torchs_own(q, k, v, mask=None, causal=False):
    """PyTorch's own function in float64: before 2.0 it has another name, and takes masks of bool alone."""
    q, k, v = (t.to(torch.float64) for t in (q, k, v))
    public = getattr(functional, "scaled_dot_product_attention", None)
    if public is not None:
        return public(q, k, v, mask, is_causal=causal)
    return functional._scaled_dot_product_attention(q, k, v, mask, 0.0, False, causal)[0]


class Tensors(Refusals):
    def test_the_bits_of_numpy(self):
        out, lse = heed.attention(Q, K, V, layout="bhsd", causal=True, lse=True)
        wanted, wanted_lse = heed.attention(*(t.numpy() for t in (Q, K, V)), layout="bhsd", causal=True, lse=True)
        self.assertTrue(isinstance(out, torch.Tensor) and isinstance(lse, torch.Tensor))
        numpy.testing.assert_array_equal(out.numpy(), wanted)
        numpy.testing.assert_array_equal(lse.numpy(), wanted_lse)
        strided = heed.attention(*(t.transpose(1, 2) for t in (Q, K, V)), causal=True)
        self.assertTrue(torch.equal(strided.transpose(1, 2), out))

    def test_types(self):
        for dtype in (torch.float16, torch.bfloat16):
            q, k, v = (t.to(dtype) for t in (Q, K, V))
            out = heed.attention(q, k, v, layout="bhsd")
            self.assertIs(out.dtype, dtype)
            as_words = [t.view(torch.int16).numpy() for t in (q, k, v)]
            name = "f16" if dtype is torch.float16 else "bf16"
            words = heed.attention(*as_words, layout="bhsd", q_type=name, k_type=name, v_type=name)
            numpy.testing.assert_array_equal(out.view(torch.int16).numpy(), words.view("i2"))
        codes = (K * 40).to(torch.int8)
        scales = torch.full((1, 1, 1, 1), 0.025)
        self.assertTrue(
            torch.equal(
                heed.attention(Q, codes, V, layout="bhsd", k_scales=scales),
                heed.attention(Q, codes.float() * scales, V, layout="bhsd"),
            )
        )

    def test_outputs_stay_where_they_are(self):
        out = torch.zeros(2, 8, 5, 64)
        where = out.data_ptr()
        self.assertIs(heed.attention(Q, K, V, layout="bhsd", out=out), out)
        self.assertEqual(out.data_ptr(), where)
        self.assertTrue(out.any())

    def test_dlpack(self):
        class Other:
            def __init__(self, tensor):
                self.tensor = tensor

            def __dlpack__(self):
                return self.tensor.__dlpack__()

            def __dlpack_device__(self):
                return self.tensor.__dlpack_device__()

        for dtype in (torch.float32, torch.bfloat16):
            q, k, v = (t.to(dtype).transpose(1, 2) for t in (Q, K, V))
            out = torch.empty(2, 5, 8, 64, dtype=dtype)
            heed.attention(Other(q), Other(k), Other(v), out=Other(out))
            self.assertTrue(torch.equal(out, heed.attention(q, k, v)))

    def test_refusals(self):
        for sentence, q in (
            ("q is on the device meta; heed computes on CPUs", Q.to("meta")),
            ("layout torch.sparse_coo", Q.to_sparse()),
            ("q requires a gradient", Q.clone().requires_grad_()),
            ("q has elements of float64", Q.double()),
            ("torch.complex64", Q.to(torch.complex64)),
        ):
            with self.subTest(sentence):
                self.refused(sentence, heed.attention, q, K, V, layout="bhsd")
        with torch.no_grad():
            heed.attention(Q.clone().requires_grad_(), K, V, layout="bhsd")

    def test_other_functions(self):
        x = Q[0].bfloat16()
        self.assertTrue(torch.equal(heed.softmax(x), heed.softmax(x.float()).bfloat16()))
        for dtype in (torch.float16, torch.bfloat16):
            x, wide = Q[0].to(dtype), Q[0].to(dtype).float()
            out = heed.normalise_heads(x, layout="bhsd")
            self.assertIs(out.dtype, dtype)
            self.assertTrue(torch.equal(out, heed.normalise_heads(wide, layout="bhsd").to(dtype)))
            into = heed.normalise_heads(x, layout="bhsd", out=torch.zeros_like(wide))
            self.assertTrue(torch.equal(into.to(dtype), out))
        tokens = heed.sample(Q[0, 0], seed=3)
        numpy.testing.assert_array_equal(tokens.numpy(), heed.sample(Q[0, 0].numpy(), seed=3))
        cache = heed.KvCache(
            pages=4, page_tokens=16, kv_heads=2, head_dim=64, sequences=1, k_type="bf16", v_type="bf16"
        )
        sequence = cache.add()
        cache.append(K[0].bfloat16(), V[0].bfloat16(), cache.extend(sequence, 40), layout="bhsd")
        out = cache.attention(Q[:1], [sequence], layout="bhsd", causal=True)
        self.assertTrue(
            torch.equal(out, heed.attention(Q[:1], K[:1].bfloat16(), V[:1].bfloat16(), layout="bhsd", causal=True))
        )


class Replacement(Refusals):
    def near(self, out, wanted, q, k, v, bias=0.0):
        """Within the bound of float64 on the same numbers; 16-bit types round weights and outputs once more."""
        _, _, bound, _ = exact_attention(numpy, rows(q), rows(k), rows(v), bias=bias)
        rounding = ROUNDING[out.dtype] * v.double().abs().max().item()
        self.assertLess(bound, 2e-3)
        self.assertLessEqual((out.double() - wanted).abs().max().item(), bound + 3 * rounding)

    def test_against_torch(self):
        mask = torch.rand(2, 8, 5, 40, generator=torch.Generator().manual_seed(1)) < 0.5
        for dtype in ROUNDING:
            q, k, v = Q.to(dtype), *(t.to(dtype) for t in WIDE)
            for options in ({}, {"causal": True}, {"mask": mask}, {"mask": mask[:1, :1]}, {"mask": mask[0, 0]}):
                with self.subTest(f"{dtype} {options.keys()}"):
                    wanted = torchs_own(q, k, v, **options)
                    out = attend(q, k, v, options.get("mask"), is_causal=options.get("causal", False))
                    self.assertIs(out.dtype, dtype)
                    self.near(out, wanted, q, k, v)

    def test_masks_of_floats(self):
        bias = torch.from_numpy(random(numpy, 2, 8, 5, 40, seed=5))
        q, (k, v) = Q, WIDE
        for mask in (bias, bias[:, :1], bias[0, 0], bias[..., :1], bias.double()):
            wanted, _, _, _ = exact_attention(numpy, rows(q), rows(k), rows(v), bias=mask.double().numpy())
            self.near(
                attend(q, k, v, mask), torch.from_numpy(wanted.transpose(0, 2, 1, 3)), q, k, v, mask.double().numpy()
            )

    def test_scale_and_groups(self):
        grouped = attend(Q, K, V, scale=0.25, enable_gqa=True)
        self.assertTrue(torch.equal(grouped, attend(Q, *WIDE, scale=0.25)))
        self.assertTrue(torch.equal(grouped, attend(2 * Q, K, V, scale=0.125, enable_gqa=True)))
        self.refused("key has 2 heads and query 8; enable_gqa must be True", attend, Q, K, V)

    def test_shapes(self):
        q, (k, v) = Q, WIDE
        wanted = attend(q, k, v)
        self.assertTrue(torch.equal(attend(q[0], k[0], v[0]), wanted[0]))
        self.assertTrue(torch.equal(attend(q[0, 0], k[0, 0], v[0, 0]), wanted[0, 0]))
        self.assertTrue(torch.equal(attend(q[None], k[None], v[None]), wanted[None]))
        self.assertTrue(torch.equal(attend(q, k[:1], v[:1])[0], wanted[0]))
        self.assertTrue(torch.equal(attend(q, k[:, :1], v[:, :1])[:, 0], wanted[:, 0]))
        self.assertEqual(attend(q, k, v[..., :16]).shape, (2, 8, 5, 16))
        self.assertEqual(attend(q[:, :, :0], k, v).shape, (2, 8, 0, 64))
        self.assertEqual(attend(q[:0], k[:0], v[:0]).shape, (0, 8, 5, 64))
        crossed = k.transpose(2, 3).contiguous().transpose(2, 3)
        self.assertTrue(torch.equal(attend(q, crossed, v), wanted))
        hidden = attend(q, k, v, torch.zeros(5, 40, dtype=torch.bool))
        self.assertFalse(hidden.any())
        for sentence, arguments in (
            ("attn_mask has the shape (3, 40)", (q, k, v, torch.ones(3, 40))),
            ("query has 1 dimensions", (q[0, 0, 0], k, v)),
            ("key has the shape", (q, torch.cat([k, k[:1]]), v)),
        ):
            with self.subTest(sentence):
                self.refused(sentence, attend, *arguments)
        self.refused("attn_mask must not be given", attend, q, k, v, torch.ones(5, 40), is_causal=True)

    def cases_left_to_torch(self):
        wanting = Q.clone().requires_grad_()
        return (
            ("dropout", (Q, *WIDE), {"dropout_p": 0.1}),
            ("gradients", (wanting, *WIDE), {}),
            ("torch.float64", [t.double() for t in (Q, *WIDE)], {}),
            ("on the device meta", [t.to("meta") for t in (Q, *WIDE)], {}),
            ("on a Mine", (Q.as_subclass(Mine), *WIDE), {}),
        )

    def test_what_is_left_to_a_torch_that_can(self):
        theirs = mock.Mock(return_value="theirs")
        with mock.patch.object(heed.torch, "_own", theirs):
            for _, tensors, options in self.cases_left_to_torch():
                theirs.reset_mock()
                self.assertEqual(attend(*tensors, is_causal=True, **options), "theirs")
                given = {"attn_mask": None, "dropout_p": 0.0, "is_causal": True, **options}
                theirs.assert_called_once_with(*tensors, **given)
            theirs.reset_mock()
            attend(Q, K, V, dropout_p=0.5, scale=2.0, enable_gqa=True)
            theirs.assert_called_once_with(
                Q, K, V, attn_mask=None, dropout_p=0.5, is_causal=False, scale=2.0, enable_gqa=True
            )
            theirs.reset_mock()
            attend(Q, *WIDE)
            theirs.assert_not_called()

    def test_what_is_left_to_a_torch_that_cannot(self):
        with mock.patch.object(heed.torch, "_own", None):
            for sentence, tensors, options in self.cases_left_to_torch():
                with self.subTest(sentence):
                    self.refused(sentence, attend, *tensors, kind=heed.Unsupported, **options)

    def test_gradients_are_not_asked_for(self):
        with torch.no_grad():
            self.assertTrue(torch.equal(attend(Q.clone().requires_grad_(), *WIDE), attend(Q, *WIDE)))

    def test_its_own_function_is_found(self):
        """Of whatever version: the module keeps what torch.nn.functional had when it was imported."""
        theirs = mock.Mock()
        with mock.patch.object(functional, "scaled_dot_product_attention", theirs, create=True):
            again = importlib.reload(heed.torch)
            self.assertIs(again._own, theirs)
        importlib.reload(heed.torch)

    def test_replaced(self):
        before = getattr(functional, "scaled_dot_product_attention", None)
        with heed.torch.replaced():
            self.assertIs(functional.scaled_dot_product_attention, heed.torch.scaled_dot_product_attention)
        self.assertIs(getattr(functional, "scaled_dot_product_attention", None), before)
        theirs = mock.Mock()
        with mock.patch.object(functional, "scaled_dot_product_attention", theirs, create=True):
            with self.assertRaises(KeyError), heed.torch.replaced():
                raise KeyError
            self.assertIs(functional.scaled_dot_product_attention, theirs)


class Mine(torch.Tensor):
    """A subclass, of which heed knows nothing."""


class Attention(torch.nn.Module):
    """Multi-head attention as models write it: projections around torch.nn.functional's function."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.inputs, self.output = torch.nn.Linear(dim, 3 * dim), torch.nn.Linear(dim, dim)

    def forward(self, x, mask=None, causal=False):
        batch, tokens, dim = x.shape
        q, k, v = self.inputs(x).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.output(out.transpose(1, 2).reshape(batch, tokens, dim))


class Modules(unittest.TestCase):
    def test_a_block_runs(self):
        """The same block with PyTorch's nn.MultiheadAttention, which has the same weights, in float64."""
        torch.manual_seed(1)
        mine, x = Attention(64, 4).eval(), torch.randn(2, 9, 64)
        theirs = torch.nn.MultiheadAttention(64, 4, batch_first=True).double()
        with torch.no_grad():
            theirs.in_proj_weight.copy_(mine.inputs.weight)
            theirs.in_proj_bias.copy_(mine.inputs.bias)
            theirs.out_proj.weight.copy_(mine.output.weight)
            theirs.out_proj.bias.copy_(mine.output.bias)
        hidden = torch.ones(9, 9, dtype=torch.bool).triu(1)
        with torch.no_grad(), heed.torch.replaced():
            for mask, options in ((None, {}), (hidden, {"causal": True}), (hidden, {"mask": ~hidden})):
                # In training mode the module does not take its way around torch.nn.functional.
                wanted, _ = theirs.train()(x.double(), x.double(), x.double(), attn_mask=mask, need_weights=False)
                out = mine(x, **options)
                # Projections and attention are sums of 64 products each, all below 2 in magnitude.
                self.assertLessEqual((out.double() - wanted).abs().max().item(), 4 * 64 * 64 * EPSILON)


if __name__ == "__main__":
    main()
