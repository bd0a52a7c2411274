"""Kernel names as one spelling: demangled, without return type, with plain template arguments.

nvprof writes ``void reduce6<int, unsigned int=256, bool=1>(int*, int*, unsigned int)`` where Nsight Compute
writes ``void reduce6<int, (unsigned int)256, (bool)1>(T1 *, T1 *, unsigned int)``; both become comparable
here.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

__all__ = ["base_name", "demangle", "normalise_kernel"]

_MANGLED = re.compile(r"_Z[A-Za-z0-9_$.]+")
_STATIC = re.compile(r"^__nv_static_\d+__\w*?__?(_Z\w+)$")
_TYPED_VALUE = re.compile(
    r"(?:\b(?:bool|char|short|int|long|unsigned|signed|size_t|[A-Za-z_]\w*_t)\b ?)+=(?=-?\d)"
)
_CAST_VALUE = re.compile(r"\((?:[A-Za-z_][\w: ]*)\)(?=-?\d)")
_PARAMETER = re.compile(r"\bT([1-9]\d?)\b")
_RETURN = re.compile(r"^(?:static |inline )*(?:void|int|float|double|bool|unsigned int) (?=[A-Za-z_])")


@cache
def _runtime_demangler() -> Callable[[str], str] | None:
    """Return ``__cxa_demangle`` of the C++ runtime, or None where no such library is found."""
    for name in (ctypes.util.find_library("stdc++"), "libstdc++.so.6", ctypes.util.find_library("c++abi")):
        if not name:
            continue
        try:
            function = ctypes.CDLL(name).__cxa_demangle
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_void_p
        function.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
        free = ctypes.CDLL(None).free
        free.argtypes = [ctypes.c_void_p]
        free.restype = None

        def run(symbol: str, function: Callable[..., Any] = function, free: Callable[..., Any] = free) -> str:
            status = ctypes.c_int(0)
            address = function(symbol.encode("ascii"), None, None, ctypes.byref(status))
            if not address or status.value != 0:
                return symbol
            try:
                return ctypes.string_at(address).decode("utf-8", "replace")
            finally:
                free(address)

        return run
    return None


def demangle(name: str) -> str:
    """Return the C++ name behind a mangled one; any other name, or one that cannot be read, as it is.

    The C++ runtime does the work, so nothing is installed for it. A machine without one keeps the mangled
    name.

    Examples
    --------
    >>> demangle("plain_c_kernel")
    'plain_c_kernel'
    >>> demangle("_Z9vectorAddPKfS0_Pfi") in {"vectorAdd(float const*, float const*, float*, int)",
    ...                                       "_Z9vectorAddPKfS0_Pfi"}
    True
    """
    static = _STATIC.match(name)
    symbol = static[1] if static else name
    if len(symbol) > 4096 or not _MANGLED.fullmatch(symbol):
        return name
    run = _runtime_demangler()
    readable = run(symbol) if run else symbol
    return name if readable == symbol else readable


def _with_arguments(text: str) -> str:
    """Return a name in which template parameters ``T1``, ``T2`` of the signature are the arguments they stand for."""
    depth, start = 0, 0
    arguments: list[str] = []
    for place, char in enumerate(text):
        if char in ">)]}":
            depth -= 1
            if depth == 0 and char == ">":
                arguments.append(text[start:place].strip())
                if text.startswith("(", place + 1):
                    break
        elif depth == 1 and char == ",":
            arguments.append(text[start:place].strip())
            start = place + 1
        elif char in "<([{":
            if depth == 0:
                arguments, start = [], place + 1
            depth += 1
    else:
        return text

    def argument(match: re.Match[str]) -> str:
        number = int(match[1])
        return arguments[number - 1] if number <= len(arguments) else match[0]

    return text[: place + 1] + _PARAMETER.sub(argument, text[place + 1 :])


@lru_cache(maxsize=65536)
def normalise_kernel(name: str) -> str:
    """Return the one spelling of a kernel name that runs are joined on.

    Examples
    --------
    >>> normalise_kernel("void reduce6<int, unsigned int=256, bool=1>(int*, int*, unsigned int)")
    'reduce6<int,256,1>(int*,int*,unsigned int)'
    >>> normalise_kernel("void reduce6<int, (unsigned int)256, (bool)1>(int *, int *, unsigned int)")
    'reduce6<int,256,1>(int*,int*,unsigned int)'
    >>> normalise_kernel("vectorAdd(float const *, float*, int) [1168]")
    'vectorAdd(const float*,float*,int)'
    >>> normalise_kernel("kernel(void)")
    'kernel()'
    >>> normalise_kernel("void fill<(int)4, pair<int, float>, double>(int, T2, const T3 *)")
    'fill<4,pair<int,float>,double>(int,pair<int,float>,const double*)'
    """
    text = demangle(name.strip())
    text = re.sub(r" \[\d+\]$", "", text)
    text = _RETURN.sub("", text)
    text = _TYPED_VALUE.sub("", text)
    text = _CAST_VALUE.sub("", text)
    text = _with_arguments(text) if _PARAMETER.search(text) else text
    text = re.sub(r"\b(\d+)(?:ul|u|l|ull)\b", r"\1", text)
    text = re.sub(r"\btrue\b", "1", re.sub(r"\bfalse\b", "0", text))
    text = re.sub(r"unsigned __int64\b", "unsigned long", text)
    text = re.sub(r"\b((?:unsigned |signed )?[A-Za-z_][\w:]*) const\b", r"const \1", text)
    text = re.sub(r"\s*([,*&<>()])\s*", r"\1", text)
    text = re.sub(r"\(void\)$", "()", text)
    return re.sub(r"\s+", " ", text)


def base_name(kernel: str) -> str:
    """Return the function's name alone, without namespace, template arguments and parameters.

    Examples
    --------
    >>> base_name("dwt_cuda::fdwt53Kernel<128,8>(const int*,int*,int,int,int)")
    'fdwt53Kernel'
    >>> base_name("maxwell_sgemm_128x64_raggedMn_nn")
    'maxwell_sgemm_128x64_raggedMn_nn'
    """
    depth = 0
    flat = []
    for char in kernel:
        if char == "<":
            depth += 1
        elif char == ">":
            depth = max(0, depth - 1)
        elif depth == 0:
            if char == "(":
                break
            flat.append(char)
    return "".join(flat).rsplit("::", 1)[-1].strip() or kernel
