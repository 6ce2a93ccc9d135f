"""YAML from a stranger: the core schema alone, bounded in size, depth, aliases and what the aliases expand to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn, cast

import yaml

from palomar.contract.errors import BadPackage
from palomar.packages.limits import PackageLimits
from palomar.packages.text import bounded, clean, shown

_CORE: Final = "tag:yaml.org,2002:"
_MAP: Final = f"{_CORE}map"
_NULL: Final = f"{_CORE}null"
_MERGE: Final = f"{_CORE}merge"
_MAX_NUMBER_DIGITS: Final = 40
_MAX_SHOWN: Final = 60


class Tagged(NamedTuple):
    """``value`` is the document's mapping; ``tag`` is ``Name`` where the whole document is written ``!Name``."""

    value: dict[str, Any]
    tag: str | None


def load_mapping(data: bytes, *, entry: str, limits: PackageLimits) -> Tagged:
    """The one document of a file, which must be a mapping or empty. Raises BadPackage that names ``entry``.

    Keys are the text as written; dates stay text, as do numbers that JSON does not have.
    """
    try:
        loader = _Loader(data.decode("utf-8-sig"), limits)
        node = loader.get_single_node()
        if node is None or node.tag == _NULL:
            return Tagged({}, None)
        if not isinstance(node, yaml.MappingNode):
            raise _Refusal("it is not a mapping of names to values")
        return Tagged(_mapping(node), loader.root_tag)
    except _Refusal as error:
        raise BadPackage(str(error), entry) from error
    except (yaml.YAMLError, ValueError, OverflowError, LookupError) as error:
        raise BadPackage(f"it is not valid YAML: {_words(error)}", entry) from error


class _Refusal(Exception):
    """YAML that is valid and not accepted."""


def _refuse(words: str, node: yaml.Node | yaml.Event) -> NoReturn:
    mark = node.start_mark
    raise _Refusal(words if mark is None else f"line {mark.line + 1}: {words}")


def _words(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = "" if mark is None else f" in line {mark.line + 1}"
    return bounded(shown(f"{getattr(error, 'problem', None) or error}{where}".replace("\n", " ")), 300)


class _Shape(NamedTuple):
    """Of a node with every alias replaced by what it stands for."""

    nodes: int
    characters: int
    depth: int


class _Loader(yaml.SafeLoader):
    """Composes nodes and constructs nothing; every limit holds before memory is spent on what is beyond it."""

    # Without dates, and with 'on' and 'off' as text, as the Executors' own loader has it.
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in rules if tag != f"{_CORE}timestamp"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
        if first not in {"o", "O"}
    }

    def __init__(self, text: str, limits: PackageLimits) -> None:
        super().__init__(text)
        self.root_tag: str | None = None
        self._limits = limits
        self._shapes: dict[int, _Shape] = {}
        self._aliases = self._nodes = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs are silent here
        if isinstance(event, yaml.AliasEvent):
            return self._compose_alias(parent, index, event)
        self._count(event)
        tag = self._checked_tag(parent, event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None:
            node.tag = tag or node.tag
            self._measure(node)
        return node

    def _compose_alias(self, parent: yaml.Node | None, index: Any, event: yaml.AliasEvent) -> yaml.Node | None:
        self._aliases += 1
        if self._aliases > self._limits.max_config_aliases:
            _refuse(f"it has more than {self._limits.max_config_aliases} aliases", event)
        node = super().compose_node(parent, index)
        if id(node) not in self._shapes:
            _refuse("an alias stands within what it names", event)
        return node

    def _count(self, event: yaml.Event) -> None:
        self._nodes += 1
        if self._nodes > self._limits.max_config_nodes:
            _refuse(f"it has more than {self._limits.max_config_nodes:,} values", event)
        if self._depth >= self._limits.max_config_depth:
            _refuse(f"it is nested more than {self._limits.max_config_depth} deep", event)

    def _checked_tag(self, parent: yaml.Node | None, event: Any) -> str | None:
        """What the node's tag is to be, where it is not for YAML to say."""
        if event.tag is None or event.tag == "!" or event.tag in _SCALARS or event.tag in {_MAP, f"{_CORE}seq"}:
            return None
        name = event.tag.removeprefix("!")
        if parent is None and isinstance(event, yaml.MappingStartEvent) and event.tag != name and name.isidentifier():
            self.root_tag = name
            return _MAP
        tag = f"!!{event.tag.removeprefix(_CORE)}" if event.tag.startswith(_CORE) else event.tag
        _refuse(f"the tag {bounded(shown(tag), _MAX_SHOWN)!r} is not allowed", event)

    def _measure(self, node: yaml.Node) -> None:
        inner = [self._shapes[id(child)] for child in _children(node)]
        shape = _Shape(
            1 + sum(child.nodes for child in inner),
            _length(node) + sum(child.characters for child in inner),
            1 + max((child.depth for child in inner), default=0),
        )
        limits = (self._limits.max_config_nodes, self._limits.max_config_bytes, self._limits.max_config_depth)
        if any(measure > limit for measure, limit in zip(shape, limits, strict=True)):
            _refuse("its anchors and aliases expand to too much", node)
        self._shapes[id(node)] = shape
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)


def _length(node: yaml.Node) -> int:
    return len(node.value) if isinstance(node, yaml.ScalarNode) else 0


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            _refuse("a key is not text", key)
        if key.value in seen:
            _refuse(f"the key {bounded(shown(key.value), _MAX_SHOWN)!r} is there twice", key)
        seen.add(key.value)


# --- values ------------------------------------------------------------------------------------------------------


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(child) for child in node.value]
    return _SCALARS[node.tag](cast("yaml.ScalarNode", node))


def _mapping(node: yaml.MappingNode) -> dict[str, Any]:
    own, merged = dict[str, Any](), dict[str, Any]()
    for key, value in node.value:
        if key.tag == _MERGE:
            merged = _merged(value)
        else:
            own[clean(key.value)] = _value(value)
    return {**merged, **own}


def _merged(node: yaml.Node) -> dict[str, Any]:
    """The mappings after ``<<``; the first one to have a key wins."""
    merged: dict[str, Any] = {}
    for source in reversed(node.value if isinstance(node, yaml.SequenceNode) else [node]):
        if not isinstance(source, yaml.MappingNode):
            _refuse("'<<' merges what is not a mapping", node)
        merged.update(_mapping(source))
    return merged


_constructor: Final = yaml.constructor.SafeConstructor()


def _text(node: yaml.ScalarNode) -> str:
    return clean(node.value)


def _integer(node: yaml.ScalarNode) -> int:
    if len(node.value) > _MAX_NUMBER_DIGITS:
        _refuse("a number is too long", node)
    return int(_constructor.construct_yaml_int(node))


def _number(node: yaml.ScalarNode) -> float | str:
    if len(node.value) > _MAX_NUMBER_DIGITS:
        _refuse("a number is too long", node)
    value = _constructor.construct_yaml_float(node)
    return value if math.isfinite(value) else _text(node)


_SCALARS: Final[dict[str, Callable[[yaml.ScalarNode], Any]]] = {
    _NULL: lambda _: None,
    f"{_CORE}bool": _constructor.construct_yaml_bool,
    f"{_CORE}int": _integer,
    f"{_CORE}float": _number,
    f"{_CORE}str": _text,
    # '=' and '<<' where they are plain values.
    f"{_CORE}value": _text,
    _MERGE: _text,
}
