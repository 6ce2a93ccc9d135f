from __future__ import annotations

import json
import time

import pytest

from palomar.contract.errors import BadPackage
from palomar.packages.config import PackageConfig, read_config
from palomar.packages.limits import PackageLimits
from tests.unit.packages.zips import opened, zipped

LIMITS = PackageLimits()


def config(text: str | bytes | None = None, /, **others: str) -> PackageConfig:
    """``others`` are named with an underscore for the dot."""
    files = {name.replace("_", "."): value.encode() for name, value in others.items()}
    if text is not None:
        files["config.yml"] = text.encode() if isinstance(text, str) else text
    return read_config(opened(zipped(files or {"README.md": b""})), LIMITS)


def refusal(text: str | bytes) -> str:
    with pytest.raises(BadPackage) as caught:
        config(text)
    assert caught.value.entry == "config.yml"
    return caught.value.reason


def test_what_jina_hub_new_writes() -> None:
    text = """jtype: DigitClassifier
py_modules:
  - executor.py
metas:
  name: DigitClassifier
  description: what it does
  url: https://example.org/x
  keywords: ['a', 'b']"""
    read = config(text)
    assert read.file == "config.yml"
    assert (read.jtype, read.py_modules, read.name) == ("DigitClassifier", ("executor.py",), "DigitClassifier")
    assert (read.description, read.url, read.keywords) == ("what it does", "https://example.org/x", ("a", "b"))
    assert read.warnings == ()


def test_empty_values_are_none() -> None:
    read = config("jtype: A\nmetas:\n  name:\n  description: ''\n  url:\n  keywords:\nwith:\n")
    assert (read.name, read.description, read.url, read.keywords, read.with_) == (None, None, None, (), {})


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_config(text: str) -> None:
    assert config(text) == PackageConfig(file="config.yml")


def test_no_config_at_all() -> None:
    assert config() == PackageConfig()


def test_the_class_as_a_tag() -> None:
    read = config("!MyExecutor\nwith:\n  top_k: 5\nmetas:\n  name: Mine\n")
    assert (read.jtype, read.with_, read.name) == ("MyExecutor", {"top_k": 5}, "Mine")
    assert config("!MyExecutor {}").jtype == "MyExecutor"
    assert refusal("!MyExecutor\njtype: Other\n") == "it names two classes, '!MyExecutor' and jtype 'Other'"


def test_the_manifest_goes_over_the_config() -> None:
    read = config(
        "jtype: A\nmetas:\n  name: FromConfig\n  description: old\n  keywords: [a]\n  workspace: w\n",
        manifest_yml="manifest_version: 1\nname: FromManifest\ndescription: new\nkeywords: [b]\nurl: http://x.org\n",
    )
    assert (read.name, read.description, read.keywords, read.url) == ("FromConfig", "new", ("b",), "http://x.org")
    assert read.metas["workspace"] == "w"
    assert config(manifest_yml="name: Alone\n").name == "Alone"


def test_the_other_ending() -> None:
    assert config(config_yaml="jtype: A\n").jtype == "A"
    both = config("jtype: A\n", config_yaml="jtype: B\n")
    assert (both.jtype, both.warnings) == ("A", ("config.yaml is not read, because config.yml is there",))


def test_modules_at_the_root_or_in_metas() -> None:
    assert config("py_modules: executor.py\n").py_modules == ("executor.py",)
    assert config("metas:\n  py_modules: [a.py, b/]\n").py_modules == ("a.py", "b")
    words = "'py_modules' must be at the root or under 'metas', not at both"
    assert refusal("py_modules: a.py\nmetas:\n  py_modules: b.py\n") == words


@pytest.mark.parametrize("path", ["/etc/x.py", "../x.py", "a/../../x.py", "C:x.py"])
def test_modules_outside(path: str) -> None:
    assert refusal(f"py_modules: ['{path}']\n") == f"'py_modules' names {path!r}, which is not in the package"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b\n", "it is not a mapping of names to values"),
        ("just text\n", "it is not a mapping of names to values"),
        ("jtype: [A]\n", "'jtype' must be text"),
        ("jtype: a b\n", "'jtype' must be the name of a class"),
        ("metas: 5\n", "'metas' must be a mapping of names to values"),
        ("metas:\n  name: {a: b}\n", "'metas.name' must be text"),
        ("metas:\n  keywords: {a: b}\n", "'metas.keywords' must be a list of texts"),
        ("py_modules: {a: b}\n", "'py_modules' must be a list of texts"),
        ("with: [1]\n", "'with' must be a mapping of names to values"),
        ("requests: {/a: [b]}\n", "'requests./a' must be text"),
    ],
)
def test_wrong_types(text: str, words: str) -> None:
    assert refusal(text) == words


def test_keywords_as_one_text() -> None:
    assert config("metas:\n  keywords: a, b,, a\n").keywords == ("a", "b")
    assert config("metas:\n  keywords: ['x, y', z, 3]\n").keywords == ("x, y", "z", "3")


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "x.org", "http://a b", 'http://a"onload="x']
)
def test_only_web_addresses_are_links(url: str) -> None:
    read = config(f"metas:\n  url: {json.dumps(url)}\n")
    assert read.url is None
    assert read.warnings == (f"'url' is not a web address and is not shown: {url!r}",)


def test_endpoints_in_the_config() -> None:
    assert config("requests:\n  /index: index\n  /search: find\n").requests == {"/index": "index", "/search": "find"}


