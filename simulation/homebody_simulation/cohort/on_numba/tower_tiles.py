"""Small matrix products whose sums stay in registers, written for LLVM's vectors.

A tile is one or four rows of 64 or 16 columns: its sums fill the vector registers while a loop runs
over the inner dimension, so each number that is loaded is used many times. numba's own loops would
keep the sums in memory. LLVM maps a vector of 16 to whatever the processor has. A sum adds its
terms in their order, whatever stands in other rows and columns: what one device gets never depends
on which devices are computed beside it.

Where a result goes to the lattice, it is truncated in the register and added to a table of
integers; the exact sum of their squares comes back, for the bound.

Each takes ``c, c_start, c_row, a, a_start, a_row, a_step, b, b_start, b_row, count, columns``:
contiguous arrays, where in each (flat) the rows start, and the distance from one row to the next,
of ``a`` also from one column to the next. ``count`` is the inner dimension; ``columns``, a multiple
of 16, are those of ``b`` and ``c``. ``a`` and ``b`` are float32.
"""

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

LANES: Final = 16
"""Columns of one vector: rows are padded to a multiple of them."""
WIDE: Final = 64
"""Columns of the wider tile, of which most of the work is done."""
TALL: Final = 4
"""Rows of a tile, unless it writes to the row of one item."""

