"""
TensorRT's classes with nothing behind them: every call is held against the signature of the real bindings.

The bindings are made with pybind11, which writes the signature of a function into its docstring, with the types of its
arguments and of its result. ``checked(module)`` returns a module with the classes of ``module``, real enumerations, and
functions that accept what the real ones accept and return something of the real type.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

INTEGERS = {"int", "SupportsInt", "SupportsIndex"}
BUFFERS = {"buffer", "Buffer"}
# Names that differ between C++ and Python; bindings that do not know the Python name yet write the other one.
PYTHON_NAMES = {"IParserError": "ParserError"}
OUTPUTS = ("depth", "log_variance")
SHAPES = {"image": (-1, 6, 8, 3), **dict.fromkeys(OUTPUTS, (-1, 1, 6, 8))}


@dataclass(frozen=True)
class Signature:
    """Names and types of the arguments of a function without ``self``, how many have no default, and its result."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    needed: int
    result: str


def last_name(type_name: str) -> str:
    """Return the name of a type without modules, e.g. ``Dims``."""
    name = re.split(r"::|\.", type_name.strip())[-1]
    return PYTHON_NAMES.get(name, name)


def signatures(docstring: str, function: str) -> list[Signature]:
    """Return the overloads that pybind11 wrote into a docstring."""
    found = []
    for arguments, result in re.findall(rf"(?m)^\s*(?:\d+\. )?{function}\((.*)\) -> (.+)$", docstring or ""):
        parts = [part for part in re.split(r", (?=\w+: )", arguments) if part]
        split = [re.fullmatch(r"(\w+): ([^=]+?)(?: = (.*))?", part).groups() for part in parts]
        given = split[1:]  # without self
        found.append(
            Signature(
                tuple(name for name, _, _ in given),
                tuple(last_name(kind) for _, kind, _ in given),
                sum(default is None for *_, default in given),
                last_name(result),
            )
        )
    return found


def checked(real: ModuleType) -> ModuleType:
    """
    Return a module with the names of a real one.

    Its ``calls`` lists what was called, as ``Class.function``; ``answers`` may name another result of a function.
    """
    module = ModuleType(real.__name__)
    module.__dict__.update({name: value for name, value in vars(real).items() if not name.startswith("__")})
    module.__version__ = real.__version__
    module.calls, module.answers = [], {}
    for name in ("Builder", "OnnxParser", "Runtime"):
        setattr(module, name, _constructor(real, module, name))
    return module


def _constructor(real: ModuleType, module: ModuleType, name: str):
    def construct(*args, **kwargs):
        check(real, f"{name}.__init__", getattr(real, name).__init__.__doc__, "__init__", args, kwargs)
        module.calls.append(name)
        return Checked(real, module, name)

    construct.__dict__.update({member: None for member in dir(getattr(real, name)) if not member.startswith("__")})
    return construct


def check(real: ModuleType, where: str, docstring: str, function: str, args: tuple, kwargs: dict) -> str:
    """Raise AssertionError if no overload takes the arguments; return the name of the type of the result."""
    overloads = signatures(docstring, function)
    assert overloads, f"{where}: no signature is known, {docstring!r}"
    for signature in overloads:
        given = dict(zip(signature.names, args, strict=False)) | kwargs
        types = dict(zip(signature.names, signature.types, strict=True))
        known = len(args) <= len(signature.names) and given.keys() <= types.keys()
        complete = given.keys() >= set(signature.names[: signature.needed])
        if known and complete and all(takes(real, types[name], value) for name, value in given.items()):
            return signature.result
    raise AssertionError(f"{where} takes {overloads}, not {args} {kwargs}")


def takes(real: ModuleType, kind: str, value: Any) -> bool:
    """Return whether pybind11 converts a value to the type of this name."""
    if kind in INTEGERS:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)
    if kind in BUFFERS:
        return isinstance(value, bytes | bytearray | memoryview)
    # Tuples and lists are shapes.
    if kind in ("Dims", "tuple", "list") and isinstance(value, {"tuple": tuple, "list": list}.get(kind, tuple | list)):
        return all(takes(real, "int", item) for item in value)
    if kind in ("str", "bool"):
        return isinstance(value, {"str": str, "bool": bool}[kind])
    if isinstance(value, Checked):
        return value.kind == kind
    return hasattr(real, kind) and isinstance(value, getattr(real, kind))


class Checked:
    """An object of a class of TensorRT. What TensorRT's documentation asks to be called before is asked for here."""

    def __init__(self, real: ModuleType, module: ModuleType, kind: str):
        self.__dict__.update(real=real, module=module, kind=kind, done={}, shape_of_input=None)

    def __getattr__(self, name: str):
        owner = getattr(self.real, self.kind)
        if not hasattr(owner, name):
            raise AttributeError(f"{self.kind} has no {name} in {self.real.__version__}")
        member = owner.__dict__.get(name, getattr(owner, name))
        if isinstance(member, property):
            result = check(self.real, f"{self.kind}.{name}", f"get{member.fget.__doc__}", "get", (), {})
            return self._answer(name, (), result)

        def call(*args, **kwargs):
            where = f"{self.kind}.{name}"
            result = check(self.real, where, member.__doc__, name, args, kwargs)
            self.module.calls.append(where)
            self._in_order(name, args)
            self.done.setdefault(name, []).append(args)
            return self._answer(name, args, result)

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        member = getattr(self.real, self.kind).__dict__[name]
        check(self.real, f"{self.kind}.{name}", f"set{member.fset.__doc__}", "set", (value,), {})
        self.module.calls.append(f"{self.kind}.{name}=")
        self.done[name] = [(value,)]

    def __bytes__(self) -> bytes:
        assert self.kind == "IHostMemory", f"{self.kind} is no buffer"
        return b"a plan"

    def _in_order(self, name: str, args: tuple) -> None:
        """Ask for what has to be called before."""
        if name == "build_serialized_network":
            network, config = args
            for needed in ("set_memory_pool_limit", "add_optimization_profile", "set_timing_cache"):
                assert needed in config.done, f"{needed} comes before {name}"
            assert "get_input" in network.done, "a network is built after it was parsed"
        if name == "add_optimization_profile":
            assert "set_shape" in args[0].done, "a profile has shapes before it is added"
        if name == "get_error":
            assert "parse" in self.done
        if name == "execute_async_v3":
            assert "set_input_shape" in self.done, "the shape of the input comes before a run"
            addressed = {address[0] for address in self.done.get("set_tensor_address", ())}
            assert addressed == SHAPES.keys(), f"only {addressed} have an address"
        if name == "set_input_shape":
            self.__dict__["shape_of_input"] = tuple(args[1])

    def _answer(self, name: str, args: tuple, result: str) -> Any:
        """Return something of the type that the real function returns."""
        trt, names = self.real, list(SHAPES)
        if name in self.module.answers:
            return self.module.answers[name]
        if result == "None":
            return None
        if result == "bool":
            return True
        if result in INTEGERS:
            return {"num_inputs": 1, "num_errors": 0, "num_io_tensors": len(names)}.get(name, 0)
        if result == "str":
            return names[args[0]] if args else names[0]
        if result == "Dims":
            shape = SHAPES[args[0] if args else "image"]
            batch = self.shape_of_input[0] if self.shape_of_input else -1
            return trt.Dims((batch, *shape[1:]))
        if result == "TensorIOMode":
            return trt.TensorIOMode.INPUT if args[0] == "image" else trt.TensorIOMode.OUTPUT
        if result == "DataType":
            return trt.DataType.UINT8 if args[0] == "image" else trt.DataType.FLOAT
        return Checked(trt, self.module, result)
