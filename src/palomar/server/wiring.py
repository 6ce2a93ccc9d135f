"""The composition root: everything that lives as long as the process, put together in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from palomar.documents.limits import IngestLimits
from palomar.packages.limits import PackageLimits
from palomar.server.accounts.identity import Identity
from palomar.server.artifacts.native_push import expire_pushes
from palomar.server.artifacts.purge import purge_deleted
from palomar.server.artifacts.push import Pusher
from palomar.server.artifacts.reader import ArrayReader
from palomar.server.artifacts.rules import ArtifactRules
from palomar.server.blobs.collection import Collector
from palomar.server.blobs.open import open_store
from palomar.server.blobs.port import BlobStore
from palomar.server.blobs.scrub import Scrubber
from palomar.server.builds import job as build_job
from palomar.server.builds.base_choice import default_base
from palomar.server.builds.buildah import BuildahBuilder
from palomar.server.builds.builder import Builder
from palomar.server.builds.builds import Builds
from palomar.server.builds.job import BuildJob
from palomar.server.builds.layered import LayeredBuilder
from palomar.server.builds.limits import SandboxLimits
from palomar.server.builds.package_rules import NO_INDEX, PackageRules
from palomar.server.builds.rules import BuildRules
from palomar.server.builds.upkeep import Upkeep, prune_kept, purge_builds
from palomar.server.builds.values import BUILDAH, LAYERED
from palomar.server.db.engine import Database
from palomar.server.db.migrate import migrate
from palomar.server.executors.purge import purge_deleted as purge_executors
from palomar.server.executors.push import ExecutorPusher, ExecutorRules
from palomar.server.jobs.jobs import Jobs
from palomar.server.namespaces.service import NamespaceDefaults
from palomar.server.registry.purge import purge_images
from palomar.server.registry.rules import RegistryRules
from palomar.server.registry.service import Registry
from palomar.server.registry.writer import ImageWriter
from palomar.server.settings import Settings

_LOOK_AFTER_BUILDS_S = 60
_BUILD_POLL_S = 0.5
# Long enough to see what went wrong; every slot of a schedule leaves one.
_JOBS_KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Hub:
    """One process's view of the hub; replicas share nothing but the database and the blob store."""

    settings: Settings
    database: Database
    blobs: BlobStore
    identity: Identity
    artifact_rules: ArtifactRules
    pusher: Pusher
    arrays: ArrayReader
    executor_pusher: ExecutorPusher
    registry: Registry
    jobs: Jobs
    builds: Builds

    @property
    def namespace_defaults(self) -> NamespaceDefaults:
        return namespace_defaults(self.settings)


def namespace_defaults(settings: Settings) -> NamespaceDefaults:
    return NamespaceDefaults(settings.default_visibility, settings.visibility_ceiling, settings.quota_bytes)


def artifact_rules(settings: Settings) -> ArtifactRules:
    return ArtifactRules(
        bare_means_own=settings.bare_names == "own",
        max_push_bytes=settings.max_push_bytes,
        max_metadata_bytes=settings.max_json_bytes,
        ingest_limits=IngestLimits(
            max_document_raw_bytes=settings.max_document_bytes, max_documents=settings.max_documents
        ),
    )


def registry_rules(settings: Settings) -> RegistryRules:
    return RegistryRules(max_blob_bytes=settings.max_push_bytes)


def build_rules(settings: Settings) -> BuildRules:
    return BuildRules(
        is_on=settings.builds == "on",
        dockerfiles=settings.dockerfile_builds == "on",
        at_once=settings.builds_at_once,
        timeout_s=settings.build_timeout_s,
        wait_s=settings.build_wait_s,
        memory_bytes=settings.build_memory_bytes,
        disk_bytes=settings.build_disk_bytes,
    )


def executor_pusher(settings: Settings, database: Database, blobs: BlobStore) -> ExecutorPusher:
    rules = ExecutorRules(
        max_package_bytes=settings.max_package_bytes,
        limits=PackageLimits(max_package_bytes=settings.max_package_bytes),
    )
    return ExecutorPusher(database, blobs, rules, scratch=settings.data / "packages")


async def assemble_hub(settings: Settings, database: Database, blobs: BlobStore) -> Hub:
    """On a migrated database and an open store, whose lifetimes are the caller's; close identity and registry first."""
    rules = artifact_rules(settings)
    jobs = assemble_jobs(settings, database, blobs)
    identity = await Identity.open(
        database,
        login_attempts_per_minute=settings.login_attempts_per_minute,
        token_requests_per_minute=settings.token_requests_per_minute,
    )
    return Hub(
        settings=settings,
        database=database,
        blobs=blobs,
        identity=identity,
        artifact_rules=rules,
        pusher=Pusher(database, blobs, rules),
        arrays=ArrayReader(database, blobs),
        executor_pusher=executor_pusher(settings, database, blobs),
        registry=Registry.assemble(database, blobs, registry_rules(settings)),
        jobs=jobs,
        builds=Builds(database, jobs, build_rules(settings), default_base),
    )


