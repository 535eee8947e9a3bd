"""Rows of a table held in vector registers while compiled code works on them.

A ``Width`` is a number the compiler knows: with it, a row of an array is one value, its loops are
unrolled to the processor's vectors, and nothing of it goes through memory. That is what a compiler
of C makes of a loop over a constant; numba's own loops over arrays reload a row from memory
wherever another array is written, since it cannot tell that the two do not overlap.

Every operation rounds as it is written, in one order, whatever it is inlined into: code fresh from
the compiler and code kept on disk, which are not the same, give the same bits.

All of these are called from compiled code alone. Indices are not checked.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import OpaqueModel, PrimitiveModel
from numba.extending import (
    NativeValue,
    intrinsic,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np.arrayobj import make_array

Native: TypeAlias = Any
"""What numba and llvmlite hand over and take back; they have no types for it."""

_ELEMENTS: Final = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int32: ir.IntType(32),
}
_INDEX: Final = ir.IntType(32)
_LINE: Final = 64  # bytes of a cache line
_LANES: Final = 16  # sums of a row's entries: of float32 a vector of the widest processors


class Width:
    """Number of entries of a row, of which compiled code is made anew for each.

    Args:
        entries: At least 1.
    """

    __slots__ = ("entries",)

    def __init__(self, entries: int) -> None:
        """Keep the number."""
        if entries < 1:
            raise ValueError(f"entries must be at least 1, got {entries}")
        self.entries = entries


class WidthType(types.Type):
    """Type of a ``Width``: it holds the number, so that a value need not."""

    def __init__(self, entries: int) -> None:
        """Name the type by the number."""
        self.entries = entries
        super().__init__(name=f"Width({entries})")


class RowType(types.Type):
    """Type of a row: float32, float64 or int32 entries in registers."""

    def __init__(self, dtype: Native, entries: int) -> None:
        """Name the type by dtype and number of entries."""
        self.dtype, self.entries = dtype, entries
        super().__init__(name=f"Row({dtype}, {entries})")


register_model(WidthType)(OpaqueModel)


@register_model(RowType)
class _RowModel(PrimitiveModel):
    """A row is an LLVM vector."""

    def __init__(self, manager: Native, row: RowType) -> None:
        super().__init__(manager, row, _vector(row))


@typeof_impl.register(Width)
def _typeof_width(width: Width, _context: object) -> WidthType:
    return WidthType(width.entries)


@unbox(WidthType)
def _unbox_width(_type: WidthType, _object: object, context: Native) -> NativeValue:
    return NativeValue(context.context.get_dummy_value())


Lower: TypeAlias = Callable[[Native, Native, Native, Native], Native]
Typed: TypeAlias = tuple[Native, Lower]


def _operation(typed: Callable[..., Typed]) -> Callable[..., Native]:
    """Make an operation of compiled code out of what types and lowers it."""
    operation: Callable[..., Native] = intrinsic(typed)
    return operation


def _vector(row: RowType) -> ir.VectorType:
    return ir.VectorType(_ELEMENTS[row.dtype], row.entries)


def _pointer(context: Native, builder: Native, sig: Native, args: Native, entries: int) -> Native:
    """Return the address of row ``args[1]`` of the array ``args[0]``."""
    data = make_array(sig.args[0])(context, builder, args[0]).data
    return builder.gep(data, [builder.mul(args[1], ir.Constant(args[1].type, entries))])


def _splat(builder: Native, value: Native, entries: int) -> Native:
    empty = ir.Constant(ir.VectorType(value.type, entries), ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(_INDEX, 0))
    mask = ir.Constant(ir.VectorType(_INDEX, entries), [0] * entries)
    return builder.shuffle_vector(first, empty, mask)


def _pick(builder: Native, row: Native, entries: Iterable[int]) -> Native:
    """Return some entries of a row; one past its end is zero."""
    none = ir.Constant(row.type, [0.0] * row.type.count)
    chosen = [min(entry, row.type.count) for entry in entries]
    mask = ir.Constant(ir.VectorType(_INDEX, len(chosen)), chosen)
    return builder.shuffle_vector(row, none, mask)


def _parts(builder: Native, row: Native) -> list[Native]:
    """Return a row in parts of ``_LANES`` entries, or of a smaller power of two that it fits."""
    entries = row.type.count
    lanes = min(_LANES, 1 << (entries - 1).bit_length())
    return [_pick(builder, row, range(start, start + lanes)) for start in range(0, entries, lanes)]


def _added_up(builder: Native, lanes: Native) -> Native:
    """Return the sum of lanes: the upper half is added to the lower until one is left."""
    while lanes.type.count > 1:
        half = lanes.type.count // 2
        lower = _pick(builder, lanes, range(half))
        lanes = builder.fadd(lower, _pick(builder, lanes, range(half, 2 * half)))
    return builder.extract_element(lanes, _INDEX(0))


def _call(builder: Native, name: str, result: Native, args: list[Native]) -> Native:
    """Call an operation of LLVM on vectors, of the type of the last argument."""
    vector = args[-1].type
    bits = 32 if vector.element == ir.FloatType() else 64
    kind = ir.FunctionType(result, [argument.type for argument in args])
    full = f"llvm.{name}.v{vector.count}f{bits}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, full), args)


@_operation
def load(_context: object, array: Native, _index: Native, width: Native) -> Typed:
    """Return row ``index`` of a two-dimensional array whose rows have ``width`` entries."""
    row = RowType(array.dtype, width.entries)

    def lower(context: Native, builder: Native, sig: Native, args: Native) -> Native:
        pointer = _pointer(context, builder, sig, args, row.entries)
        return builder.load(builder.bitcast(pointer, _vector(row).as_pointer()), align=4)

    return row(array, types.uint64, width), lower


@_operation
def store(_context: object, array: Native, _index: Native, row: Native) -> Typed:
    """Write a row to place ``index`` of an array of rows."""

    def lower(context: Native, builder: Native, sig: Native, args: Native) -> Native:
        pointer = _pointer(context, builder, sig, args, row.entries)
        builder.store(args[2], builder.bitcast(pointer, args[2].type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, types.uint64, row), lower


@_operation
def fetch(_context: object, array: Native, _index: Native, width: Native) -> Typed:
    """Ask for row ``index`` of an array of 4-byte entries to be near when it is loaded."""
    entries = width.entries
    byte = ir.IntType(8).as_pointer()

    def lower(context: Native, builder: Native, sig: Native, args: Native) -> Native:
        pointer = _pointer(context, builder, sig, args, entries)
        kind = ir.FunctionType(ir.VoidType(), [byte, _INDEX, _INDEX, _INDEX])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        for entry in range(0, entries, _LINE // 4):
            place = builder.bitcast(builder.gep(pointer, [ir.Constant(_INDEX, entry)]), byte)
            builder.call(function, [place, _INDEX(0), _INDEX(3), _INDEX(1)])  # read, keep, data
        return context.get_dummy_value()

    return types.void(array, types.uint64, width), lower


def _zeros(dtype: Native, width: WidthType) -> Typed:
    row = RowType(dtype, width.entries)

    def lower(_context: Native, _builder: Native, _sig: Native, _args: Native) -> Native:
        return ir.Constant(_vector(row), [0.0] * row.entries)

    return row(width), lower


@_operation
def zeros(_context: object, width: Native) -> Typed:
    """Return a row of zeros in float32."""
    return _zeros(types.float32, width)


@_operation
def zeros_64(_context: object, width: Native) -> Typed:
    """Return a row of zeros in float64."""
    return _zeros(types.float64, width)


@_operation
def dot(_context: object, one: Native, other: Native) -> Typed:
    """Return the dot product of two rows of the same floating type, in an order of its own."""

    def lower(_context: Native, builder: Native, _sig: Native, args: Native) -> Native:
        ones, others = (_parts(builder, row) for row in args)
        lanes = builder.fmul(ones[0], others[0])
        for part, with_part in zip(ones[1:], others[1:], strict=True):
            lanes = _call(builder, "fma", lanes.type, [part, with_part, lanes])
        return _added_up(builder, lanes)

    return one.dtype(one, other), lower


@_operation
def plus_times(_context: object, row: Native, _factor: Native, other: Native) -> Typed:
    """Return ``row + factor * other``, rounded once; the factor is a number of the row's type."""

    def lower(_context: Native, builder: Native, _sig: Native, args: Native) -> Native:
        factors = _splat(builder, args[1], row.entries)
        return _call(builder, "fma", args[0].type, [factors, args[2], args[0]])

    return row(row, row.dtype, other), lower


