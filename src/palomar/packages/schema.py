"""The contract of an Executor: which arguments it is started with and which endpoints it serves.

Stored with each release as JSON, so that two releases can be compared without their packages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from palomar.contract.errors import BadPackage
from palomar.packages.config import PackageConfig
from palomar.packages.signatures import MAX_ENDPOINTS, Argument, Endpoint
from palomar.packages.source import ExecutorClass
from palomar.packages.text import bounded

VERSION: Final = 1
_MAX_DEFAULT: Final = 500


@dataclass(frozen=True, slots=True)
class ExecutorSchema:
    """Arguments in the order of ``__init__``; endpoints sorted by name, those without a known name last."""

    arguments: tuple[Argument, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Equal schemas give equal documents."""
        return {
            "version": VERSION,
            "arguments": [argument._asdict() for argument in self.arguments],
            "endpoints": [_endpoint_document(endpoint) for endpoint in self.endpoints],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Of what ``to_json`` made. Raises ValueError for another version of the format."""
        if document.get("version") != VERSION:
            raise ValueError(f"the schema has version {document.get('version')!r}, and {VERSION} is known")
        arguments = tuple(Argument(**argument) for argument in document["arguments"])
        return cls(arguments, tuple(map(_endpoint_of, document["endpoints"])))


def _endpoint_document(endpoint: Endpoint) -> dict[str, Any]:
    return {**endpoint._asdict(), "parameters": [parameter._asdict() for parameter in endpoint.parameters]}


def _endpoint_of(document: Mapping[str, Any]) -> Endpoint:
    parameters = tuple(Argument(**parameter) for parameter in document["parameters"])
    return Endpoint(**{**document, "parameters": parameters})


def schema_of(executor: ExecutorClass, config: PackageConfig) -> ExecutorSchema:
    """The class's own schema, with what the config changes: defaults in ``with`` and endpoints in ``requests``.

    Raises BadPackage when that makes too many endpoints.
    """
    arguments = tuple(_configured(argument, config.with_) for argument in executor.init_arguments)
    by_name = {endpoint.name: endpoint for endpoint in executor.endpoints if endpoint.name is not None}
    by_method = {endpoint.method: endpoint for endpoint in executor.endpoints}
    for name, method in config.requests.items():
        known = by_method.get(method)
        by_name[name] = known._replace(name=name) if known else Endpoint(name, method)
    if len(by_name) > MAX_ENDPOINTS:
        raise BadPackage(f"its Executor has more than {MAX_ENDPOINTS} endpoints", config.file)
    unnamed = [endpoint for endpoint in executor.endpoints if endpoint.name is None]
    return ExecutorSchema(arguments, (*(by_name[name] for name in sorted(by_name)), *unnamed))


def _configured(argument: Argument, given: Mapping[str, Any]) -> Argument:
    """What the package's own config gives need not be given again."""
    if argument.name not in given:
        return argument
    return argument._replace(default=bounded(repr(given[argument.name]), _MAX_DEFAULT), required=False)
