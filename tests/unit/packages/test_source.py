from __future__ import annotations

import threading
from textwrap import dedent

import pytest

from palomar.contract.errors import BadPackage, NoExecutorFound
from palomar.packages.config import PackageConfig
from palomar.packages.limits import PackageLimits
from palomar.packages.signatures import Argument, Endpoint
from palomar.packages.source import ExecutorClass, FoundExecutor, find_executor
from tests.unit.packages.zips import opened, zipped

HEAD = "from jina import Executor, requests\n"


def find(
    files: str | dict[str, str], jtype: str | None = None, *py_modules: str, limits: PackageLimits | None = None
) -> FoundExecutor:
    sources = {"executor.py": files} if isinstance(files, str) else files
    archive = opened(zipped({name: dedent(text).encode() for name, text in sources.items()}))
    config = PackageConfig(jtype=jtype, py_modules=py_modules)
    return find_executor(archive, config, limits or PackageLimits())


def executor(body: str, *, head: str = HEAD) -> ExecutorClass:
    return find(head + dedent(body)).executor


def refusal(files: str | dict[str, str], jtype: str | None = None, *py_modules: str) -> BadPackage:
    with pytest.raises(BadPackage) as caught:
        find(files, jtype, *py_modules)
    return caught.value


# --- which class -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "from jina import Executor\nclass X(Executor): pass\n",
        "from jina import Executor as E\nclass X(E): pass\n",
        "import jina\nclass X(jina.Executor): pass\n",
        "import jina as j\nclass X(j.Executor): pass\n",
        "import jina.serve.executors\nclass X(jina.serve.executors.BaseExecutor): pass\n",
        "from jina.executors import BaseExecutor\nclass X(BaseExecutor): pass\n",
        "from jina import *\nclass X(Executor): pass\n",
        "from numpy import *\nfrom jina import *\nclass X(Executor): pass\n",
        "from jina import Executor\nBase = Executor\nclass X(Base): pass\n",
        "import jina\nBase = jina.Executor\nclass X(Base): pass\n",
        "from jina import Executor\nclass X(Executor, object): pass\n",
        "from jina import Executor\nclass X(Executor[int]): pass\n",
        "try:\n    from jina import Executor\nexcept ImportError:\n    from a import Executor\nclass X(Executor): 0\n",
        "if True:\n    from jina import Executor\n    class X(Executor): pass\n",
        "from jina import Executor\nclass Base(Executor): pass\nclass X(Base): pass\n",
        "from jina import Executor\nclass Helper: pass\nclass X(Helper, Executor): pass\n",
    ],
)
def test_ways_to_derive_from_executor(source: str) -> None:
    assert find(source).executor.name == "X"


@pytest.mark.parametrize(
    "files",
    [
        {
            "executor/__init__.py": "from .my import X",
            "executor/my.py": "from jina import Executor\nclass X(Executor): 0",
        },
        {"my.py": "from base import Base\nclass X(Base): 0", "base.py": "import jina\nclass Base(jina.Executor): 0"},
        {"my.py": "from lib.base import B\nclass X(B): 0", "lib/base.py": "from jina import Executor as B"},
        {"my.py": "import lib.base\nclass X(lib.base.B): 0", "lib/base.py": "from jina import Executor as B"},
        {"my.py": "from lib import *\nclass X(B): 0", "lib/__init__.py": "from jina import Executor as B"},
        {
            "executor/my.py": "from . import base\nclass X(base.B): 0",
            "executor/base.py": "from jina import Executor as B",
        },
        {
            "executor/my.py": "from ..lib import B\nclass X(B): 0",
            "lib/__init__.py": "from .deep.er import B",
            "lib/deep/er.py": "from jina import Executor as B",
        },
        {"__init__.py": "", "my.py": "from jina import Executor\nclass X(Executor): 0"},
    ],
)
def test_bases_across_modules(files: dict[str, str]) -> None:
    assert find(files).executor.name == "X"


def test_without_jtype_only_two_places_are_searched() -> None:
    source = "from jina import Executor\nclass X(Executor): pass\n"
    assert find({"a.py": "", "executor/x.py": source}).executor.module == "executor/x.py"
    error = refusal({"a.py": "class Y: pass\n", "deep/er/x.py": source})
    assert isinstance(error, NoExecutorFound)
    assert error.reason == ("looked for a class that derives from jina's Executor in a.py; classes there: Y() in a.py")


