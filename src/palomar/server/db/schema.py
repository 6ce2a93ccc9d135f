"""Every table of the hub, imported in one place for migrations and for the collection of unreferenced blobs."""

from __future__ import annotations

from sqlalchemy import MetaData


def metadata() -> MetaData:
    from palomar.server.accounts import models as _accounts  # noqa: F401
    from palomar.server.artifacts import counts as _counts  # noqa: F401
    from palomar.server.artifacts import models as _artifacts  # noqa: F401
    from palomar.server.artifacts import native_push as _pushes  # noqa: F401
    from palomar.server.blobs import leases as _leases  # noqa: F401
    from palomar.server.blobs import models as _blobs  # noqa: F401
    from palomar.server.builds import layer_cache as _layer_cache  # noqa: F401
    from palomar.server.builds import models as _builds  # noqa: F401
    from palomar.server.builds.bases import models as _bases  # noqa: F401
    from palomar.server.db.base import Base
    from palomar.server.events import models as _events  # noqa: F401
    from palomar.server.executors import models as _executors  # noqa: F401
    from palomar.server.namespaces import models as _namespaces  # noqa: F401
    from palomar.server.registry import models as _registry  # noqa: F401

    return Base.metadata
