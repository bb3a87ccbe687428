"""Inputs that make little sense: messages filled at random, bytes changed at random, files of both."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

D = 16
NAMES = ("facts", "words", "facts", "words", "", "none-such", "Ä", "a" * 64, "a" * 65, "made-0", "made-1")
"""Collections; the first two are there."""
WORDS = (
    "",
    " ",
    "a",
    "Tom Hanks",
    "/people/person/place_of_birth",
    "http://example.org/x#bornIn",
    "wdt:P31",
    "isLocatedIn",
    "_a__b_",
    "%C3%A4%",
    "<<>>",
    "\x00",
    "\u200b",
    "\ufeff",
    "e\u0301" * 20,
    "\U0001f600",
    "the of the of",
    "A" * 3000,
    "a_" * 500,
    "aB" * 300,
    "-" * 200,
    "\t\n\r",
    '"quoted, ""text"',
    "١٢٣",
)
NUMBERS = (0, 1, 2, 3, 7, 16, 100, 4095, 4096, 4097, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.5, 1e-45, 3e38, float("inf"), float("-inf"), float("nan"))
BYTES = 16
"""Most places that a mutation changes."""

Rng = np.random.Generator


def pick(rng: Rng, some: Any) -> Any:
    """One of a sequence."""
    return some[int(rng.integers(len(some)))]


def word(rng: Rng) -> str:
    """A name or text."""
    match int(rng.integers(5)):
        case 0:
            return "".join(chr(int(c)) for c in rng.integers(32, 127, int(rng.integers(1, 30))))
        case 1:
            return "".join(chr(int(c)) for c in rng.integers(1, 0x2FFF, int(rng.integers(1, 12))))
        case 2:
            return " ".join(pick(rng, WORDS) for _ in range(int(rng.integers(1, 5))))
    return str(pick(rng, WORDS))


def mutated(data: bytes, rng: Rng) -> bytes:
    """Bytes changed, put in, taken out, doubled."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, BYTES))):
        at = int(rng.integers(len(changed) + 1))
        match int(rng.integers(5)):
            case 0 if at < len(changed):
                changed[at] = int(rng.integers(256))
            case 1 if at < len(changed):
                changed[at] ^= 1 << int(rng.integers(8))
            case 2:
                changed[at:at] = rng.bytes(int(rng.integers(1, 9)))
            case 3:
                del changed[at : at + int(rng.integers(1, 17))]
            case _:
                changed[at:at] = changed[at : at + int(rng.integers(1, 65))]
    return bytes(changed)


