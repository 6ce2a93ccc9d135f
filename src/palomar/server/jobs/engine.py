"""The job engine, DBOS, as the hub uses it: set up in one place, and known nowhere else.

DBOS keeps the executions in tables of its own: the file ``jobs.sqlite`` beside an embedded hub's database, the schema
``jobs`` in PostgreSQL. It is set up without its console, its telemetry and its network services; it speaks to the
database and to nothing else. Arguments and results are stored as JSON, never pickled.

DBOS is one per process, hence so is a worker.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions, WorkflowSerializationFormat
from sqlalchemy import make_url

APPLICATION: Final = "palomar"
SCHEMA: Final = "jobs"
# A job is one function that starts anew after a crash, so code of any release may finish what another one began.
_VERSION: Final = "1"
_JSON: Final = WorkflowSerializationFormat.PORTABLE

Workflow = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many jobs of one name may run at once in the whole cluster."""

    at_once: int
    poll_s: float


def engine_url(database_url: str) -> str:
    """The database's URL as the engine wants it, whatever driver it names."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        return database_url
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def prepare(url: str) -> None:
    """Make or upgrade the engine's tables."""
    _quiet()
    DBOS.migrate(url, schema=SCHEMA)


def connect(url: str) -> DBOSClient:
    """What enqueues and asks; it runs nothing."""
    return DBOSClient(system_database_url=url, dbos_system_schema=SCHEMA, application_name=APPLICATION)


def declare_queues(client: DBOSClient, queues: Mapping[str, QueueLimits]) -> None:
    for name, limits in queues.items():
        client.register_queue(
            name,
            global_concurrency=limits.at_once,
            polling_interval_sec=limits.poll_s,
            application_name=APPLICATION,
        )


def enqueue(client: DBOSClient, name: str, job_id: str, arguments: Mapping[str, Any], *, only_one: bool) -> str:
    """The id of the job: ``job_id``, or with ``only_one`` that of the one which waits or runs already."""
    options: EnqueueOptions = {
        "workflow_name": name,
        "queue_name": name,
        "workflow_id": job_id,
        "app_version": _VERSION,
        "serialization_type": _JSON,
    }
    if only_one:
        options["deduplication_id"] = name
        options["duplication_policy"] = "return-existing"
    return client.enqueue(options, **arguments).get_workflow_id()


def launch(url: str, worker_id: str, workflows: Mapping[str, Workflow]) -> None:
    """Begin to take jobs. Blocks while it connects; call it where no event loop runs."""
    _quiet()
    config: DBOSConfig = {
        "name": APPLICATION,
        "application_version": _VERSION,
        "executor_id": worker_id,
        "system_database_url": url,
        "dbos_system_schema": SCHEMA,
        "run_migrations": False,
        "enable_otlp": False,
        "log_level": "WARNING",
    }
    DBOS(config=config)
    for name, workflow in workflows.items():
        DBOS.workflow(name=name, serialization_type=_JSON)(workflow)
    DBOS.launch()


def shut_down() -> None:
    """Stop taking jobs and forget the handlers. What runs is cancelled, and stays to be taken up again."""
    DBOS.destroy(destroy_registry=True)


def current_job_id() -> str:
    """Of the job that calls; within a workflow only."""
    job_id = DBOS.workflow_id
    assert job_id is not None  # noqa: S101 -- it is called by workflows alone
    return job_id


def _quiet() -> None:
    """Its log goes the way of all logs: with a handler there, the engine adds none of its own."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.setLevel(logging.WARNING)
