"""Bytes of a body to text, in the character sets that senders have.

Python knows more names than these: some stand for compression or for escapes that make half characters, some take
minutes for a megabyte, and every unknown one is looked for on the disk and remembered."""

from __future__ import annotations

import re

from starlette.exceptions import HTTPException

UTF8 = "utf-8"
_KNOWN = re.compile(
    r"utf-?8(-sig)?|utf-?(16|32)(-?[bl]e)?|(us-)?ascii|latin-?1|iso-8859-([1-9]|1[0-6])"
    r"|(windows|cp)-?(125[0-8]|31j|437|85[0-8]|86[0-6]|874|932|936|949|950)"
    r"|euc-(kr|jp)|ks_c_5601-1987|uhc|shift[-_]jis|sjis|iso-2022-(kr|jp)|gb2312|gbk|gb18030|big5(-hkscs)?"
    r"|koi8-[ru]|tis-620",
    re.IGNORECASE,
)
_SHOWN = 40


def known_charset(name: str) -> str:
    """The name as Python has it. Raises HTTPException 400 for one that no body is taken in."""
    if _KNOWN.fullmatch(name) is None:
        raise HTTPException(400, f"the charset {name[:_SHOWN]!r} is not known; send UTF-8")
    # A byte order mark is no part of the text.
    return "utf-8-sig" if name.lower() in ("utf-8", "utf8") else name


def decoded(raw: bytes, charset: str = UTF8) -> str:
    """The text. Raises HTTPException 400 for bytes or a charset that give none."""
    try:
        return raw.decode(known_charset(charset))
    except LookupError as error:
        raise HTTPException(400, f"the charset {charset!r} is not known; send UTF-8") from error
    except UnicodeError as error:
        raise HTTPException(400, f"the body is not {charset} text; send UTF-8") from error
