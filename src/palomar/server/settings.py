"""Everything an operator can set: ``PALOMAR_`` in the environment, over ``palomar.toml``, over these defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from palomar.contract.actions import Visibility

GIB = 1024**3
Positive = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    """One tree, read once and handed on; nothing else reads the environment."""

    model_config = SettingsConfigDict(env_prefix="PALOMAR_", toml_file="palomar.toml", extra="ignore", frozen=True)

    data: Path = Field(Path("data"), description="Folder of everything the embedded hub keeps.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8484, ge=0, le=65535, description="Port to listen on.")
    public_url: str | None = Field(
        None, description="How clients reach the hub, e.g. https://hub.example.org; without it, the request's Host."
    )
    database_url: SecretStr | None = Field(
        None, description="postgresql://... for many replicas; without it, SQLite in the data folder."
    )
    blobs_url: SecretStr | None = Field(
        None, description="s3://bucket/prefix, gs://..., az://...; without it, a folder in the data folder."
    )
    sign_up: Literal["open", "closed"] = Field("open", description="Whether anyone may create an account.")
    bare_names: Literal["refuse", "own"] = Field(
        "refuse", description="What a pushed name without namespace means: a refusal, or the caller's namespace."
    )
    default_visibility: Visibility = Field(Visibility.PUBLIC, description="Of an array whose push does not say.")
    visibility_ceiling: Visibility = Field(Visibility.PUBLIC, description="The most visible a new namespace may be.")

    max_push_bytes: Positive = Field(1024 * GIB, description="Largest body of one push, as sent.")
    max_document_bytes: Positive = Field(2**31 - 1, description="Largest document, inflated; protobuf's own limit.")
    max_documents: Positive = Field(1_000_000_000, description="Most documents in one array.")
    max_package_bytes: Positive = Field(GIB, description="Largest Executor package, as sent.")
    max_json_bytes: Positive = Field(4 * 1024**2, description="Largest JSON or form body, and largest metaData.")
    max_artifacts_listed: Positive = Field(10_000, description="Rows of a list page at most, and by default.")
    quota_bytes: int | None = Field(None, gt=0, description="Stored bytes of one namespace at most.")

    download_url_ttl_s: Positive = Field(3600, description="How long a download URL lives.")
    session_ttl_days: Positive = Field(30, description="How long a login lasts.")
    token_max_days: Positive = Field(3650, description="Longest life of a personal access token.")
    login_attempts_per_minute: Positive = Field(10, description="Password attempts per account and per address.")
    token_requests_per_minute: Positive = Field(60, description="Token creations and login starts per address.")

    builds: Literal["on", "off"] = Field(
        "on", description="Whether images are made of pushed Executors; on, that begins with the first base image."
    )
    builds_at_once: Positive = Field(2, description="Builds that run at the same time, on all workers together.")
    build_timeout_s: Positive = Field(1800, description="How long a build may run.")
    build_wait_s: Positive = Field(120, description="How long a call that wants an image waits for its build.")
    build_memory_bytes: Positive = Field(4 * GIB, description="Memory that a build may use.")
    build_disk_bytes: Positive = Field(20 * GIB, description="Disk that a build may use while it runs.")
    build_index_url: SecretStr | None = Field(
        None,
        description="Package index of builds, as https://user:password@host/simple, or 'none'; without it, that of uv.",
    )
    build_index_hosts: tuple[str, ...] = Field(
        (), description="Hosts that builds may download packages from, beside those that the index itself names."
    )
    build_git_hosts: tuple[str, ...] = Field(
        (), description="Hosts that a requirement may name as git+https://; none by default."
    )
    build_find_links: Path | None = Field(
        None, description="Folder of wheels and source distributions; with it, builds use no index and no network."
    )
    dockerfile_builds: Literal["on", "off"] = Field(
        "off", description="Whether packages that bring a Dockerfile are built, by buildah. Not for shared hubs."
    )
    dockerfile_network: Literal["none", "host"] = Field(
        "none", description="What the commands of a Dockerfile reach: nothing, or whatever the hub itself reaches."
    )
    dockerfile_pull: bool = Field(
        False, description="Whether a Dockerfile may stand on images of other registries than this hub's base images."
    )

    run_worker: bool = Field(True, description="Whether `palomar serve` runs background jobs itself.")
    collect_every_s: Positive = Field(3600, description="How often unreferenced blobs are collected.")
    collect_grace_s: int = Field(24 * 3600, ge=0, description="How long an unreferenced blob is kept at least.")
    undelete_days: int = Field(7, ge=0, description="How long a deleted array or Executor can be brought back.")
    scrub_every_s: Positive = Field(7 * 24 * 3600, description="How often every stored chunk is checked.")

    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Of the hub's own lines.")
    metrics_token: SecretStr | None = Field(None, description="Opens /metrics beyond loopback.")
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Addresses whose X-Forwarded-For and -Proto are believed, e.g. 10.0.0.2."
    )

    @field_validator("public_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = value.rstrip("/")
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, file_secret_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def database(self) -> str:
        """The database's URL, with its password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data / 'palomar.sqlite').absolute()}"

    @property
    def jobs_database(self) -> str:
        """Where the job engine keeps its executions: beside the hub's tables, never among them."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data / 'jobs.sqlite').absolute()}"
