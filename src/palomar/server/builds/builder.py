"""What makes an image of a package: the port that the layered and the buildah builder stand behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from palomar.server.builds.variants import Variant

# Takes one line of a build's log; it may be called at any time and never waits.
Log: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """``name`` is shown to people, as alice/MyExecutor. ``package`` is the release's zip, byte for byte as it was
    pushed, and ``workspace`` an empty folder for whatever the builder likes; both are gone after the build.
    """

    build_id: str
    repository_id: str
    name: str
    release: int
    release_digest: str
    facts: Mapping[str, Any]
    variant: Variant
    package: Path
    workspace: Path
    no_cache: bool = False
    build_env: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """The digest of a manifest that is in the order's repository."""

    manifest_digest: str


class BuildFailure(Exception):
    """Why there is no image, in one sentence, and what to try. Neither holds a value of a build variable."""

    def __init__(self, sentence: str, hint: str = "", *, is_hubs_fault: bool = False) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint
        self.is_hubs_fault = is_hubs_fault


class Builder(Protocol):
    """Two builds of equal orders may run at once, one of them may be cut off anywhere, and both may come out well."""

    async def build(self, order: BuildOrder, log: Log) -> BuiltImage:
        """The image, stored in the order's repository, and everything that belongs to it.

        When it is cancelled, no process that it started is left when it raises CancelledError.

        Raises:
            BuildFailure: There will be none.
        """