def test_nothing_to_search() -> None:
    error = refusal({"README.md": "hi"})
    assert isinstance(error, NoExecutorFound)
    assert error.reason == (
        "looked for a class that derives from jina's Executor in no file: there is no *.py and no executor/*.py; "
        "classes there: none"
    )


def test_more_than_one() -> None:
    error = refusal(HEAD + "class A(Executor): 0\nclass B(Executor): 0\n")
    assert not isinstance(error, NoExecutorFound)
    assert error.reason == (
        "it has more than one Executor: A in executor.py, B in executor.py; name one as jtype in config.yml"
    )


def test_jtype_chooses() -> None:
    source = HEAD + "class A(Executor): 0\nclass B(Executor): 0\n"
    assert find(source, "B").executor.name == "B"
    assert find({"x/y.py": source}, "B", "x/y.py").executor.module == "x/y.py"
    assert find({"x/y.py": source}, "B", "x.y").executor.module == "x/y.py"
    assert find({"x/y.py": source}, "x.y.B", "./x/y.py").executor.module == "x/y.py"
    assert find({"x/__init__.py": source}, "B", "x").executor.module == "x/__init__.py"
    reexport = {"x/__init__.py": "from .y import B", "x/y.py": source}
    assert find(reexport, "B", "x/__init__.py").executor.module == "x/y.py"


def test_jtype_that_is_not_there() -> None:
    error = refusal({"executor.py": HEAD + "class A(Executor): 0\n"}, "B", "executor.py", "other.py")
    assert isinstance(error, NoExecutorFound)
    assert error.reason == (
        "looked for the class 'B' that jtype names in executor.py; py_modules that are not in the package: other.py; "
        "classes there: A(Executor) in executor.py"
    )


@pytest.mark.parametrize("bases", ["", "(object)", "(abc.ABC)", "(dict)"])
def test_jtype_that_is_no_executor(bases: str) -> None:
    error = refusal(f"import abc\nclass B{bases}: 0\n", "B")
    assert isinstance(error, NoExecutorFound)
    assert "that the class 'B', which jtype names, derives from jina's Executor in executor.py" in error.reason


def test_a_base_from_another_distribution_may_be_an_executor() -> None:
    found = find("from clip_server import CLIPEncoder\nclass B(CLIPEncoder): 0\n", "B")
    assert found.executor.bases == ("CLIPEncoder",)
    assert found.warnings == ("whether B is an Executor is up to clip_server.CLIPEncoder, outside the package",)


def test_a_gateway_when_jtype_names_it() -> None:
    source = "from jina.serve.runtimes.gateway.http.fastapi import FastAPIBaseGateway\nclass G(FastAPIBaseGateway): 0\n"
    assert find(source, "G").warnings == ()
    assert isinstance(refusal(source), NoExecutorFound)


def test_a_missing_module_is_a_warning_when_the_class_is_found() -> None:
    found = find({"a.py": HEAD + "class A(Executor): 0\n"}, "A", "a.py", "gone.py")
    assert found.warnings == ("py_modules that are not in the package: gone.py",)


def test_modules_that_import_all_from_one_another() -> None:
    names = [f"m{number}" for number in range(12)]
    stars = "".join(f"from {name} import *\n" for name in names)
    files = {f"{name}.py": stars for name in names}
    assert isinstance(refusal({**files, "x.py": stars + "class X(Nowhere): 0\n"}), NoExecutorFound)


def test_names_that_go_in_circles() -> None:
    files = {"a.py": "from b import X\nclass Y(X): 0\n", "b.py": "from a import X\nA = B\nB = A\nclass Z(A): 0\n"}
    assert isinstance(refusal(files), NoExecutorFound)
    assert isinstance(refusal("class A(B): 0\nclass B(A): 0\n"), NoExecutorFound)


# --- source that cannot be read ----------------------------------------------------------------------------------


def test_broken_syntax_has_a_file_and_a_line() -> None:
    error = refusal({"executor.py": HEAD + "class A(Executor):\n    def (:\n"})
    assert (error.entry, error.reason) == ("executor.py", "line 3: invalid syntax")


def test_broken_syntax_elsewhere_is_a_warning() -> None:
    found = find({"executor.py": HEAD + "class A(Executor): 0\n", "old.py": "print 'x'\n"})
    assert found.executor.name == "A"
    assert found.warnings[0].startswith("old.py cannot be read: line 1: ")