_FLOAT = ir.FloatType()
_LONG = ir.IntType(64)
_FLOATS = ir.VectorType(_FLOAT, LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES)
_HALVES = ir.VectorType(_LONG, LANES // 2)
_CONTRACT: Final = ("contract",)  # a product and a sum may be fused, never reordered

Value = Any  # of llvmlite, which ships no types
Builder = Any
Kind = Any
Values = list[Any]
Place = Callable[[int, int, Any], Value]
Finish = Callable[[Any, Place, list[Values], Values], Values]


def _tiles(rows: int, finish: Finish, result: Kind, before: Values) -> Callable[..., Any]:
    """Return compiled code that forms a product tile by tile and hands the sums to ``finish``.

    ``finish`` also gets what it returned for the tile before, at first ``before``.
    """

    @intrinsic
    def tiles(  # noqa: PLR0913, PLR0917 - a matrix is an array, a start and its strides
        _context: Kind,
        c: Kind,
        c_start: Kind,
        c_row: Kind,
        a: Kind,
        a_start: Kind,
        a_row: Kind,
        a_step: Kind,
        b: Kind,
        b_start: Kind,
        b_row: Kind,
        count: Kind,
        columns: Kind,
    ) -> tuple[Kind, Callable[..., Value]]:
        del c_start, c_row, a_start, a_row, a_step, b_start, b_row, count, columns  # all int64
        two, three = (types.int64,) * 2, (types.int64,) * 3
        signature = result(c, *two, a, *three, b, *two, *two)

        def lower(context: Kind, builder: Builder, made: Kind, values: Value) -> Value:
            def data(index: int) -> Value:
                return context.make_array(made.args[index])(context, builder, values[index]).data

            c_data, a_data, b_data, state, lane = data(0), data(3), data(7), before, _long(0)
            for width in (WIDE, LANES):  # narrow tiles go on where the wide ones end

                def tile(first: Value, old: Values, lanes: int = width // LANES) -> Values:
                    c_first = builder.add(values[1], first)
                    b_first = builder.add(values[8], first)
                    inner = (*values[4:7], b_first, *values[9:11])
                    sums = _sums(builder, a_data, b_data, inner, [lanes] * rows)
                    return finish(
                        builder,
                        lambda row, vector, kind: _place(
                            builder, c_data, c_first, values[2], _long(row), vector, kind
                        ),
                        sums,
                        old,
                    )

                lane, state = _loop(builder, (lane, width, values[11]), state, tile)
            return state[0] if state else context.get_dummy_value()

        return signature, lower

    return tiles


def _loop(
    builder: Builder,
    places: tuple[Value, int, Value],
    carried: Values,
    body: Callable[[Value, Values], Values],
) -> tuple[Value, Values]:
    """Write a loop that carries values from one pass to the next.

    Args:
        builder: Where it is written.
        places: Where it starts, its step, and its end, which no step passes.
        carried: What the first pass gets.
        body: Writes a pass, from where it is and what it gets; returns what the next one gets.

    Returns:
        Where it ended, and what the last pass returned.
    """
    first, step, stop = places
    before = builder.block
    head, inside, done = (builder.append_basic_block(name) for name in ("head", "inside", "done"))
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(_LONG)
    states = [builder.phi(value.type) for value in carried]
    after = builder.add(index, _long(step))
    builder.cbranch(builder.icmp_signed("<=", after, stop), inside, done)
    builder.position_at_end(inside)
    found = body(index, states)
    for phi, old, new in zip((index, *states), (first, *carried), (after, *found), strict=True):
        phi.add_incoming(old, before)
        phi.add_incoming(new, builder.block)
    builder.branch(head)
    builder.position_at_end(done)
    return index, states


def _sums(
    builder: Builder, a: Value, b: Value, inner: tuple[Value, ...], lanes: list[int]
) -> list[Values]:
    """Write the loop over the inner dimension; return the sums, a vector each, by row."""
    a_start, a_row, a_step, b_start, b_row, count = inner

    def add(step: Value, sums: Values) -> Values:
        line = [
            builder.load(_place(builder, b, b_start, b_row, step, lane, _FLOATS), align=4)
            for lane in range(lanes[0])
        ]
        column = builder.add(a_start, builder.mul(step, a_step))
        found = []
        for row in range(len(lanes)):
            at = builder.add(column, builder.mul(a_row, _long(row)))
            factor = _spread(builder, builder.load(builder.gep(a, [at])))
            terms = [builder.fmul(factor, other, flags=_CONTRACT) for other in line]
            own = sums[row * lanes[0] : (row + 1) * lanes[0]]
            found += [
                builder.fadd(value, term, flags=_CONTRACT)
                for value, term in zip(own, terms, strict=True)
            ]
        return found

    zeros = [ir.Constant(_FLOATS, None)] * sum(lanes)
    _, sums = _loop(builder, (_long(0), 1, count), zeros, add)
    return [sums[row * lanes[0] : (row + 1) * lanes[0]] for row in range(len(lanes))]


def _store(builder: Builder, place: Place, sums: list[Values], _old: Values) -> Values:
    """Write ``c = sums``."""
    for row, own in enumerate(sums):
        for lane, value in enumerate(own):
            builder.store(value, place(row, lane, _FLOATS), align=4)
    return []


def _add(builder: Builder, place: Place, sums: list[Values], _old: Values) -> Values:
    """Write ``c += sums``."""
    for row, own in enumerate(sums):
        for lane, value in enumerate(own):
            at = place(row, lane, _FLOATS)
            builder.store(builder.fadd(builder.load(at, align=4), value), at, align=4)
    return []


def _add_units(builder: Builder, place: Place, sums: list[Values], old: Values) -> Values:
    """Write ``c += trunc(sums)``; add the squares of what was added to the old ones."""
    squares, half = ir.Constant(_HALVES, None), ir.Constant(_HALVES, [32] * (LANES // 2))
    for row, own in enumerate(sums):
        for lane, value in enumerate(own):
            at = place(row, lane, _INTS)
            units = builder.fptosi(value, _INTS)  # toward zero
            builder.store(builder.add(builder.load(at, align=4), units), at, align=4)
            pairs = builder.bitcast(units, _HALVES)  # two integers in one: no lane is moved
            for long in (builder.ashr(pairs, half), builder.ashr(builder.shl(pairs, half), half)):
                squares = builder.add(squares, builder.mul(long, long))
    name, kind = f"llvm.vector.reduce.add.v{LANES // 2}i64", ir.FunctionType(_LONG, [_HALVES])
    add_up = get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
    return [builder.add(old[0], builder.call(add_up, [squares]))]


def _place(
    builder: Builder, data: Value, start: Value, stride: Value, row: Value, lane: int, kind: Kind
) -> Value:
    """Return where a vector of a row lies."""
    first = builder.add(builder.add(start, builder.mul(stride, row)), _long(lane * LANES))
    return builder.bitcast(builder.gep(data, [first]), kind.as_pointer())


def _spread(builder: Builder, value: Value) -> Value:
    """Return a vector with the value in each lane."""
    none = ir.Constant(_FLOATS, ir.Undefined)
    one = builder.insert_element(none, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, none, ir.Constant(_INTS, None))


def _long(value: int) -> Value:
    return ir.Constant(_LONG, value)


product = _tiles(TALL, _store, types.void, [])
"""``c = a b`` of four rows, float32."""
add_product = _tiles(TALL, _add, types.void, [])
"""``c += a b`` of four rows, float32."""
units = _tiles(TALL, _add_units, types.int64, [_long(0)])
"""``c += trunc(a b)`` of four rows, ``c`` int32; returns the sum of squares of what it added."""
row_units = _tiles(1, _add_units, types.int64, [_long(0)])
"""The same of a single row."""
