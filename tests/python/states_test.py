"""Partial states and their merge, and what the weights tell."""

from support import Refusals, causal, exact_attention, main, need, random

numpy = need("numpy")
import heed

Q, K, V = random(numpy, 2, 3, 8, 64), random(numpy, 2, 700, 2, 64, seed=2), random(numpy, 2, 700, 2, 32, seed=3)
SINKS = random(numpy, 8, seed=4)
HEADS = numpy.array([0.5, 1, 2, 0, 4, 1, 1, 3], "f4")


class States(Refusals):
    def shards(self, temperatures=None):
        states = []
        for first, last in ((0, 256), (256, 512), (512, 700)):
            k, v = K[:, first:last], V[:, first:last]
            plan = heed.Plan(
                Q,
                k,
                v,
                causal=True,
                shard=heed.KeyShard(first, [700, 700] if first else 700)
                if not first
                else heed.KeyShard([first, first], [700, 700]),
            )
            states.append(heed.run_partial(plan, Q, k, v, temperatures=temperatures))
        return plan, states

    def test_merge_has_the_bits_of_one_run(self):
        for temperatures in (None, HEADS):
            out, lse = heed.attention(Q, K, V, causal=True, lse=True, sinks=SINKS, temperatures=temperatures)
            plan, states = self.shards(temperatures)
            merged, merged_lse = heed.merge(plan, states, lse=True, sinks=SINKS, temperatures=temperatures)
            numpy.testing.assert_array_equal(merged, out)
            numpy.testing.assert_array_equal(merged_lse, lse)
            total = heed.empty_states(plan, 1)
            for state in states:
                heed.merge_into(plan, total, state, temperatures=temperatures)
            numpy.testing.assert_array_equal(heed.merge(plan, [total], sinks=SINKS, temperatures=temperatures), out)

    def test_shape_and_clear(self):
        plan, states = self.shards()
        self.assertEqual(plan.state_shape, (1, 48, 32))
        self.assertEqual([array.shape for array in states[0]], [(1, 48), (1, 48), (1, 48, 32)])
        heed.clear(plan, states[0])
        self.assertTrue((states[0].m == -numpy.inf).all())
        self.assertTrue((heed.merge(plan, states[:1]) == 0).all())
        given = heed.PartialStates(*(numpy.zeros_like(array) for array in states[0]))
        self.assertIs(heed.run_partial(plan, Q, K[:, 512:], V[:, 512:], states=given), given)
        numpy.testing.assert_array_equal(given.o, states[2].o)

    def test_refusals(self):
        plan, states = self.shards()
        m, l, o = states[0]
        for sentence, function, arguments in (
            (
                "shards[1].m has the shape (1, 47); it must be (1, 48)",
                heed.merge,
                (plan, [states[0], heed.PartialStates(m[:, 1:], l, o)]),
            ),
            (
                "shards[0].o has the shape (2, 48, 32)",
                heed.merge,
                (plan, [heed.PartialStates(m, l, numpy.zeros((2, 48, 32), "f4"))]),
            ),
            ("states.l has elements of float64", heed.clear, (plan, heed.PartialStates(m, l.astype("f8"), o))),
            ("k has shape (2, 256, 2, 64)", heed.run_partial, (plan, Q, K[:, :256], V[:, 512:])),
            ("shards has 300 entries", heed.merge, (plan, states * 100)),
        ):
            with self.subTest(sentence):
                self.refused(sentence, function, *arguments)
        self.refused("shard.first_key (100)", heed.Plan, Q, K, V, shard=(100, 800))
        self.refused("out has shape", heed.merge, plan, states, out=numpy.zeros((2, 3, 8, 64), "f4")[..., ::2])


class Weights(Refusals):
    def test_against_float64(self):
        """The probabilities of exact_attention, with values that are the identity."""
        k = K[:, :30]
        visible = causal(numpy, 3, 30)
        told = heed.attention_weights(
            Q, k, V[:, :30], causal=True, weights=True, entropy=True, top=4, mass=True, out=True, lse=True
        )
        identity = numpy.broadcast_to(numpy.eye(30)[:, None], (2, 30, 2, 30))
        exact, _, bound, _ = exact_attention(numpy, Q, k, identity, visible=visible)
        exact = exact.transpose(0, 2, 1, 3)
        self.assertEqual(told.weights.shape, (2, 8, 3, 30))
        self.assertLessEqual(abs(told.weights - exact).max(), bound)
        self.assertTrue((told.weights[..., :2, 29] == 0).sum() == 2 * 8 * 2)
        logs = numpy.log(numpy.where(exact > 0, exact, 1))
        slack = 30 * bound * (1 + abs(logs).max())
        self.assertLessEqual(abs(told.entropy + (exact * logs).sum(-1)).max(), slack)
        self.assertLessEqual(abs(told.mass - exact.sum(2)).max(), 3 * bound)
        order = numpy.argsort(-told.weights, axis=-1, kind="stable")[..., :4]
        numpy.testing.assert_array_equal(told.top_keys, order)
        numpy.testing.assert_array_equal(told.top_weights, numpy.take_along_axis(told.weights, order, -1))
        out, lse = heed.attention(Q, k, V[:, :30], causal=True, lse=True)
        numpy.testing.assert_array_equal(told.out, out)
        numpy.testing.assert_array_equal(told.lse, lse)

    def test_only_what_is_asked_for(self):
        told = heed.attention_weights(Q, K, V, mass=True, sinks=SINKS)
        self.assertEqual([name for name, value in told._asdict().items() if value is not None], ["mass"])
        half = heed.attention_weights(Q, K, V, weights="f16").weights
        self.assertEqual((half.dtype, half.shape), (numpy.float16, (2, 8, 3, 700)))

    def test_ragged_and_pages(self):
        told = heed.attention_weights(
            Q[0], K[0], V[0], query_offsets=[0, 1, 3], key_offsets=[0, 40, 100], weights=True, top=1, mass=True
        )
        self.assertEqual(
            (told.weights.shape, told.mass.shape, told.top_keys.shape), ((2, 8, 2, 60), (2, 8, 60), (8, 3, 1))
        )
        for b, (i, j), (c, d) in ((0, (0, 1), (0, 40)), (1, (1, 3), (40, 100))):
            one = heed.attention_weights(Q[:1, i:j], K[:1, c:d], V[:1, c:d], weights=True, mass=True)
            numpy.testing.assert_array_equal(told.weights[b, :, : j - i, : d - c], one.weights[0])
            numpy.testing.assert_array_equal(told.mass[b, :, : d - c], one.mass[0])
        table = numpy.arange(14, dtype="i4").reshape(2, 7)
        pools = [a.reshape(14, 100, *a.shape[2:]) for a in (K, V)]
        paged = heed.attention_weights(Q, *pools, page_table=table, key_lengths=[700, 699], mass=True, mask=None)
        dense = heed.attention_weights(Q, K, V, key_lengths=[700, 699], mass=True)
        numpy.testing.assert_array_equal(paged.mass, dense.mass)

    def test_refusals(self):
        self.refused("top (17)", heed.attention_weights, Q, K, V, top=17)
        self.refused("weights ('int8')", heed.attention_weights, Q, K, V, weights="int8")
        self.refused("lse needs out", heed.attention_weights, Q, K, V, entropy=True, lse=True)


if __name__ == "__main__":
    main()