@pytest.mark.parametrize(
    "source",
    [
        "-" * 200_000 + "1",
        "not " * 20_000 + "1",
        "(" * 90_000,
        "a" + ".a" * 40_000,
        "1" + "+1" * 40_000,
        "a" + "()" * 30_000,
        "1 if 1 else " * 20_000 + "1",
        "lambda:" * 20_000 + "1",
        'f"{' * 20_000,
        "x\x00y",
    ],
    ids=["minus", "not", "brackets", "dots", "sum", "calls", "if", "lambda", "f-string", "nul"],
)
def test_source_that_exhausts_a_parser(source: str) -> None:
    """In a thread of its own, whose stack is no larger than a server's."""
    caught: list[BadPackage] = []
    thread = threading.Thread(target=lambda: caught.append(refusal({"executor.py": source})))
    thread.start()
    thread.join()
    assert caught[0].entry == "executor.py"


def test_source_that_would_take_too_much_memory() -> None:
    assert refusal("x = [" + "1," * 60_000 + "]").reason == "it has more than 100,000 words and signs"
    assert refusal("#" * (2 * 1024 * 1024 + 1)).reason == "it is larger than 2,097,152 bytes"
    limits = PackageLimits(max_sources_bytes=100)
    with pytest.raises(BadPackage, match="more source is needed"):
        find({"a.py": "#" * 60, "b.py": "#" * 60}, limits=limits)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"# coding: utf-7\n", "its encoding 'utf-7' is not read; write it in UTF-8"),
        (b"# coding: nonsense\n", "it is not UTF-8 text"),
        (b"x = '\xff'\n", "it is not UTF-8 text"),
    ],
)
def test_encodings(source: bytes, words: str) -> None:
    with pytest.raises(BadPackage) as caught:
        find_executor(opened(zipped({"a.py": source})), PackageConfig(), PackageLimits())
    assert caught.value.reason == words


def test_latin_1_is_read() -> None:
    source = b"# coding: latin-1\nfrom jina import Executor\nclass X(Executor):\n    '\xe9'\n"
    found = find_executor(opened(zipped({"a.py": source})), PackageConfig(), PackageLimits())
    assert found.executor.docstring == "\xe9"


def test_invalid_escapes_warn_nobody() -> None:
    assert executor("class A(Executor):\n    x = '\\d'\n").name == "A"


def test_nothing_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    executor("print('run')\nraise SystemExit(3)\nclass A(Executor):\n    print('run')\n")
    assert capsys.readouterr().out == ""


# --- arguments ---------------------------------------------------------------------------------------------------


def test_arguments() -> None:
    found = executor(
        """
        class A(Executor):
            def __init__(self, path: str, /, top_k: int = 5, *rest, device: 'Optional[str]' = None, on=f(x), **kwargs):
                pass
        """
    )
    assert found.init_arguments == (
        Argument("path", "str", None, "positional", required=True),
        Argument("top_k", "int", "5"),
        Argument("rest", None, None, "var-positional"),
        Argument("device", "Optional[str]", "None", "keyword"),
        Argument("on", None, "f(x)", "keyword"),
        Argument("kwargs", None, None, "var-keyword"),
    )


def test_arguments_of_a_base_in_the_package() -> None:
    base = HEAD + "class Base(Executor):\n    def __init__(self, x, **kwargs): pass\n"
    found = find({"executor.py": "from base import Base\nclass A(Base): 0\n", "base.py": base}, "A", "executor.py")
    assert [argument.name for argument in found.executor.init_arguments] == ["x", "kwargs"]


def test_arguments_of_a_dataclass() -> None:
    found = executor(
        """
        import dataclasses
        from typing import ClassVar
        @dataclasses.dataclass(frozen=True)
        class A(Executor):
            x: int
            y: str = 'a'
            limit: ClassVar[int] = 3
        """
    )
    assert found.init_arguments == (Argument("x", "int", required=True), Argument("y", "str", "'a'"))


def test_no_arguments() -> None:
    assert executor("class A(Executor): 0\n").init_arguments == ()


def test_long_defaults_are_shortened() -> None:
    default = executor(f"class A(Executor):\n    def __init__(self, x={'a' * 600!r}): 0\n").init_arguments[0].default
    assert default is not None
    assert (len(default), default[-1]) == (500, "…")


