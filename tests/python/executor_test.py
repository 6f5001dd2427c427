"""Executors: threads of heed's own, and those of a host that Python is."""

import concurrent.futures
import gc
import threading
import unittest
import weakref

from support import Refusals, main, need, random

numpy = need("numpy")
import heed
from heed import _library

Q, K, V = random(numpy, 2, 40, 8, 64), random(numpy, 2, 300, 2, 64, seed=2), random(numpy, 2, 300, 2, 64, seed=3)
X = random(numpy, 4000, 2, 64)
ROTARY = heed.Rotary(64, 4000)

#: Calls with an executor, each with the work of several workers.
CALLS = {
    "attention": lambda executor: heed.attention(Q, K, V, workers=4, executor=executor),
    "run": lambda executor: heed.Plan(Q, K, V, workers=4).run(Q, K, V, executor=executor),
    "weights": lambda executor: heed.attention_weights(Q, K, V, workers=4, executor=executor, entropy=True).entropy,
    "rotate": lambda executor: ROTARY.rotate(X, range(4000), workers=4, executor=executor),
    "normalise_heads": lambda executor: heed.normalise_heads(X, workers=4, executor=executor),
    "softmax": lambda executor: heed.softmax(X, workers=4, executor=executor),
    "convert": lambda executor: heed.convert(X, "f16", workers=4, executor=executor),
    "sample": lambda executor: heed.sample(X.reshape(-1, 64), seed=1, workers=4, executor=executor),
}
WANTED = {name: call(None) for name, call in CALLS.items()}


class Adopted(Refusals):
    def test_threads_of_a_pool(self):
        calls, where = [], set()

        with concurrent.futures.ThreadPoolExecutor(3) as pool:

            def spread(tasks, task):
                calls.append((tasks, threading.get_ident()))

                def note(index):
                    where.add(threading.get_ident())
                    task(index)

                list(pool.map(note, range(tasks)))

            executor = heed.Executor.adopt(3, spread)
            self.assertEqual(executor.threads, 3)
            for name, call in CALLS.items():
                with self.subTest(name):
                    calls.clear()
                    numpy.testing.assert_array_equal(call(executor), WANTED[name])
                    self.assertTrue(calls)
                    for tasks, thread in calls:
                        self.assertTrue(2 <= tasks <= 3)
                        self.assertEqual(thread, threading.get_ident())
        self.assertNotIn(threading.get_ident(), where)

    def test_work_is_done_by_the_host(self):
        """The first task takes all that there is while nobody else asks."""
        shares = []
        executor = heed.Executor.adopt(2, lambda tasks, task: (task(0), shares.append(OUT.copy())))
        OUT[...] = 0
        heed.softmax(X, out=OUT, workers=4, executor=executor)
        self.assertEqual(len(shares), 1)
        numpy.testing.assert_array_equal(shares[0], WANTED["softmax"])

    def test_promises_that_are_not_kept(self):
        for host in (
            lambda tasks, task: None,
            lambda tasks, task: task(0),
            lambda tasks, task: [task(i) for i in (-7, 1 << 30, 0, 0)],
        ):
            executor = heed.Executor.adopt(4, host)
            for name, call in CALLS.items():
                with self.subTest(name):
                    numpy.testing.assert_array_equal(call(executor), WANTED[name])

    def test_what_a_host_raises_is_raised(self):
        for error in (RuntimeError("no threads"), KeyboardInterrupt(), heed.Exhausted("pages")):

            def fail(tasks, task):
                raise error

            executor = heed.Executor.adopt(4, fail)
            for name, call in CALLS.items():
                with self.subTest(f"{name} {error!r}"):
                    with self.assertRaises(type(error)) as caught:
                        call(executor)
                    self.assertIs(caught.exception, error)
                    numpy.testing.assert_array_equal(call(None), WANTED[name])  # it is raised once
            OUT[...] = 0
            with self.assertRaises(type(error)):
                heed.softmax(X, out=OUT, workers=4, executor=executor)
            numpy.testing.assert_array_equal(OUT, WANTED["softmax"])

    def test_exceptions_stay_in_their_thread(self):
        _library.raise_kept()
        _library.keep_raised(RuntimeError("the first"))
        _library.keep_raised(RuntimeError("the second"))
        names = []
        other = threading.Thread(target=lambda: names.append(heed.chosen_isa()))
        other.start()
        other.join()
        with self.assertRaisesRegex(RuntimeError, "the first"):
            heed.chosen_isa()
        self.assertEqual(names, [heed.chosen_isa()])

    def test_a_late_task_finds_nothing(self):
        tasks = []
        executor = heed.Executor.adopt(4, lambda count, task: tasks.append(task))
        heed.softmax(X, workers=4, executor=executor)
        alive = weakref.ref(executor)
        del executor
        gc.collect()
        self.assertIsNotNone(alive())
        for _ in range(3):
            tasks[0](0)
        tasks.clear()
        self.assertIsNone(alive())  # there is no cycle that the collector had to find

    def test_calls_of_heed_within_one(self):
        within = []

        def spread(tasks, task):
            within.append(
                heed.log_sum_exp(X, workers=4, executor=heed.Executor.adopt(2, lambda count, inner: inner(1)))
            )
            task(0)

        executor = heed.Executor.adopt(4, spread)
        numpy.testing.assert_array_equal(heed.softmax(X, workers=4, executor=executor), WANTED["softmax"])
        numpy.testing.assert_array_equal(within[0], heed.log_sum_exp(X))

    def test_refusals(self):
        for sentence, arguments in (
            ("threads (0) must be 1 or more", (0, print)),
            ("threads (2147483648)", (1 << 31, print)),
            ("threads ('two') must be an integer", ("two", print)),
            ("parallel_for (5) must be callable", (2, 5)),
            ("parallel_for (None) must be callable", (2, None)),
        ):
            with self.subTest(sentence):
                self.refused(sentence, heed.Executor.adopt, *arguments)
        caught = []

        def spread(tasks, task):
            try:
                task("first")
            except heed.InvalidArgument as error:
                caught.append(str(error))

        heed.softmax(X, workers=4, executor=heed.Executor.adopt(2, spread))
        self.assertEqual(caught, ["index ('first') must be an integer"])


OUT = numpy.zeros_like(X)


class Own(unittest.TestCase):
    def test_bits(self):
        executor = heed.Executor(3)
        self.assertIn(executor.threads, (1, 2, 3))
        for name, call in CALLS.items():
            with self.subTest(name):
                numpy.testing.assert_array_equal(call(executor), WANTED[name])


if __name__ == "__main__":
    main()
