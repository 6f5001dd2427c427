"""Plans, the memory that they run in, threads, and runs."""

from __future__ import annotations

import ctypes
import weakref
from ctypes import c_char_p, c_int, c_int64, c_size_t, c_void_p
from typing import Any, Callable, NamedTuple, Sequence

from . import _structs as c
from ._bind import Modifiers, PageTable, ZeroPoints, bind
from ._describe import describe
from ._library import Handle, address, check, failure, keep_raised, lib, make, raise_kept, text_of
from ._options import Options, whole, word
from ._tensors import ELEMENT_TYPES, View, Views, contiguous, element_type, look, read, read_output
from .errors import InvalidArgument


class _Task:
    """What a host's parallel_for is given to call. It keeps the executor alive, so that late calls find it."""

    __slots__ = ("_function", "_argument", "_executor")

    def __init__(self, function: Any, argument: int | None, executor: Executor | None) -> None:
        self._function, self._argument, self._executor = function, argument, executor

    def __call__(self, index: int) -> None:
        self._function(self._argument, whole("index", index, 32))


class Executor(Handle):
    """Threads for runs and for all other functions that take an `executor`: heed's own, or those that adopt is given.

    Without one, work runs where heed.thread_library says. One executor serves many threads at once.
    """

    __slots__ = ("_callback",)
    _name = "executor"
    _callback: Any  #: what C calls, as long as the executor is there

    def __init__(self, threads: int) -> None:
        """Starts `threads` ≥ 1 threads, the calling one included."""
        super().__init__(whole("threads", threads, 32))

    @classmethod
    def adopt(cls, threads: int, parallel_for: Callable[[int, Callable[[int], None]], Any]) -> Executor:
        """An executor of a host's threads, of which there are `threads` ≥ 1.

        heed calls parallel_for(tasks, task) on the thread that called heed, with `tasks` from 2 to `threads`. The
        host calls task(i) for i = 0 … tasks − 1, from any of its threads, and returns when these calls have, as
        `lambda tasks, task: list(pool.map(task, range(tasks)))` does with a pool of concurrent.futures; a task
        releases Python's lock. Results do not depend on what the host keeps of this: the thread that called heed does
        what is left. What parallel_for raises the call of heed raises, once all work is done and outputs are written.
        """
        if not callable(parallel_for):
            raise InvalidArgument(f"parallel_for ({parallel_for!r}) must be callable")
        executor = cls.__new__(cls)
        mine = weakref.ref(executor)  # whoever calls heed holds it

        def call(context: int | None, tasks: int, function: Any, argument: int | None) -> None:
            try:
                parallel_for(tasks, _Task(function, argument, mine()))
            except BaseException as error:
                keep_raised(error)

        raise_kept()
        executor._callback = c.heed_parallel_for_function(call)
        handle = c_void_p()
        check(lib.heed_executor_adopt(whole("threads", threads, 32), executor._callback, None, ctypes.byref(handle)))
        executor._handle = handle.value
        return executor

    @property
    def threads(self) -> int:
        """The threads that there are, which can be fewer than were asked for."""
        return self._number("threads", c_int)


class Workspace(Handle):
    """The memory that a run works in: one for each run at a time. It grows as runs need it, and never shrinks."""

    __slots__ = ("_bytes",)
    _name = "workspace"

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def reserve(self, plan: Plan) -> None:
        """Makes room for a plan; allocates only where there is too little."""
        check(lib.heed_workspace_reserve(self._handle, plan._handle))
        self._bytes = self.bytes

    @property
    def bytes(self) -> int:
        return self._number("bytes", c_size_t)


class StateShape(NamedTuple):
    """How many partial states a plan's run has."""

    partitions: int
    rows: int
    value_head_dim: int


class Forecast(NamedTuple):
    """What a plan will cost on its workers, in multiply-adds of one lane; only ratios of costs mean anything."""

    items: int  #: pieces of work that a worker takes as a whole
    splits: int  #: ranges of keys whose parts are merged
    work: float  #: of all rows, if none were split
    longest: float  #: the most that one item costs
    makespan: float  #: when the last worker is done


class _Runner:
    """The struct of a run's tensors with the types of a plan; kept with the plan, one for each run at a time."""

    __slots__ = ("struct", "address", "q", "k", "v", "out")

    def __init__(self, config: c.heed_attention_config) -> None:
        self.struct = make(c.heed_attention_tensors)
        self.address = ctypes.addressof(self.struct)
        # These look into the struct.
        self.q, self.k, self.v, self.out = self.struct.q, self.struct.k, self.struct.v, self.struct.out
        self.q.type, self.k.type = config.q_type, config.k_type
        self.v.type, self.out.type = config.v_type, config.out_type


def run_options(executor: Executor | None, workers: int, isa: str | None) -> c.heed_run_options:
    """How a function without a plan is computed."""
    return make(
        c.heed_run_options,
        isa=word("isa", isa),
        workers=whole("workers", workers, 32),
        executor=executor and executor._handle,
    )


#: What a plan runs in where the caller brings nothing: those that no run uses now.
spare_workspaces: list[Workspace] = []


