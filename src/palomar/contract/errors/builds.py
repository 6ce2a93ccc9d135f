"""Why there is no image of an Executor, or none yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from palomar.contract.errors.base import PalomarError
from palomar.contract.errors.requests import BadParameter
from palomar.contract.errors.state import Conflict, LimitExceeded


@dataclass(eq=False)
class ImageMissing(PalomarError):
    """``name`` is what was asked for; the classes below say why there is no image of it."""

    name: str

    code: ClassVar[str] = "image-missing"
    title: ClassVar[str] = "The Executor has no image"

    @property
    def detail(self) -> str:
        return f"{self.name!r} has no image. Its source can be used as jinaai://{self.name}."


@dataclass(eq=False)
class ImageBuilding(ImageMissing):
    """``since`` is a time in words; ``state`` says whether it runs or still waits for others."""

    since: str
    state: str

    code: ClassVar[str] = "image-building"
    title: ClassVar[str] = "The image is being built"

    @property
    def detail(self) -> str:
        what = "waits for its build" if self.state == "waiting" else "is being built"
        return f"The image of {self.name!r} {what} since {self.since}: ask again in a minute."


@dataclass(eq=False)
class ImageBuildFailed(ImageMissing):
    """``reason`` is one sentence; ``advice`` may be empty."""

    reason: str
    advice: str

    code: ClassVar[str] = "image-build-failed"
    title: ClassVar[str] = "The image could not be built"

    @property
    def detail(self) -> str:
        return " ".join(filter(None, (f"The image of {self.name!r} could not be built: {self.reason}", self.advice)))


@dataclass(eq=False)
class ImageNotBuilt(ImageMissing):
    """The hub builds none, or not this one."""

    reason: str
    advice: str

    code: ClassVar[str] = "image-not-built"
    title: ClassVar[str] = "This hub does not build the image"

    @property
    def detail(self) -> str:
        return " ".join(filter(None, (f"{self.name!r} has no image: {self.reason}.", self.advice)))


@dataclass(eq=False)
class TooManyBuilds(LimitExceeded):
    limit: int

    code: ClassVar[str] = "too-many-builds"
    title: ClassVar[str] = "Too many builds wait"

    @property
    def detail(self) -> str:
        return (
            f"The namespace has {self.limit:,} builds that wait, and no more are allowed: try again when some are done."
        )


@dataclass(eq=False)
class TooManyVariants(LimitExceeded):
    name: str
    limit: int

    code: ClassVar[str] = "too-many-variants"
    title: ClassVar[str] = "The release has too many variants"

    @property
    def detail(self) -> str:
        return (
            f"{self.name!r} has been built for {self.limit:,} combinations of jina and docarray, and no more are made: "
            "use one of these, or push a new release."
        )


@dataclass(eq=False)
class BuildOver(Conflict):
    state: str

    code: ClassVar[str] = "build-over"
    title: ClassVar[str] = "The build is over"

    @property
    def detail(self) -> str:
        return f"The build is over ({self.state}), so it cannot be cancelled."


@dataclass(eq=False)
class SourceLost(BadParameter):
    """The connection to another registry broke, or it is down: what was asked for may come at the next attempt."""

    code: ClassVar[str] = "source-lost"
    title: ClassVar[str] = "The registry to copy from cannot be reached"
