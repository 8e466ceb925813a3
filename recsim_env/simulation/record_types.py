"""Records whose arrays have sizes that are known at run time only, for compiled code.

NumPy's structured arrays hold the data. Numba would compile once for each of their layouts; here compiled code sees the
bytes of the array and a `layout`, offsets and sizes of the array fields, and is compiled once. The scalar fields of a
kind come first, at offsets that are the same for all sizes.

In compiled code `kind(bytes, layout)` gives an array of records: `records[n].field` reads or assigns a scalar, or is an
array without a copy, `records[n] = other[m]` copies a record of the same kind and layout, and `len(records)` is their
number. With the compiler switched off these are NumPy's recarrays.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import config as numba_config
from numba import from_dtype, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_global
from numba.extending import (
    infer_getattr,
    lower_builtin,
    lower_getattr_generic,
    lower_setattr_generic,
    models,
    register_model,
    type_callable,
)
from numba.np.arrayobj import make_array, populate_array

from recsim_env.config import unknown_name


class RecordKind:
    """One kind of record.

    Args:
        name: for messages of the compiler.
        scalars: (name, dtype) of the scalar fields, whose offsets are the same for all sizes.
        arrays: (name, dtype, sizes) of the array fields; a size is a number, or the name of one known at run time.
        is_read_only: compiled code that assigns to a field is refused.
    """

    def __init__(
        self,
        name: str,
        scalars: Sequence[tuple[str, str]],
        arrays: Sequence[tuple[str, str, tuple[str | int, ...]]] = (),
        is_read_only: bool = False,
    ) -> None:
        self.name, self._scalars, self._arrays, self.is_read_only = name, scalars, arrays, is_read_only
        self.head = np.dtype([*scalars], align=True)
        self.array_types = {
            name: types.Array(from_dtype(np.dtype(dtype)), len(sizes), "C", readonly=is_read_only)
            for name, dtype, sizes in arrays
        }
        self.positions: dict[str, int] = {}
        self.layout_length = 0
        for name, _, sizes in arrays:
            self.positions[name] = self.layout_length
            self.layout_length += 1 + len(sizes)

    def dtype(self, numbers: Mapping[str, int]) -> np.dtype:
        """The structured dtype, given the sizes that have names."""
        arrays: list[Any] = [
            (name, dtype, tuple(numbers[size] if isinstance(size, str) else size for size in sizes))
            for name, dtype, sizes in self._arrays
        ]
        return np.dtype([*self._scalars, *arrays], align=True)

    def layout(self, dtype: np.dtype) -> np.ndarray:
        """[layout_length] int64: of each array field the offset in bytes and the sizes."""
        fields: Any = dtype.fields
        return np.array([n for name in self.array_types for n in (fields[name][1], *dtype[name].shape)], np.int64)

    def __call__(self, data: np.ndarray, layout: np.ndarray) -> Any:
        """The records in `as_bytes(records)`: in compiled code an array of records, in Python `data` itself."""
        return data

    def make_compilable(self, layout_start: int) -> None:
        """Let compiled code call this kind, with a layout in which this kind's begins at `layout_start`."""
        self.positions = {name: layout_start + position for name, position in self.positions.items()}
        type_callable(self)(lambda context: lambda data, layout: RecordsType(self))
        lower_builtin(self, types.Array, types.Array)(_make_records)


def as_bytes(records: np.ndarray) -> np.ndarray:
    """Records as compiled code takes them: [n, bytes] uint8, a view. With the compiler switched off, a recarray."""
    if numba_config.DISABLE_JIT:
        return records.view(np.recarray)
    return records.view(np.uint8).reshape(len(records), records.dtype.itemsize)


class RecordType(types.Type):
    """Type of one record in compiled code."""

    mutable = True

    def __init__(self, kind: RecordKind) -> None:
        self.kind = kind
        super().__init__(name=f"Record({kind.name})")


class RecordsType(types.Type):
    """Type of an array of records in compiled code."""

    def __init__(self, kind: RecordKind) -> None:
        self.kind = kind
        super().__init__(name=f"Records({kind.name})")


_LAYOUT = types.CPointer(types.int64)


@register_model(RecordType)
class _RecordModel(models.StructModel):
    def __init__(self, manager, record_type):
        super().__init__(manager, record_type, [("data", types.voidptr), ("layout", _LAYOUT)])


@register_model(RecordsType)
class _RecordsModel(models.StructModel):
    def __init__(self, manager, records_type):
        members = [("data", types.voidptr), ("layout", _LAYOUT), ("count", types.intp), ("stride", types.intp)]
        super().__init__(manager, records_type, members)


def _struct(context, builder, struct_type, value=None):
    return cgutils.create_struct_proxy(struct_type)(context, builder, value=value)


def _pointer(builder, data, offset, value_type):
    return builder.bitcast(builder.gep(data, [offset]), value_type.as_pointer())


def _make_records(context, builder, sig, args):
    data, layout = (make_array(kind)(context, builder, value) for kind, value in zip(sig.args, args, strict=True))
    records = _struct(context, builder, sig.return_type)
    records.data, records.layout = data.data, layout.data
    records.count, records.stride = cgutils.unpack_tuple(builder, data.shape, 2)
    return records._getvalue()