@_operation
def plus_product(_context: object, row: Native, one: Native, other: Native) -> Typed:
    """Return ``row + one * other``, entry by entry, each rounded once."""

    def lower(_context: Native, builder: Native, _sig: Native, args: Native) -> Native:
        return _call(builder, "fma", args[0].type, [args[1], args[2], args[0]])

    return row(row, one, other), lower


@_operation
def total(_context: object, row: Native) -> Typed:
    """Return the sum of the entries of a row of a floating type, in an order of its own."""

    def lower(_context: Native, builder: Native, _sig: Native, args: Native) -> Native:
        first, *rest = _parts(builder, args[0])
        for part in rest:
            first = builder.fadd(first, part)
        return _added_up(builder, first)

    return row.dtype(row), lower


@_operation
def fused(_context: object, one: Native, other: Native, addend: Native) -> Typed:
    """Return ``one * other + addend`` of numbers of the same floating type, rounded once."""

    def lower(_context: Native, builder: Native, _sig: Native, args: Native) -> Native:
        return builder.fma(*args)

    return addend(one, other, addend), lower


@_operation
def widened(_context: object, row: Native) -> Typed:
    """Return a row of float32 or int32 in float64."""
    wide = RowType(types.float64, row.entries)

    def lower(_context: Native, builder: Native, _sig: Native, args: Native) -> Native:
        extend = builder.sitofp if row.dtype == types.int32 else builder.fpext
        return extend(args[0], _vector(wide))

    return wide(row), lower


