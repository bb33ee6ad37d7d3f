"""Characters that terminals interpret, or that hide or reorder text."""

from __future__ import annotations

import sys
import unicodedata

# U+200B to U+200F, U+061C, U+202A to U+202E, U+2066 to U+2069 and all others of Unicode's category Cf; separators of
# lines; what is printable but invisible (fillers, joiners, selectors); halves of surrogate pairs; C0, DEL and C1.
HARMFUL = [
    char
    for char in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(char) in ("Cf", "Zl", "Zp", "Cs", "Cc") and char not in "\t\n"
] + list("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0\ufe00\ufe0f\U000e0100\U000e01ef")