def filled(message: Message, rng: Rng, depth: int = 0) -> Message:
    """Fields set at random: mostly what a client could send, else whatever their type can hold."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.25 + 0.1 * depth or (depth > 4 and field.type == FieldDescriptor.TYPE_MESSAGE):
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            for _ in range(int(rng.integers(0, 3))):
                getattr(message, field.name)[word(rng)] = word(rng)
        elif field.is_repeated:
            for _ in range(int(pick(rng, (0, 1, 1, 2, 3, 9)))):
                _append(message, field, rng, depth)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            filled(getattr(message, field.name), rng, depth + 1)
        else:
            setattr(message, field.name, _value(field, rng))
    return message


def _append(message: Message, field: Any, rng: Rng, depth: int) -> None:
    many = getattr(message, field.name)
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        filled(many.add(), rng, depth + 1)
    else:
        many.append(_value(field, rng))


def _value(field: Any, rng: Rng) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return _bytes(field.name, rng)
        case FieldDescriptor.CPPTYPE_STRING:
            return pick(rng, NAMES) if field.name in ("collection", "name") else word(rng)
        case FieldDescriptor.CPPTYPE_BOOL:
            return bool(rng.integers(2))
        case FieldDescriptor.CPPTYPE_ENUM:
            return pick(rng, [value.number for value in field.enum_type.values])
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return float(rng.standard_normal()) if rng.random() < 0.5 else pick(rng, FLOATS)
    if field.name == "dimension" and rng.random() < 0.8:
        return D
    bits = 32 if field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32) else 64
    signed = field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
    number = int(rng.integers(0, 40)) if rng.random() < 0.6 else pick(rng, NUMBERS)
    return number % (1 << (bits - signed))


def _bytes(name: str, rng: Rng) -> bytes:
    count = int(pick(rng, (0, 1, 1, 2, 3)))
    if rng.random() < 0.2:
        return rng.bytes(int(rng.integers(0, 100)))
    match name:
        case "data":
            return rng.bytes(count * D)
        case "scales" | "scores":
            return (np.float32(0.01) * rng.random(count, np.float32)).astype("<f4").tobytes()
        case "lengths":
            return rng.integers(0, 4, 3 * count).astype("<u4").tobytes()
    return bytes(rng.integers(97, 123, 6 * count, np.uint8))


# ---- files --------------------------------------------------------------------------------------


def text_file(rng: Rng) -> tuple[str, bytes]:
    """A suffix, and lines of triples that may be."""
    suffix = str(pick(rng, (".tsv", ".csv", ".jsonl", ".tsv.gz", ".csv.gz", ".jsonl.gz")))
    line = _json_line if "jsonl" in suffix else _columns(",") if "csv" in suffix else _columns("\t")
    text = "\n".join(line(rng) for _ in range(int(rng.integers(0, 8))))
    data = text.encode("utf-8", "surrogatepass")
    if suffix.endswith(".gz"):
        import gzip

        data = gzip.compress(data, 1)
    return suffix, mutated(data, rng) if rng.random() < 0.6 else data


def _columns(between: str) -> Callable[[Rng], str]:
    return lambda rng: between.join(word(rng) for _ in range(int(pick(rng, (3, 3, 3, 1, 2, 4, 5)))))


def json_value(rng: Rng, depth: int = 0) -> Any:
    """Anything that JSON can say."""
    match int(rng.integers(9 if depth < 3 else 6)):
        case 0:
            return pick(rng, NUMBERS)
        case 1:
            return pick(rng, FLOATS)
        case 2:
            return pick(rng, (None, True, False))
        case 3 | 4 | 5:
            return word(rng)
        case 6:
            return [json_value(rng, depth + 1) for _ in range(int(rng.integers(0, 4)))]
    return {word(rng): json_value(rng, depth + 1) for _ in range(int(rng.integers(0, 4)))}


def _json_line(rng: Rng) -> str:
    if rng.random() < 0.2:
        return json.dumps(json_value(rng))
    made = {name: word(rng) for name in ("head", "relation", "tail", "source") if rng.random() < 0.9}
    if rng.random() < 0.3:
        made[pick(rng, ("metadata", "tail", "odd"))] = json_value(rng)
    return json.dumps(made, ensure_ascii=bool(rng.integers(2)))


def phrases_file(rng: Rng) -> bytes:
    """JSON of phrases that may be."""
    made = {word(rng): word(rng) for _ in range(int(rng.integers(0, 4)))} if rng.random() < 0.6 else json_value(rng)
    data = json.dumps(made).encode()
    return mutated(data, rng) if rng.random() < 0.4 else data


def vector_file(rng: Rng) -> bytes:
    """An .npy file that may be."""
    kind = str(pick(rng, ("<f4", "<f4", "<f2", "<f8", ">f4", "<i8", "|S3", "|b1")))
    shape = pick(rng, ((3, D), (3, D), (3, D), (0, D), (3, 0), (3,), (2, 3, 4), ()))
    array = np.asarray(rng.standard_normal(shape)).astype(kind)
    if array.size and array.dtype.kind == "f" and rng.random() < 0.2:
        array.flat[0] = np.nan
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=pick(rng, ((1, 0), (2, 0))))
    return mutated(file.getvalue(), rng) if rng.random() < 0.6 else file.getvalue()