# --- endpoints ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decorator", "names"),
    [
        ("requests", ["/default"]),
        ("requests()", ["/default"]),
        ("requests(on=None)", ["/default"]),
        ("requests(on='/index')", ["/index"]),
        ("requests(on=['/b', '/a'])", ["/a", "/b"]),
        ("requests(on=('/a', NAME))", ["/a", "/named"]),
        ("requests(on={'/a'})", ["/a"]),
        ("requests(on={'/a': 1})", ["/a"]),
        ("requests(on=NAME)", ["/named"]),
        ("requests(on=f'/{x}')", [None]),
        ("requests(on=names())", [None]),
        ("requests(**options)", [None]),
        ("jina.requests(on='/a')", ["/a"]),
        ("jina.requests", ["/default"]),
        ("jina.serve.executors.decorators.requests", ["/default"]),
        ("monitor()\n    @requests(on='/a')", ["/a"]),
        ("other.requests(on='/a')", []),
        ("staticmethod", []),
    ],
)
def test_endpoint_names(decorator: str, names: list[str | None]) -> None:
    source = f"import jina, other\nNAME = '/named'\nclass A(Executor):\n    @{decorator}\n    def foo(self, docs): 0\n"
    assert [endpoint.name for endpoint in executor(source).endpoints] == names


def test_requests_of_the_http_library_is_no_endpoint() -> None:
    head = "from jina import Executor\nimport requests\n"
    assert executor("class A(Executor):\n    @requests\n    def foo(self): 0\n", head=head).endpoints == ()


def test_endpoints_have_types() -> None:
    found = executor(
        '''
        class A(Executor):
            @requests(on='/embed')
            async def embed(self, docs: DocList[ImageDoc], parameters: dict = {}, **kwargs) -> DocList[Vector]:
                """Embeds."""
                def inner():
                    yield 1

            @requests(on='/chat')
            def chat(self, doc: 'Prompt', **kwargs):
                for token in doc:
                    yield token

            @requests(on='/search', request_schema=DocList[Query], response_schema=DocList[Match])
            def search(self, docs, **kwargs): 0
        '''
    )
    chat, embed, search = found.endpoints
    assert embed == Endpoint(
        "/embed",
        "embed",
        (
            Argument("docs", "DocList[ImageDoc]", required=True),
            Argument("parameters", "dict", "{}"),
            Argument("kwargs", kind="var-keyword"),
        ),
        "DocList[ImageDoc]",
        "DocList[Vector]",
        "Embeds.",
        is_async=True,
    )
    assert (chat.docs_in, chat.docs_out, chat.is_generator, chat.is_async) == ("Prompt", None, True, False)
    assert (search.docs_in, search.docs_out) == ("DocList[Query]", "DocList[Match]")


def test_a_list_of_names_without_end() -> None:
    names = [f"/{number}" for number in range(201)]
    error = refusal(HEAD + f"class A(Executor):\n    @requests(on={names})\n    def foo(self, docs): 0\n")
    assert error.reason == "its Executor has more than 200 endpoints"
    arguments = ", ".join(f"a{number}" for number in range(101))
    error = refusal(HEAD + f"class A(Executor):\n    def __init__(self, {arguments}): 0\n")
    assert error.reason == "line 3: it has more than 100 arguments"


def test_many_broken_modules_are_counted() -> None:
    broken = {f"b{number:02}.py": "(" for number in range(15)}
    found = find({"a.py": HEAD + "class A(Executor): 0\n", **broken})
    assert (len(found.warnings), found.warnings[-1]) == (11, "and 5 more modules cannot be read")


def test_endpoints_are_inherited_and_overridden() -> None:
    found = executor(
        """
        class Base(Executor):
            @requests(on='/a')
            def base_a(self, docs): 0
            @requests(on='/b')
            def base_b(self, docs): 0
        class A(Base):
            @requests(on='/b')
            def own_b(self, docs): 0
        """
    )
    assert [(endpoint.name, endpoint.method) for endpoint in found.endpoints] == [("/a", "base_a"), ("/b", "own_b")]


def test_docstrings_are_printable() -> None:
    found = executor('class A(Executor):\n    """a\\0b\\ud800c"""\n')
    assert found.docstring == "a\ufffdb\ufffdc"
