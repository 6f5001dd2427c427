"""Paged caches: what is appended is found again, in every type, and pages are shared, copied and given back."""

from support import Refusals, causal, exact_attention, main, need, random

numpy = need("numpy")
import heed

TOKENS = 23
Q = random(numpy, 2, 3, 8, 64)
K, V = random(numpy, TOKENS, 2, 64, seed=2), random(numpy, TOKENS, 2, 32, seed=3)
TYPES = ("f32", "f16", "bf16", "int8", "int4", "fp8_e4m3", "fp8_e5m2", "q8_0", "q4_0")


def cache_of(**options):
    return heed.KvCache(
        **{
            "pages": 12,
            "page_tokens": 4,
            "kv_heads": 2,
            "head_dim": 64,
            "value_head_dim": 32,
            "sequences": 4,
            "layers": 3,
            **options,
        }
    )


def gathered(cache, pool, sequence, tokens):
    """The vectors of a sequence, [1, token, head, bytes or elements], from a pool."""
    pages = numpy.asarray(pool)[cache.pages(sequence)]
    if cache.layout == "bhsd":
        pages = pages.transpose(0, 2, 1, 3)
    return pages.reshape(-1, *pages.shape[2:])[None, :tokens]


class Caches(Refusals):
    def test_every_type(self):
        """Attention to pages has the bits of attention to their elements in one piece, and these are the nearest
        ones of the type: those that heed.convert gives, or codes times scales."""
        for name in TYPES:
            for layout in ("bhsd", "bshd"):
                with self.subTest(f"{name} {layout}"):
                    scaled = name.startswith("int")
                    cache = cache_of(layout=layout, k_type=name, v_type=name, v_zero_points=scaled)
                    sequence = cache.add()
                    cache.append(K, V, cache.extend(sequence, TOKENS), layer=2)
                    pages = cache.layer(2)
                    self.assertEqual([one is not None for one in pages[2:]], [scaled, scaled, False, scaled])
                    k, v = (gathered(cache, pool, sequence, TOKENS) for pool in pages[:2])
                    scales = {
                        field: gathered(cache, pool, sequence, TOKENS)
                        for field, pool in pages._asdict().items()
                        if field not in "kv" and pool is not None
                    }
                    out = cache.attention(Q[:1], [sequence], layer=2, causal=True)
                    numpy.testing.assert_array_equal(
                        out, heed.attention(Q[:1], k, v, k_type=name, v_type=name, causal=True, **scales)
                    )
                    if not scaled:
                        numpy.testing.assert_array_equal(k[0], heed.convert(K, name).view(k.dtype))
                        numpy.testing.assert_array_equal(v[0], heed.convert(V, name).view(v.dtype))

    def test_pages_are_copied_with_their_scales(self):
        for layout in ("bhsd", "bshd"):
            cache = cache_of(layout=layout, k_type="int8", v_type="int8", k_zero_points=True)
            first = cache.add()
            cache.append(K[:7], V[:7], cache.extend(first, 7))
            second, alone = cache.fork(first, 6), cache.add()
            cache.append(K[6:9], V[6:9], cache.extend(second, 3))
            cache.append(K[:9], V[:9], cache.extend(alone, 9))
            out = cache.attention(Q[[0, 0]], [second, alone])
            numpy.testing.assert_array_equal(out[0], out[1])

    def test_codes_and_scales(self):
        """With the largest magnitude / 127 as scale, an element is within half a scale of its code's value."""
        cache = cache_of(k_type="int8", v_type="int8")
        sequence = cache.add()
        cache.append(K, V, cache.extend(sequence, TOKENS))
        pages = cache.layer()
        codes, scales = (gathered(cache, pool, sequence, TOKENS)[0] for pool in (pages.k, pages.k_scales))
        numpy.testing.assert_allclose(scales[..., 0], abs(K).max(-1) / 127, rtol=2**-22)
        self.assertTrue((abs(codes * scales - K) <= scales * (0.5 + 2**-15)).all())

    def test_float64(self):
        cache = cache_of()
        sequence = cache.add()
        cache.append(K, V, cache.extend(sequence, TOKENS))
        exact, _, bound, _ = exact_attention(numpy, Q[:1], K[None], V[None], visible=causal(numpy, 3, TOKENS))
        self.assertLessEqual(abs(cache.attention(Q[:1], [sequence], causal=True) - exact).max(), bound)

    def test_one_dimension(self):
        cache = heed.KvCache(pages=2, page_tokens=4, kv_heads=3, head_dim=1, sequences=1)
        k, v = random(numpy, 6, 3, 1), random(numpy, 6, 3, 1, seed=2)
        sequence = cache.add()
        cache.append(k, v, cache.extend(sequence, 6))
        q = random(numpy, 1, 2, 3, 1)
        numpy.testing.assert_array_equal(cache.attention(q, [sequence]), heed.attention(q, k[None], v[None]))

    def test_a_life(self):
        cache = cache_of()
        first = cache.add()
        self.assertEqual(cache.tokens(first), 0)
        slots = cache.extend(first, 10)
        self.assertEqual(len(slots), 10)
        cache.append(K[:10], V[:10], slots)
        second = cache.fork(first, 6)
        self.assertEqual((cache.tokens(second), cache.free_pages), (6, 9))
        cache.append(K[10:13], V[10:13], cache.extend(second, 3))  # to a copy of the second page
        self.assertEqual(cache.shared_prefixes([first, second]), [0, 4])
        both = [first, second]
        out = cache.attention(Q, both, causal=True)
        k = [K[:10], numpy.concatenate([K[:6], K[10:13]])]
        v = [V[:10], numpy.concatenate([V[:6], V[10:13]])]
        for b in range(2):
            numpy.testing.assert_array_equal(out[b], heed.attention(Q[b], k[b], v[b], causal=True))
        ragged = cache.attention(Q[0], both, query_offsets=[0, 1, 3], causal=True, share_prefixes=False)
        numpy.testing.assert_array_equal(ragged[:1], heed.attention(Q[0, :1], k[0], v[0], causal=True))
        numpy.testing.assert_array_equal(ragged[1:], heed.attention(Q[0, 1:], k[1], v[1], causal=True))
        cache.truncate(first, 4)
        numpy.testing.assert_array_equal(
            cache.attention(Q[:1], [first]), heed.attention(Q[:1], K[None, :4], V[None, :4])
        )
        cache.remove(second)
        self.assertEqual((cache.tokens(second), cache.pages(second), cache.free_pages), (-1, [], 11))
        self.refused("sequence 1 is not in use", cache.truncate, second, 0)
        self.refused("has no room for 100 more", cache.extend, first, 100, kind=heed.Exhausted)
        self.assertEqual(cache.tokens(first), 4)
        self.refused("tokens (-1)", cache.extend, first, -1)
        self.refused("layer (3) must be from 0 to 2", cache.layer, 3)
        self.assertGreater(cache.bytes, 3 * 12 * 4 * 2 * (64 + 32) * 4 - 1)

    def test_tables(self):
        cache = cache_of()
        sequences = [cache.add(), cache.add()]
        for sequence, tokens in zip(sequences, (9, 2)):
            cache.extend(sequence, tokens)
        table = numpy.asarray(cache.block_table(sequences))
        self.assertEqual((table.shape, table.dtype), ((2, 3), numpy.int32))
        self.assertEqual(list(table[0]), cache.pages(sequences[0]))
        indptr, indices = (list(numpy.asarray(a)) for a in cache.page_lists(sequences))
        self.assertEqual(indptr, [0, 3, 4])
        self.assertEqual(indices, cache.pages(sequences[0]) + cache.pages(sequences[1]))

    def test_memory_outlives_the_cache(self):
        cache = cache_of()
        sequence = cache.add()
        cache.append(K, V, cache.extend(sequence, TOKENS))
        wanted = gathered(cache, cache.layer().k, sequence, TOKENS).copy()
        pages, shown = cache.pages(sequence), numpy.asarray(cache.layer().k)
        del cache
        numpy.testing.assert_array_equal(shown[pages].transpose(0, 2, 1, 3).reshape(-1, 2, 64)[None, :TOKENS], wanted)

    def test_rotary(self):
        rotary = heed.Rotary(64, 100, pairs="halves", base=500000.0)
        positions = numpy.arange(40, 40 + TOKENS)
        cache = cache_of()
        sequence = cache.add()
        cache.append(K, V, cache.extend(sequence, TOKENS), rotary=rotary, positions=positions)
        turned = rotary.rotate(K, positions)
        numpy.testing.assert_array_equal(gathered(cache, cache.layer().k, sequence, TOKENS)[0], turned)
        angles = positions[:, None] * 500000.0 ** (-numpy.arange(32) / 32)
        a, b = K[..., :32].astype("f8"), K[..., 32:].astype("f8")
        cosine, sine = numpy.cos(angles)[:, None], numpy.sin(angles)[:, None]
        exact = numpy.concatenate([a * cosine - b * sine, b * cosine + a * sine], -1)
        bound = (abs(a) + abs(b)) * (2.6 * 2.0**-24 + angles.max() * 18 * 2.0**-53) + 2.0**-148
        self.assertTrue((abs(turned - exact) <= numpy.concatenate([bound, bound], -1)).all())
        rows = numpy.ascontiguousarray(K.transpose(1, 0, 2))
        self.assertIs(rotary.rotate(rows, list(positions), layout="bhsd", out=rows), rows)
        numpy.testing.assert_array_equal(rows.transpose(1, 0, 2), turned)
        wide = numpy.zeros((TOKENS, 4, 64), "f2")
        rotary.rotate(K, positions, out=wide[:, ::2])
        words = rotary.rotate(heed.convert(K, "bf16"), positions, x_type="bf16", out_type="f32")
        numpy.testing.assert_array_equal(
            words, rotary.rotate((heed.convert(K, "bf16").astype("u4") << 16).view("f4"), positions)
        )
        numpy.testing.assert_array_equal(wide[:, ::2], turned.astype("f2"))
        self.assertFalse(wide[:, 1::2].any())
        for sentence, function, arguments, options in (
            ("positions has 22 entries", rotary.rotate, (K, positions[1:]), {}),
            ("positions[0] (100)", rotary.rotate, (K, positions + 60), {}),
            ("rotary_dim (3)", heed.Rotary, (3, 10), {}),
            ("pairs ('both') must be one of adjacent, halves", heed.Rotary, (4, 10), {"pairs": "both"}),
            ("out has the shape", rotary.rotate, (K, positions), {"out": K[1:]}),
        ):
            with self.subTest(sentence):
                self.refused(sentence, function, *arguments, **options)

    def test_pages_are_found_and_given_back(self):
        cache = cache_of(prefixes=True)
        text = list(range(100, 100 + TOKENS))
        first, found = cache.begin(text)
        self.assertEqual((found, cache.tokens(first)), (0, 0))
        cache.append(K, V, cache.extend(first, TOKENS), layer=1)
        cache.publish(first, numpy.array(text[:13]))
        self.assertEqual(cache.begin(text[:3] + [0] + text[4:])[1], 0)
        second, found = cache.begin(numpy.array(text, "i4"))
        self.assertEqual((found, cache.tokens(second), cache.pages(second)), (12, 12, cache.pages(first)[:3]))
        cache.append(K[12:], V[12:], cache.extend(second, TOKENS - 12), layer=1)
        options = {"causal": True, "window_left": 5, "keep_first": 4, "layer": 1}
        wanted = cache.attention(Q[:1], [first], **options)
        numpy.testing.assert_array_equal(cache.attention(Q[:1], [second], **options), wanted)
        cache.remove(first)
        free = cache.free_pages
        cache.forget(second, 15, keep_first=3)
        pages = cache.pages(second)
        self.assertEqual([page == heed.FORGOTTEN_PAGE for page in pages], [False, True, True, False, False, False])
        self.assertEqual((cache.free_pages, cache.tokens(second)), (free + 2, TOKENS))
        self.assertEqual(list(numpy.asarray(cache.block_table([second]))[0]), pages)
        self.assertEqual(list(numpy.asarray(cache.page_lists([second])[1])), pages)
        numpy.testing.assert_array_equal(cache.attention(Q[:1], [second], **options), wanted)
        cache.remove(second)
        self.assertEqual(cache.begin(text)[1], 12)  # of a text that has ended
        plain = cache_of()
        for sentence, function, arguments in (
            ("prefixes", plain.begin, (text,)),
            ("prefixes", plain.publish, (plain.add(), text)),
            ("tokens must be integers", cache.begin, (["a"],)),
            ("tokens has 4294967296", cache.begin, ([1 << 32],)),
            ("sequence 9 is not in use", cache.forget, (9, 0)),
            ("tokens (-1)", cache.forget, (cache.add(), -1)),
            ("keep_first (-1)", cache.forget, (cache.add(), 0, -1)),
        ):
            with self.subTest(sentence):
                self.refused(sentence, function, *arguments)

    def test_what_was_forgotten_is_not_seen(self):
        cache = cache_of()
        sequence = cache.add()
        cache.append(K, V, cache.extend(sequence, TOKENS))
        cache.forget(sequence, 9)
        for window in (None, TOKENS - 8):
            self.refused("it was forgotten", cache.attention, Q[:1], [sequence], causal=True, window_left=window)
        numpy.testing.assert_array_equal(
            cache.attention(Q[:1, :1], [sequence], causal=True, window_left=14),
            heed.attention(Q[:1, :1], K[None], V[None], causal=True, window_left=14),
        )
        self.refused("which was forgotten", cache.fork, sequence, 7)
        self.refused("which was forgotten", cache.truncate, sequence, 7)

    def test_pages_without_memory_are_found(self):
        sequences = heed.PagedSequences(pages=6, page_tokens=4, sequences=3, prefixes=True)
        first, _ = sequences.begin(range(9))
        sequences.extend(first, 9)
        sequences.publish(first, range(9))
        second, found = sequences.begin(range(9))
        self.assertEqual((found, sequences.pages(second)), (8, sequences.pages(first)[:2]))
        sequences.forget(first, 5)
        self.assertEqual(sequences.pages(first)[0], heed.FORGOTTEN_PAGE)

    def test_pools_of_ones_own(self):
        sequences = heed.PagedSequences(pages=6, page_tokens=4, sequences=2)
        pools = heed.KvPages(numpy.zeros((6, 4, 2, 64), "f4"), numpy.zeros((6, 4, 2, 32), "f2"))
        first = sequences.add()
        slots, copy = sequences.extend(first, 6)
        self.assertEqual(copy.tokens, 0)
        heed.append(pools, K[:6], V[:6], slots)
        second = sequences.fork(first, 6)
        slots, copy = sequences.extend(second, 1)
        self.assertEqual((copy.source, copy.tokens), (sequences.pages(first)[1], 2))
        for pool in pools[:2]:
            pool[copy.target, : copy.tokens] = pool[copy.source, : copy.tokens]
        heed.append(pools, K[6:7], V[6:7], slots)
        out = heed.attention(Q[:1], *pools[:2], page_table=sequences.block_table([second]), key_lengths=[7])
        numpy.testing.assert_array_equal(out, heed.attention(Q[:1], K[None, :7], V[None, :7].astype("f2")))
        for sentence, arguments in (
            ("slots has 2 entries", (pools, K[:1], V[:1], [0, 1])),
            ("slots[0] (24)", (pools, K[:1], V[:1], [24])),
            ("k has 1 heads of 64; pages.k has 2 of 64", (pools, K[:1, :1], V[:1], [0])),
            ("v has 2 tokens; k has 1", (pools, K[:1], V[:2], [0])),
            ("pages.v has (6, 3, 2) pages", (pools._replace(v=pools.v[:, :3]), K[:1], V[:1], [0])),
            ("pages.k_scales must be given", (pools._replace(k=pools.k.astype("i1")), K[:1], V[:1], [0])),
            ("k has elements of float64", (pools, K[:1].astype("f8"), V[:1], [0])),
        ):
            with self.subTest(sentence):
                self.refused(sentence, heed.append, *arguments)

    def test_refusals(self):
        for sentence, options in (
            ("k_type ('f4')", {"k_type": "f4"}),
            ("pages (0)", {"pages": 0}),
            ("layout ('hbsd')", {"layout": "hbsd"}),
            ("k_zero_points", {"k_zero_points": True}),
            ("reach beyond", {"page_tokens": 1 << 40, "kv_heads": 1 << 40}),
        ):
            with self.subTest(sentence):
                self.refused(sentence, cache_of, **options)
        self.refused("out of memory", cache_of, pages=2**31 - 1, kind=heed.OutOfMemory)


if __name__ == "__main__":
    main()
