"""Compilation by Numba: every function of the simulation is compiled once, and optimised once.

Numba makes machine code of each function on its own, and optimises what it calls once more in every caller. Here a
function that only compiled code calls is `compiled` to LLVM's intermediate representation alone; a `kernel`, which
Python calls, links all that it needs, and is optimised and translated as a whole. That takes a third of the time.

Kernels are kept on disk. A file is named by a hash of all that its machine code depends on (source code, versions,
processor, types), so that it can be neither stale nor confused with another, and it appears in one step: processes may
compile at the same time.
"""

import gc
import hashlib
import os
import pickle
import secrets
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba
from numba import config as numba_config
from numba import types
from numba.core.caching import NullCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, CompileResult, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager
from numba.core.registry import CPUDispatcher
from numba.core.serialize import dumps
from numba.core.typed_passes import NopythonTypeInference, PreLowerStripPhis
from numba.core.untyped_passes import FixupArgs, GenericRewrites, IRProcessing, ReconstructSSA, TranslateByteCode
from numba.misc.appdirs import AppDirs

from recsim_env.timed_line import timed_line

_DIGEST_SIZE = 16
_OPTIONS = {"nopython": True, "error_model": "numpy", "no_cfunc_wrapper": True}


class _Intermediate(JITCodeLibrary):
    """A library without machine code, which callers link, optimise and translate with their own."""

    _linking_libraries: list[Any]

    class _NoEnvironments:
        def set_env(self, *_: Any) -> None:
            """There is no machine code whose environment could be set."""

    @property
    def codegen(self) -> Any:
        return self._NoEnvironments()

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def finalize(self) -> None:
        """Linking is left to the caller, too: otherwise each module would be linked again at every level of calls."""
        self._finalized = True

    def module(self) -> Any:
        """The function without those that it calls."""
        return super()._get_module_for_linking()

    def _get_module_for_linking(self) -> Any:
        """For callers that are no kernels: the function with all that it calls."""
        module = self.module().clone()
        for library in _with_inner(self._linking_libraries):
            is_inner = isinstance(library, _Intermediate)
            module.link_in(library.module() if is_inner else library._get_module_for_linking(), preserve=True)
        return module

    def get_pointer_to_function(self, name: str) -> int:
        return 0


def _with_inner(libraries: list[Any]) -> list[Any]:
    """Libraries and those that they call, at any depth."""
    found = list(dict.fromkeys(libraries))
    for library in found:  # which grows on the way
        if isinstance(library, _Intermediate):
            found += [inner for inner in dict.fromkeys(library._linking_libraries) if inner not in found]
    return found


class _Whole(JITCodeLibrary):
    """The machine code of a kernel and of all functions that it calls."""

    _linking_libraries: list[Any]

    def finalize(self) -> None:
        libraries = _with_inner(self._linking_libraries)
        for library in libraries:
            if isinstance(library, _Intermediate):
                self._final_module.link_in(library.module(), preserve=True)
        self._linking_libraries = [each for each in libraries if not isinstance(each, _Intermediate)]
        super().finalize()

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:  # in no symbol table, so that no other module calls these
            if not function.is_declaration and function.linkage.name == "linkonce_odr":
                function.linkage = "private"
        passes, builder = self._codegen._module_pass_manager(opt=2)
        passes.run(self._final_module, builder)


def _short_pipeline(state: Any) -> PassManager:
    """Numba's passes without those for closures, loop lifting, array expressions and inlining, none of which we use."""
    manager = PassManager("nopython")
    manager.add_pass(TranslateByteCode, "analyzing bytecode")
    manager.add_pass(FixupArgs, "fix up args")
    manager.add_pass(IRProcessing, "processing IR")
    manager.add_pass(GenericRewrites, "constant indices and errors")
    manager.add_pass(ReconstructSSA, "ssa")
    manager.add_pass(NopythonTypeInference, "nopython frontend")
    manager.add_pass(PreLowerStripPhis, "remove phis nodes")
    manager.passes.extend(DefaultPassBuilder.define_nopython_lowering_pipeline(state).passes)
    manager.finalize()
    return manager