def assemble_jobs(settings: Settings, database: Database, blobs: BlobStore) -> Jobs:
    """What runs in the background and when; not started."""

    async def collect() -> dict[str, Any]:
        grace = timedelta(seconds=settings.collect_grace_s)
        return (await Collector(database, blobs, grace=grace).run()).as_json()

    async def scrub() -> dict[str, Any]:
        return (await Scrubber(database, blobs).run()).as_json()

    async def purge() -> dict[str, Any]:
        window = timedelta(days=settings.undelete_days)
        versions = await purge_deleted(database, older_than=window)
        releases = await purge_executors(database, older_than=window)
        images = await purge_images(
            database,
            upload_ttl=registry_rules(settings).upload_ttl,
            grace=timedelta(seconds=settings.collect_grace_s),
            undelete_window=window,
        )
        builds = await purge_builds(database)
        kept = await prune_kept(database, settings.data / "builds" / "roots")
        pushes = await expire_pushes(database)
        return {
            "versions": versions,
            "releases": releases,
            "builds": builds,
            **kept,
            "pushes": pushes,
            "images": asdict(images),
            "jobs": await jobs.prune(older_than=_JOBS_KEPT),
        }

    jobs = Jobs(settings.jobs_database, locks=settings.data / "workers")
    jobs.register("collect", collect)
    jobs.schedule("collect", every_s=settings.collect_every_s)
    jobs.register("purge", purge)
    jobs.schedule("purge", every_s=settings.collect_every_s)
    jobs.register("scrub", scrub)
    jobs.schedule("scrub", every_s=settings.scrub_every_s)
    run_build = assemble_build_job(settings, database, blobs).run
    # A person waits for it, and a change of source alone takes less than the usual poll.
    jobs.register(build_job.NAME, run_build, at_once=settings.builds_at_once, poll_s=_BUILD_POLL_S)
    jobs.register("look-after-builds", Upkeep(database, jobs).run)
    jobs.schedule("look-after-builds", every_s=_LOOK_AFTER_BUILDS_S)
    return jobs


def assemble_build_job(settings: Settings, database: Database, blobs: BlobStore) -> BuildJob:
    writer = ImageWriter(database, blobs, registry_rules(settings))
    limits = PackageLimits(max_package_bytes=settings.max_package_bytes)
    folder = settings.data / "builds"
    builders: dict[str, Builder] = {
        BUILDAH: BuildahBuilder(
            writer,
            limits,
            package_rules(settings).limits,
            is_on=settings.dockerfile_builds == "on",
            has_network=settings.dockerfile_network == "host",
            may_pull=settings.dockerfile_pull,
        ),
        LAYERED: LayeredBuilder(writer, package_rules(settings), limits, bases=folder / "roots"),
    }
    return BuildJob(database, blobs, writer, build_rules(settings), builders, folder / "work")


def package_rules(settings: Settings) -> PackageRules:
    return PackageRules(
        cache=settings.data / "builds" / "packages",
        index_url=_index_url(settings),
        index_hosts=settings.build_index_hosts,
        git_hosts=settings.build_git_hosts,
        find_links=settings.build_find_links,
        limits=SandboxLimits(
            time_s=settings.build_timeout_s,
            memory_bytes=settings.build_memory_bytes,
            disk_bytes=settings.build_disk_bytes,
        ),
    )


def _index_url(settings: Settings) -> str | None:
    """None for uv's own."""
    if settings.build_find_links is not None:
        return NO_INDEX
    if settings.build_index_url is None:
        return None
    url = settings.build_index_url.get_secret_value().strip()
    return NO_INDEX if url.lower() == "none" else url


def open_blobs(settings: Settings) -> BlobStore:
    url = settings.blobs_url.get_secret_value() if settings.blobs_url else None
    return open_store(url, data_dir=settings.data)


@asynccontextmanager
async def open_hub(settings: Settings, *, run_worker: bool = False) -> AsyncIterator[Hub]:
    """Migrates the database, opens the stores, and closes all of it again. ``run_worker``: jobs run in this process."""
    settings.data.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        database = Database(settings.database)
        stack.push_async_callback(database.close)
        await migrate(database)
        blobs = open_blobs(settings)
        stack.push_async_callback(blobs.close)
        hub = await assemble_hub(settings, database, blobs)
        stack.push_async_callback(hub.identity.close)
        stack.push_async_callback(hub.registry.close)
        stack.push_async_callback(hub.jobs.stop)
        await hub.jobs.start(run_worker=run_worker)
        yield hub
