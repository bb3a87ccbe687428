"""Lines of a tsv file as columns, all at once: nothing is done for each in Python.

Only ordinary lines are taken here: three parts of UTF-8 that are not blank, and no control characters. Of whatever
else there is in a block the reader of single lines (`readers`) knows what it means.
"""

import numpy as np
import numpy.typing as npt

from atlasdb_contract.columns import TripleColumns

Bytes = npt.NDArray[np.uint8]

_CONTROLS = 0x20
"""Bytes below are control characters, tab and line feed among them."""
_ENDS = np.array([ord("\t"), ord("\t"), ord("\n")], np.uint8)
"""What follows head, relation and tail."""
_BLANKS = [chr(i) for i in range(0x3001) if chr(i).isspace()]
_MAYBE_BLANK = np.zeros(1 << 16, np.bool_)
"""By the first two bytes of a part: does it begin with white space?"""
for _first, *_more in (blank.encode() for blank in _BLANKS):
    _MAYBE_BLANK[_first << 8 | _more[0] if _more else slice(_first << 8, (_first + 1) << 8)] = True


def columns(block: bytes) -> TripleColumns | None:
    """The triples of a block of whole lines; None where one of them is not ordinary, or there is none."""
    text = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(text < _CONTROLS)
    count, rest = divmod(len(ends), len(_ENDS))
    if rest or not count or ends[-1] + 1 != len(text) or (text[ends].reshape(count, -1) != _ENDS).any():
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = (ends - starts).astype(np.uint32).reshape(count, -1)
    if not lengths.all() or not _is_utf8(block) or _blank(text, starts, ends):
        return None
    return TripleColumns(block.translate(None, b"\t\n"), lengths)


def _is_utf8(block: bytes) -> bool:
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _blank(text: Bytes, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> bool:
    """Is one of the parts white space alone? A part is followed by a byte at least."""
    doubtful = np.flatnonzero(_MAYBE_BLANK[text[starts].astype(np.uint16) << 8 | text[starts + 1]])
    spans = zip(starts[doubtful].tolist(), ends[doubtful].tolist(), strict=True)
    return any(not text[start:end].tobytes().decode().strip() for start, end in spans)