def _pipeline(library_class: type[JITCodeLibrary], is_short: bool) -> type[CompilerBase]:
    class Compiler(CompilerBase):
        def define_pipelines(self) -> list[Any]:
            self.state.func_id.unique_id = secrets.randbits(60)  # Numba counts, so that two processes use a name twice
            library = library_class(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
            library.enable_object_caching()
            self.state.library = library
            define = _short_pipeline if is_short else DefaultPassBuilder.define_nopython_pipeline
            return [define(self.state)]

    return Compiler


class CompiledFunction(CPUDispatcher):
    """A function for compiled code. For calls from Python, in tests for example, Numba compiles it a second time."""

    def __init__(self, py_func: Callable[..., Any], allocates: bool = False, checks_bounds: bool = False) -> None:
        options = {**_OPTIONS, "no_cpython_wrapper": True, "_nrt": allocates, "boundscheck": checks_bounds}
        super().__init__(py_func, {}, options, pipeline_class=_pipeline(_Intermediate, is_short=not allocates))
        self._from_python: Callable[..., Any] | None = None

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """As in Numba, but compile once for all whole numbers: not for each constant and each member of an enum."""
        return super().get_call_template([_without_value(each) for each in args], kws)

    def __call__(self, *arguments: Any) -> Any:
        self._from_python = self._from_python or numba.njit(error_model="numpy")(self.py_func)
        return self._from_python(*arguments)


def _without_value(kind: Any) -> Any:
    return kind.dtype if isinstance(kind, types.IntEnumMember) else types.unliteral(kind)


class Kernel(CPUDispatcher):
    """A function that Python calls; it releases the GIL."""

    def __init__(self, py_func: Callable[..., Any], is_kept: bool = True) -> None:
        super().__init__(py_func, {}, {**_OPTIONS, "nogil": True}, pipeline_class=_pipeline(_Whole, is_short=False))
        folder = _cache_folder(py_func.__module__.partition(".")[0]) if is_kept else None
        self._cache = NullCache() if folder is None else _KernelFiles(py_func, folder)

    def compile(self, sig: Any) -> Any:
        is_new = isinstance(self._cache, NullCache) or not self._cache.path(sig).exists()
        is_collecting = gc.isenabled()
        gc.disable()  # the compiler makes millions of objects, few of which are garbage
        try:
            with timed_line(f"compiling {self.py_func.__name__.strip('_')}, once") if is_new else nullcontext():
                return super().compile(sig)
        finally:
            if is_collecting:
                gc.enable()


def compiled(function: Callable[..., Any], allocates: bool = False, checks_bounds: bool = False) -> Callable[..., Any]:
    """Decorator: compile a function that only compiled code calls. By default it can neither allocate arrays nor does
    it check indices."""
    return function if numba_config.DISABLE_JIT else CompiledFunction(function, allocates, checks_bounds)


def kernel(function: Callable[..., Any], is_kept: bool = True) -> Callable[..., Any]:
    """Decorator: compile a function that Python calls, and keep its machine code on disk."""
    return function if numba_config.DISABLE_JIT else Kernel(function, is_kept)


class _KernelFiles(NullCache):
    """The files with the machine code of a kernel, one for each signature."""

    def __init__(self, py_func: Callable[..., Any], folder: Path) -> None:
        self._folder = folder
        self._name = f"{py_func.__module__}.{py_func.__qualname__}"
        self._package = py_func.__module__.partition(".")[0]
        self._source = _source_when_imported(self._package)

    @property
    def cache_path(self) -> str:
        return str(self._folder)

    def path(self, sig: Any) -> Path:
        """The file for a signature; its name holds a hash of all that the machine code depends on."""
        place = str(_package_folder(self._package))  # so that checkouts with one folder keep each other's files
        return self._folder / f"{self._name}.{_hash(str(sig), _machine(), place)}-{self._source}.nbc"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        path = self.path(sig)
        try:
            content = path.read_bytes()
        except OSError:
            return None  # missing or unreadable: compile again
        digest, data = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
        if digest != _digest(path.name, data):
            return None  # damaged, or the file of another kernel
        return CompileResult._rebuild(target_context, *pickle.loads(data))

    def save_overload(self, sig: Any, data: Any) -> None:
        if self._source != _source_code(self._package):
            return  # the files have changed since they were imported
        path = self.path(sig)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        content = dumps(data._reduce())
        try:
            temporary.write_bytes(_digest(path.name, content) + content)
            temporary.replace(path)
            for other in self._folder.glob(f"{path.name.rpartition('-')[0]}-*.nbc"):
                if other != path:  # from other source code
                    other.unlink(missing_ok=True)
        except OSError:  # a full disk, or a folder that became read-only: compile again next time
            temporary.unlink(missing_ok=True)


def _hash(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def _digest(name: str, content: bytes) -> bytes:
    """Of the content of the file with that name."""
    return hashlib.blake2b(name.encode() + b"\0" + content, digest_size=_DIGEST_SIZE).digest()


def _package_folder(package: str) -> Path:
    return Path(str(sys.modules[package].__file__)).parent


def _source_code(package: str) -> str:
    """A hash of all source files of this package and another one."""
    digest = hashlib.blake2b(digest_size=8)
    for each in dict.fromkeys(("recsim_env", package)):
        for source in sorted(_package_folder(each).rglob("*.py")):
            digest.update(str(source).encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


@cache
def _source_when_imported(package: str) -> str:
    """The hash when the first kernel is defined: a process compiles the code that it has imported, even if the files
    have changed since."""
    return _source_code(package)


@cache
def _machine() -> str:
    """Versions and processor, which the machine code depends on."""
    codegen = numba.core.registry.cpu_target.target_context.codegen()
    return repr((sys.version, numba.__version__, llvmlite.__version__, codegen.magic_tuple()))


@cache
def _cache_folder(package: str) -> Path | None:
    """A folder for machine code: `NUMBA_CACHE_DIR`, or beside the package, or in the user's; None if read-only."""
    folders = [_package_folder(package) / "__pycache__", Path(AppDirs("recsim_env", appauthor=False).user_cache_dir)]
    if not _package_folder(package).is_dir():  # in a zip file: its source code cannot be hashed
        return None
    for folder in [Path(numba_config.CACHE_DIR)] if numba_config.CACHE_DIR else folders:
        try:
            folder = folder.expanduser()
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):  # RuntimeError: a user without a home, as in containers
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None