class Plan(Handle):
    """A validated, cut and ordered piece of work, to be run on any tensors of the shapes that it was made from.

    It does not know the tensors' addresses, so that one plan serves all layers of a model, and several threads at
    once, each with a workspace of its own. A warm plan allocates nothing but Python's own small objects, where `out`
    and `workspace` are given.
    """

    __slots__ = ("_d", "_like", "_runners", "_bytes", "_accepted", "_empty")
    _name = "plan"

    def __init__(
        self,
        q: Any,
        k: Any,
        v: Any,
        *,
        out: Any = None,
        lse: Any = None,
        k_scales: Any = None,
        v_scales: Any = None,
        mask: Any = None,
        key_lists: Any = None,
        **options: Any,
    ) -> None:
        """Plans attention of tensors like these, of which the shapes, strides and types are looked at.

        `out` and `lse` matter where runs write to tensors with gaps. `options` are those of heed.attention, from
        `layout` to `item_rows`; `paged` says that k and v are pools of pages, whose table each run is given.
        """
        super().__init__()
        self._plan(read_all(q, k, v, out, lse, k_scales, v_scales), Options(**options).hashable(), mask, key_lists)

    @classmethod
    def _of(cls, views: Views, options: Options, mask: Any, key_lists: Any) -> Plan:
        """A plan of views that were read already."""
        plan = cls.__new__(cls)
        Handle.__init__(plan)
        plan._plan(views, options, mask, key_lists)
        return plan

    def update(
        self,
        q: Any,
        k: Any,
        v: Any,
        *,
        out: Any = None,
        lse: Any = None,
        k_scales: Any = None,
        v_scales: Any = None,
        mask: Any = None,
        key_lists: Any = None,
        **options: Any,
    ) -> None:
        """Plans other shapes in the memory of this plan, which stays as it was where they are refused.

        No other thread may use the plan meanwhile.
        """
        self._plan(read_all(q, k, v, out, lse, k_scales, v_scales), Options(**options).hashable(), mask, key_lists)

    def _plan(self, views: Views, options: Options, mask: Any, key_lists: Any) -> None:
        d = describe(views, options, mask, key_lists)
        check(lib.heed_plan_attention(address(d.config), address(d.batch), address(d.options), self._handle))
        self._d = d
        self._like = self._looks(views)
        self._runners: list[_Runner] = []
        self._bytes = self.workspace_bytes
        self._accepted: tuple | None = None
        self._empty = (views[3] or views[0])[3].empty

    # --- What it says of itself

    def describe(self) -> str:
        """In words: the instruction set, tiles, items, splits, workers, bytes."""
        return text_of(lib.heed_plan_describe, self._handle)

    @property
    def isa(self) -> str:
        """The name of its instruction set."""
        return self._number("isa", c_char_p).decode()

    @property
    def workers(self) -> int:
        """The largest number of workers of a run."""
        return self._number("workers", c_int)

    @property
    def workspace_bytes(self) -> int:
        """What a workspace must hold for it."""
        return self._number("workspace_bytes", c_size_t)

    @property
    def visible_scores(self) -> int:
        """Scores that masks leave visible, over all heads."""
        return self._number("visible_scores", c_int64)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The shape of outputs."""
        return self._d.out_shape

    @property
    def lse_shape(self) -> tuple[int, ...]:
        """The shape of the log-sum-exp: [batch, heads, tokens], or [heads, tokens] of tensors without a batch."""
        return self._d.lse_shape

    @property
    def state_shape(self) -> StateShape:
        """The partial states of a run."""
        shape = c.heed_state_shape()
        check(lib.heed_get_state_shape(self._handle, address(shape)))
        return StateShape(shape.partitions, shape.rows, shape.value_head_dim)

    def forecast(self) -> Forecast:
        """Simulates the plan's workers, which need not be there: `workers` of a plan may be any number."""
        told = make(c.heed_forecast)
        check(lib.heed_get_forecast(self._handle, address(told)))
        return Forecast(told.items, told.splits, told.work, told.longest, told.makespan)

    # --- Runs

    def run(
        self,
        q: Any,
        k: Any,
        v: Any,
        *,
        out: Any = None,
        lse: Any = None,
        softcap: float = 0.0,
        alibi_slopes: Any = None,
        bias: Any = None,
        sinks: Any = None,
        temperatures: Any = None,
        k_scales: Any = None,
        v_scales: Any = None,
        k_zero_points: Any = None,
        v_zero_points: Any = None,
        page_table: Any = None,
        page_indptr: Any = None,
        executor: Executor | None = None,
        workspace: Workspace | None = None,
    ) -> Any:
        """Runs the plan on tensors like those that it was made from; everything is as in heed.attention."""
        views = read_all(q, k, v, out, None if lse is True else lse, k_scales, v_scales)
        self._accept(views)
        keep: list = []
        runner = self._runner()
        bound = bind(
            self._d,
            runner.struct,
            views,
            Modifiers(softcap, alibi_slopes, bias, sinks, temperatures),
            ZeroPoints(k_zero_points, v_zero_points),
            PageTable(page_table, page_indptr),
            keep,
        )
        return self._finish(runner, views, out, lse, executor, workspace, bound)

    def _finish(
        self,
        runner: _Runner,
        views: tuple,
        out: Any,
        lse: Any,
        executor: Executor | None,
        workspace: Workspace | None,
        bound: bool,
    ) -> Any:
        """The run itself, once everything but the tensors is bound."""
        target = views[3]
        if target is None:
            out = self._make_out()
            target = read(out, "out")
        target_lse = views[4]
        if lse is True:
            lse = self._empty(self._d.lse_shape, "f32")
            target_lse = read(lse, "lse")
        runner.q.data, runner.k.data, runner.v.data = views[0][0], views[1][0], views[2][0]
        runner.out.data = target[0]
        runner.struct.lse = None if target_lse is None else target_lse[0]
        mine = workspace or take_workspace()
        if mine._bytes < self._bytes:
            mine.reserve(self)
        status = lib.heed_run(self._handle, runner.address, mine._handle, executor and executor._handle)
        if status:
            raise failure(status)
        if workspace is None:
            spare_workspaces.append(mine)
        if not bound:
            self._runners.append(runner)
        return out if lse is None else (out, lse)

    def _tensors(
        self, views: tuple, modifiers: Modifiers, zero_points: ZeroPoints, table: PageTable, keep: list
    ) -> c.heed_attention_tensors:
        """The struct of inputs for calls that are no runs; outputs are null."""
        runner = _Runner(self._d.config)
        runner.q.data, runner.k.data, runner.v.data = views[0][0], views[1][0], views[2][0]
        bind(self._d, runner.struct, views, modifiers, zero_points, table, keep)
        return runner.struct

    def _make_out(self) -> Any:
        """An output of the library of q."""
        return self._empty(self._d.out_shape, self._d.out_type.name)

    def _runner(self) -> _Runner:
        try:
            return self._runners.pop()
        except IndexError:
            return _Runner(self._d.config)

    def _accept(self, views: Views) -> None:
        """Refuses tensors that are not like those of the plan. What was accepted last is accepted at a glance."""
        q, k, v, out = views[:4]
        glance = (
            q[1],
            q[2],
            q[3],
            k[1],
            k[2],
            k[3],
            v[1],
            v[2],
            v[3],
            None if out is None else (out[1], out[2], out[3]),
            *views[4:],
        )
        if glance == self._accepted:
            return
        self._compare(views, _NAMES if views[4] is not None else tuple(name for name in _NAMES if name != "lse"))
        self._accepted = glance if views[4:] == (None, None, None) else None

    def _accept_inputs(self, views: Views) -> None:
        """The same where outputs are not those of the plan."""
        self._compare(views, ("q", "k", "v", "k_scales", "v_scales"))

    def _accept_outputs(self, out: View, lse: View | None) -> None:
        """Refuses outputs that are not like those of the plan."""
        self._compare((None, None, None, out, lse, None, None), ("out",) if lse is None else ("out", "lse"))

    def _compare(self, views: Views, names: Sequence[str]) -> None:
        """Refuses tensors of these names that are not like those of the plan."""
        for name, got, wanted in zip(_NAMES, self._looks(views), self._like):
            if got == wanted or name not in names:
                continue
            if got is None or wanted is None:
                raise InvalidArgument(
                    f"{name} must {'' if got is None else 'not '}be given: the plan was made "
                    f"{'with' if got is None else 'without'} them"
                )
            raise InvalidArgument(
                f"{name} has shape {got[0]}, strides {got[1]} in bytes and elements of {got[2]}; the "
                f"plan is for {wanted[0]}, {wanted[1]} and {wanted[2]}"
            )

    def _looks(self, views: Views) -> tuple[tuple | None, ...]:
        """Shapes, strides in bytes and elements; outputs that are not given have no gaps."""
        d = self._d
        looks: list[tuple | None] = []
        for name, view in zip(_NAMES, views):
            if name in ("out", "lse"):
                dtype = d.out_type if name == "out" else ELEMENT_TYPES["f32"]
                shape = d.out_shape if name == "out" else d.lse_shape
                if view is None:
                    looks.append(look(shape, contiguous(shape, dtype.block_bytes), 1, dtype.name))
                else:
                    held = element_type(view, None if view[3].dtype else dtype.name, name)
                    looks.append(look(view[1], view[2], view[3].unit, held.name))
            else:
                looks.append(view and look(view[1], view[2], view[3].unit, view[3].element))
        return tuple(looks)


_NAMES = ("q", "k", "v", "out", "lse", "k_scales", "v_scales")


def read_all(q: Any, k: Any, v: Any, out: Any, lse: Any, k_scales: Any, v_scales: Any) -> Views:
    return (
        read(q, "q"),
        read(k, "k"),
        read(v, "v"),
        None if out is None else read_output(out, "out"),
        None if lse is None else read_output(lse, "lse"),
        None if k_scales is None else read(k_scales, "k_scales"),
        None if v_scales is None else read(v_scales, "v_scales"),
    )


def take_workspace() -> Workspace:
    """One that no run uses; whoever takes it puts it back."""
    try:
        return spare_workspaces.pop()
    except IndexError:
        return Workspace()