def test_values_are_json() -> None:
    text = """with:
  day: 2023-01-02
  when: 2001-12-14t21:59:43.10-05:00
  on: off
  yes: no
  1: 0x1F
  inf: .inf
  nan: .nan
  half: 0.5
  nothing: ~
  nested: {a: [1, {b: 'c'}]}
"""
    values = config(text).with_
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["day"] == "2023-01-02"
    assert values["on"] == "off"
    assert values["yes"] is False
    assert values["1"] == 31
    assert values["inf"] == ".inf"
    assert values["nested"] == {"a": [1, {"b": "c"}]}


def test_anchors_and_merges_work() -> None:
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nwith:\n  <<: [*x, *y]\n  c: 5\n  list: [*x, *x]\n"
    assert config(text).with_ == {"a": 1, "b": 2, "c": 5, "list": [{"a": 1, "b": 2}, {"a": 1, "b": 2}]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: !!python/object/apply:os.system ['true']\n", "the tag '!!python/object/apply:os.system' is not allowed"),
        ("a: !!python/name:os.system\n", "the tag '!!python/name:os.system' is not allowed"),
        ("a: !!binary aGk=\n", "the tag '!!binary' is not allowed"),
        ("a: !!set {b}\n", "the tag '!!set' is not allowed"),
        ("a: !Other {}\n", "the tag '!Other' is not allowed"),
        ("a: !<tag:example.org,2000:x> 1\n", "the tag 'tag:example.org,2000:x' is not allowed"),
        ("%TAG ! tag:yaml.org,2002:python/\n---\na: !name:os.system\n", None),
    ],
)
def test_tags_are_refused(text: str, words: str | None) -> None:
    assert (words or "the tag '!!python/name:os.system' is not allowed") in refusal(text)


def test_the_root_tag_is_a_name() -> None:
    assert "is not allowed" in refusal("!python/x {}\n")
    assert "is not allowed" in refusal("!!python/dict {}\n")
    assert "is not allowed" in refusal("!MyExecutor text\n")


def test_aliases_that_explode() -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))
    reason = refusal(f"a0: &a0 [lol]\n{levels}\n")
    assert reason == "line 5: its anchors and aliases expand to too much"


def test_a_long_text_repeated() -> None:
    text = f"a: &a {'x' * 100_000}\nb: [*a, *a, *a]\n"
    assert refusal(text) == "line 2: its anchors and aliases expand to too much"


def test_merges_that_explode() -> None:
    levels = "\n".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n  k{n}: v" for n in range(1, 9))
    assert "expand to too much" in refusal(f"a0: &a0 {{x: y}}\n{levels}\n")


def test_many_aliases() -> None:
    assert "more than 100 aliases" in refusal(f"a: &a 1\nb: [{', '.join(['*a'] * 101)}]\n")


def test_depth_through_aliases() -> None:
    levels = "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60))
    assert "expand to too much" in refusal(f"a0: &a0 [1]\n{levels}\n")


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "&a {b: *a}\n"])
def test_an_alias_within_itself(text: str) -> None:
    assert refusal(text) == "line 1: an alias stands within what it names"


@pytest.mark.parametrize("text", ["a: " + "[" * 100_000, "a: " + "{x: " * 50_000, "- " * 100_000])
def test_deep_nesting(text: str) -> None:
    assert "nested more than 32 deep" in refusal(text)


def test_too_many_values() -> None:
    assert "more than 10,000 values" in refusal("a: [" + "1," * 20_000 + "]")


def test_a_large_file() -> None:
    assert refusal("#" * (256 * 1024 + 1)) == "it is larger than 262,144 bytes"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2\n", "line 2: the key 'a' is there twice"),
        ("with: {x: 1, 'x': 2}\n", "line 1: the key 'x' is there twice"),
        ("? [a]\n: b\n", "line 1: a key is not text"),
        ("a: *b\n", "it is not valid YAML: found undefined alias 'b' in line 1"),
        ("a: [1\n", "it is not valid YAML"),
        ("a: 1\n---\nb: 2\n", "it is not valid YAML"),
        ("a: !!int x\n", "it is not valid YAML"),
        ("a: !!bool x\n", "it is not valid YAML"),
        ("a: !!float x\n", "it is not valid YAML"),
        ("a: 0b_\n", "it is not valid YAML"),
        ('a: "\\UFFFFFFFF"\n', "it is not valid YAML"),
        ("a: " + "9" * 5000 + "\n", "line 1: a number is too long"),
        ("a: 0x" + "f" * 5000 + "\n", "line 1: a number is too long"),
        ("<<: 5\n", "line 1: '<<' merges what is not a mapping"),
        (b"a: \xff\n", "it is not valid YAML"),
        (b"a: \x00\n", "it is not valid YAML"),
        (b"\xff\xfea\x00:\x00 \x001\x00", "it is not valid YAML"),
    ],
)
def test_yaml_that_is_refused(text: str | bytes, words: str) -> None:
    assert refusal(text).startswith(words)


def test_a_byte_order_mark_is_no_matter() -> None:
    assert config(b"\xef\xbb\xbfjtype: A\n").jtype == "A"


def test_unprintable_text_is_made_printable() -> None:
    description = config('metas:\n  description: "a\\0b\\uD800c\\e[31m"\n').description
    assert description == "a\ufffdb\ufffdc\ufffd[31m"


def test_reading_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[float] = []
    monkeypatch.setattr(time, "sleep", called.append)
    assert "is not allowed" in refusal("a: !!python/object/apply:time.sleep [1]\n")
    assert called == []