@_operation
def narrowed(_context: object, row: Native) -> Typed:
    """Return a row of float64 or int32 rounded to float32."""
    narrow = RowType(types.float32, row.entries)

    def lower(_context: Native, builder: Native, _sig: Native, args: Native) -> Native:
        shorten = builder.sitofp if row.dtype == types.int32 else builder.fptrunc
        return shorten(args[0], _vector(narrow))

    return narrow(row), lower


@_operation
def truncated(_context: object, row: Native) -> Typed:
    """Return a row of float32 truncated to int32; the caller knows that it is finite."""
    whole = RowType(types.int32, row.entries)

    def lower(_context: Native, builder: Native, _sig: Native, args: Native) -> Native:
        return builder.fptosi(args[0], _vector(whole))

    return whole(row), lower


@_operation
def added(_context: object, one: Native, other: Native) -> Typed:
    """Return the sum of two rows of int32."""

    def lower(_context: Native, builder: Native, _sig: Native, args: Native) -> Native:
        return builder.add(args[0], args[1])

    return one(one, other), lower


@_operation
def taken(_context: object, one: Native, other: Native) -> Typed:
    """Return the first of two rows of int32 less the second."""

    def lower(_context: Native, builder: Native, _sig: Native, args: Native) -> Native:
        return builder.sub(args[0], args[1])

    return one(one, other), lower


@_operation
def two_to(_context: object, _exponent: Native) -> Typed:
    """Return 2 to an int32 of -126..127, in float32."""

    def lower(_context: Native, builder: Native, _sig: Native, args: Native) -> Native:
        biased = builder.add(args[0], _INDEX(127))
        return builder.bitcast(builder.shl(biased, _INDEX(23)), ir.FloatType())

    return types.float32(types.int32), lower
