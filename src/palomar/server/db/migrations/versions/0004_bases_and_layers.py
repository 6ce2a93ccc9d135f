"""bases and layers"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from palomar.server.db.columns import JsonColumn, UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "base_images",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("repository_id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=135), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("python", sa.String(length=16), nullable=False),
        sa.Column("libc", sa.String(length=32), nullable=False),
        sa.Column("facts", JsonColumn, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_base_images_repository_id_repositories")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_base_images")),
        sa.UniqueConstraint("name", name=op.f("uq_base_images_name")),
    )
    with op.batch_alter_table("base_images", schema=None) as batch_op:
        batch_op.create_index("ix_base_images_repository_id", ["repository_id"], unique=False)
        batch_op.create_index(
            "uq_base_images_is_default",
            ["is_default"],
            unique=True,
            sqlite_where=sa.text("is_default"),
            postgresql_where=sa.text("is_default"),
        )

    op.create_table(
        "layer_cache",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=135), nullable=False),
        sa.Column("diff_id", sa.String(length=135), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("unpacked_bytes", sa.BigInteger(), nullable=False),
        sa.Column("blob_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("facts", JsonColumn, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"], name=op.f("fk_layer_cache_blob_id_blobs")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_layer_cache")),
    )
    with op.batch_alter_table("layer_cache", schema=None) as batch_op:
        batch_op.create_index("ix_layer_cache_blob_id", ["blob_id"], unique=False)
        batch_op.create_index("ix_layer_cache_used_at", ["used_at"], unique=False)


def downgrade() -> None:
    op.drop_table("layer_cache")
    op.drop_table("base_images")