@infer_getattr
class _RecordAttributes(AttributeTemplate):
    key = RecordType

    def generic_resolve(self, record_type, name):
        kind = record_type.kind
        if name in kind.array_types:
            return kind.array_types[name]
        if name not in kind.head.fields:
            raise TypingError(f"{kind.name}.{name}: {unknown_name(name, (*kind.head.fields, *kind.array_types))}")
        return from_dtype(kind.head.fields[name][0])


def _scalar_pointer(context, builder, kind, data, name):
    """Type of a scalar field, and pointer to it."""
    dtype, offset = kind.head.fields[name][:2]
    field_type = from_dtype(dtype)
    offset = context.get_constant(types.intp, offset)
    return field_type, _pointer(builder, data, offset, context.get_data_type(field_type))


@lower_getattr_generic(RecordType)
def _get_field(context, builder, record_type, value, name):
    kind, record = record_type.kind, _struct(context, builder, record_type, value)
    if name not in kind.array_types:
        return context.unpack_value(builder, *_scalar_pointer(context, builder, kind, record.data, name))
    array_type = kind.array_types[name]
    offset, *shape = (
        _layout_number(context, builder, record.layout, kind.positions[name] + k) for k in range(1 + array_type.ndim)
    )
    array = make_array(array_type)(context, builder)
    itemsize = context.get_constant(types.intp, np.dtype(str(array_type.dtype)).itemsize)
    strides = [itemsize]
    for size in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], size))
    data = _pointer(builder, record.data, offset, context.get_data_type(array_type.dtype))
    populate_array(array, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
    return array._getvalue()


def _layout_number(context, builder, layout, position):
    number = builder.load(builder.gep(layout, [context.get_constant(types.intp, position)]))
    number.set_metadata("invariant.load", builder.module.add_metadata([]))  # it can be read before a loop
    return number


@lower_setattr_generic(RecordType)
def _set_field(context, builder, sig, args, name):
    (record_type, value_type), (value, new) = sig.args, args
    if record_type.kind.is_read_only:
        raise TypingError(f"{record_type.kind.name}.{name} is read-only")
    if name in record_type.kind.array_types:
        raise TypingError(f"{record_type.kind.name}.{name} is an array: assign to its elements")
    data = _struct(context, builder, record_type, value).data
    field_type, pointer = _scalar_pointer(context, builder, record_type.kind, data, name)
    context.pack_value(builder, field_type, context.cast(builder, new, value_type, field_type), pointer)


@infer_global(len)
class _Length(AbstractTemplate):
    def generic(self, args, kws):
        return signature(types.intp, *args) if isinstance(args[0], RecordsType) else None


@lower_builtin(len, RecordsType)
def _length(context, builder, sig, args):
    return _struct(context, builder, sig.args[0], args[0]).count


@infer_global(operator.getitem)
class _GetRecord(AbstractTemplate):
    def generic(self, args, kws):
        records, index = args
        if isinstance(records, RecordsType) and isinstance(index, types.Integer):
            return signature(RecordType(records.kind), records, types.intp)
        return None


@lower_builtin(operator.getitem, RecordsType, types.intp)
def _get_record(context, builder, sig, args):
    records = _struct(context, builder, sig.args[0], args[0])
    if context.enable_boundscheck:
        is_outside = builder.icmp_unsigned(">=", args[1], records.count)  # negative ones are the largest
        with builder.if_then(is_outside, likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("index is out of bounds",))
    record = _struct(context, builder, sig.return_type)
    record.data = builder.gep(records.data, [builder.mul(args[1], records.stride)])
    record.layout = records.layout
    return record._getvalue()


@infer_global(operator.setitem)
class _SetRecord(AbstractTemplate):
    def generic(self, args, kws):
        records, _, record = args
        if isinstance(records, RecordsType) and record == RecordType(records.kind):
            return signature(types.void, records, types.intp, record)
        return None


@lower_builtin(operator.setitem, RecordsType, types.intp, RecordType)
def _copy_record(context, builder, sig, args):
    records = _struct(context, builder, sig.args[0], args[0])
    target = builder.gep(records.data, [builder.mul(args[1], records.stride)])
    cgutils.raw_memcpy(builder, target, _struct(context, builder, sig.args[2], args[2]).data, records.stride, 1)
    return context.get_dummy_value()


def copy_into(target: np.ndarray, start: int, source: np.ndarray) -> None:
    """`target[start : start + len(source)] = source` for contiguous vectors of one dtype, by bytes if compiled."""
    target[start : start + len(source)] = source


type_callable(copy_into)(lambda context: lambda target, start, source: types.none)


@lower_builtin(copy_into, types.Array, types.Integer, types.Array)
def _copy_into(context, builder, sig, args):
    target, source = (make_array(sig.args[k])(context, builder, args[k]) for k in (0, 2))
    start = context.cast(builder, args[1], sig.args[1], types.intp)
    cgutils.raw_memcpy(builder, builder.gep(target.data, [start]), source.data, source.nitems, source.itemsize)
    return context.get_dummy_value()
