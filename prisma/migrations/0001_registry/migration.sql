-- CreateEnum
CREATE TYPE "upload_state" AS ENUM ('open', 'completed', 'aborted');

-- CreateEnum
CREATE TYPE "tag_mutability" AS ENUM ('MUTABLE', 'IMMUTABLE', 'MUTABLE_WITH_EXCLUSION', 'IMMUTABLE_WITH_EXCLUSION');

-- CreateTable
CREATE TABLE "image" (
    "id" BIGSERIAL NOT NULL,
    "repository_id" BIGINT NOT NULL,
    "digest" VARCHAR(135) NOT NULL,
    "manifest" BYTEA NOT NULL,
    "media_type" TEXT NOT NULL,
    "artifact_type" TEXT,
    "subject_digest" VARCHAR(135),
    "annotations" JSONB,
    "size_bytes" BIGINT NOT NULL,
    "pushed_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "last_pulled_at" TIMESTAMPTZ(3),

    CONSTRAINT "image_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "image_tag" (
    "id" BIGSERIAL NOT NULL,
    "repository_id" BIGINT NOT NULL,
    -- Byte order: listings page through it the same way on every server.
    "tag" VARCHAR(300) COLLATE "C" NOT NULL,
    "image_id" BIGINT NOT NULL,

    CONSTRAINT "image_tag_pkey" PRIMARY KEY ("repository_id","tag")
);

-- CreateTable
CREATE TABLE "image_layer" (
    "image_id" BIGINT NOT NULL,
    "repository_id" BIGINT NOT NULL,
    "blob_id" BIGINT NOT NULL,
    "media_type" TEXT NOT NULL,

    CONSTRAINT "image_layer_pkey" PRIMARY KEY ("image_id","blob_id")
);

-- CreateTable
CREATE TABLE "image_child" (
    "parent_id" BIGINT NOT NULL,
    "child_id" BIGINT NOT NULL,

    CONSTRAINT "image_child_pkey" PRIMARY KEY ("parent_id","child_id")
);

-- CreateTable
CREATE TABLE "blob" (
    "id" BIGSERIAL NOT NULL,
    "sha256" CHAR(64) NOT NULL,
    "sha512" CHAR(128),
    "size_bytes" BIGINT NOT NULL,
    "object_key" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "blob_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "repository_layer" (
    "repository_id" BIGINT NOT NULL,
    "blob_id" BIGINT NOT NULL,
    "linked_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "repository_layer_pkey" PRIMARY KEY ("repository_id","blob_id")
);

-- CreateTable
CREATE TABLE "upload" (
    "id" UUID NOT NULL,
    "repository_id" BIGINT NOT NULL,
    "state" "upload_state" NOT NULL DEFAULT 'open',
    "offset_bytes" BIGINT NOT NULL DEFAULT 0,
    "staged" JSONB,
    "tail_bytes" INTEGER NOT NULL DEFAULT 0,
    "sha256_so_far" CHAR(64),
    "sha512_so_far" CHAR(128),
    "wants_sha512" BOOLEAN NOT NULL DEFAULT false,
    "part_count" INTEGER NOT NULL DEFAULT 0,
    "smallest_inner_part" INTEGER,
    "last_part_bytes" INTEGER,
    "next_part_number" INTEGER NOT NULL DEFAULT 1,
    "lease_token" UUID,
    "lease_expires_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "touched_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "completed_sha256" CHAR(64),
    "completed_sha512" CHAR(128),

    CONSTRAINT "upload_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "upload_tail" (
    "upload_id" UUID NOT NULL,
    "first_byte" BIGINT NOT NULL,
    "bytes" BYTEA NOT NULL,

    CONSTRAINT "upload_tail_pkey" PRIMARY KEY ("upload_id","first_byte")
);

-- CreateTable
CREATE TABLE "upload_part" (
    "upload_id" UUID NOT NULL,
    "first_byte" BIGINT NOT NULL,
    "last_byte" BIGINT NOT NULL,
    "sha256" CHAR(64) NOT NULL,

    CONSTRAINT "upload_part_pkey" PRIMARY KEY ("upload_id","first_byte")
);

-- CreateTable
CREATE TABLE "doomed_object" (
    "id" BIGSERIAL NOT NULL,
    "object_key" TEXT,
    "staged" JSONB,
    "doomed_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "not_before" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "doomed_object_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "quota" (
    "id" BIGSERIAL NOT NULL,
    "registry_id" BIGINT NOT NULL,
    "repository_id" BIGINT,
    "name" VARCHAR(64) NOT NULL,
    "value" BIGINT,

    CONSTRAINT "quota_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "registry" (
    "id" BIGSERIAL NOT NULL,
    "account_id" CHAR(12) NOT NULL,
    "region" VARCHAR(25) NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "repository_count" BIGINT NOT NULL DEFAULT 0,

    CONSTRAINT "registry_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "repository" (
    "id" BIGSERIAL NOT NULL,
    "registry_id" BIGINT NOT NULL,
    "name" VARCHAR(256) COLLATE "C" NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "tag_mutability" "tag_mutability" NOT NULL DEFAULT 'MUTABLE',
    "exclusion_filters" TEXT[] DEFAULT ARRAY[]::TEXT[],
    "scan_on_push" BOOLEAN NOT NULL DEFAULT false,
    "image_count" BIGINT NOT NULL DEFAULT 0,
    "stored_bytes" BIGINT NOT NULL DEFAULT 0,
    "open_uploads" BIGINT NOT NULL DEFAULT 0,

    CONSTRAINT "repository_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "repository_tag" (
    "repository_id" BIGINT NOT NULL,
    "key" VARCHAR(128) NOT NULL,
    "value" VARCHAR(256) NOT NULL,

    CONSTRAINT "repository_tag_pkey" PRIMARY KEY ("repository_id","key")
);

-- CreateTable
CREATE TABLE "store_binding" (
    "id" INTEGER NOT NULL DEFAULT 1,
    "identity" UUID NOT NULL,

    CONSTRAINT "store_binding_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "image_subject_idx" ON "image"("repository_id", "subject_digest", "id");

-- CreateIndex
CREATE UNIQUE INDEX "image_digest_key" ON "image"("repository_id", "digest");

-- CreateIndex
CREATE UNIQUE INDEX "image_repository_key" ON "image"("repository_id", "id");

-- CreateIndex
CREATE UNIQUE INDEX "image_tag_order_key" ON "image_tag"("id");

-- CreateIndex
CREATE INDEX "image_tag_image_idx" ON "image_tag"("image_id");

-- CreateIndex
CREATE INDEX "image_layer_blob_idx" ON "image_layer"("repository_id", "blob_id");

-- CreateIndex
CREATE INDEX "image_child_child_idx" ON "image_child"("child_id");

-- CreateIndex
CREATE UNIQUE INDEX "blob_object_key_key" ON "blob"("object_key");

-- CreateIndex
CREATE INDEX "blob_sha512_idx" ON "blob"("sha512");

-- CreateIndex
CREATE UNIQUE INDEX "blob_sha256_key" ON "blob"("sha256");

-- CreateIndex
CREATE INDEX "repository_layer_blob_idx" ON "repository_layer"("blob_id");

-- CreateIndex
CREATE INDEX "upload_state_touched_idx" ON "upload"("state", "touched_at");

-- CreateIndex
CREATE INDEX "upload_repository_idx" ON "upload"("repository_id");

-- CreateIndex
CREATE INDEX "doomed_object_due_idx" ON "doomed_object"("not_before");

-- CreateIndex
-- The registry's own limits have no repository, and are to be unique as well.
CREATE UNIQUE INDEX "quota_scope_key" ON "quota"("registry_id", "repository_id", "name") NULLS NOT DISTINCT;

-- CreateIndex
CREATE UNIQUE INDEX "registry_address_key" ON "registry"("account_id", "region");

-- CreateIndex
CREATE UNIQUE INDEX "repository_name_key" ON "repository"("registry_id", "name");

-- AddForeignKey
ALTER TABLE "image" ADD CONSTRAINT "image_repository_id_fkey" FOREIGN KEY ("repository_id") REFERENCES "repository"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "image_tag" ADD CONSTRAINT "image_tag_repository_id_image_id_fkey" FOREIGN KEY ("repository_id", "image_id") REFERENCES "image"("repository_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "image_layer" ADD CONSTRAINT "image_layer_image_id_fkey" FOREIGN KEY ("image_id") REFERENCES "image"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "image_layer" ADD CONSTRAINT "image_layer_repository_id_blob_id_fkey" FOREIGN KEY ("repository_id", "blob_id") REFERENCES "repository_layer"("repository_id", "blob_id") ON DELETE NO ACTION ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "image_child" ADD CONSTRAINT "image_child_parent_id_fkey" FOREIGN KEY ("parent_id") REFERENCES "image"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "image_child" ADD CONSTRAINT "image_child_child_id_fkey" FOREIGN KEY ("child_id") REFERENCES "image"("id") ON DELETE NO ACTION ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "repository_layer" ADD CONSTRAINT "repository_layer_repository_id_fkey" FOREIGN KEY ("repository_id") REFERENCES "repository"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "repository_layer" ADD CONSTRAINT "repository_layer_blob_id_fkey" FOREIGN KEY ("blob_id") REFERENCES "blob"("id") ON DELETE NO ACTION ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "upload" ADD CONSTRAINT "upload_repository_id_fkey" FOREIGN KEY ("repository_id") REFERENCES "repository"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "upload_tail" ADD CONSTRAINT "upload_tail_upload_id_fkey" FOREIGN KEY ("upload_id") REFERENCES "upload"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "upload_part" ADD CONSTRAINT "upload_part_upload_id_fkey" FOREIGN KEY ("upload_id") REFERENCES "upload"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "quota" ADD CONSTRAINT "quota_registry_id_fkey" FOREIGN KEY ("registry_id") REFERENCES "registry"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "quota" ADD CONSTRAINT "quota_repository_id_fkey" FOREIGN KEY ("repository_id") REFERENCES "repository"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "repository" ADD CONSTRAINT "repository_registry_id_fkey" FOREIGN KEY ("registry_id") REFERENCES "registry"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "repository_tag" ADD CONSTRAINT "repository_tag_repository_id_fkey" FOREIGN KEY ("repository_id") REFERENCES "repository"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- Counters and sizes: a fault in the counting is refused, not recorded.
ALTER TABLE "image"
    ADD CONSTRAINT "image_size_bytes_check" CHECK ("size_bytes" >= 0);

ALTER TABLE "blob"
    ADD CONSTRAINT "blob_size_bytes_check" CHECK ("size_bytes" >= 0);

ALTER TABLE "upload"
    ADD CONSTRAINT "upload_offset_bytes_check" CHECK ("offset_bytes" >= 0),
    ADD CONSTRAINT "upload_tail_bytes_check" CHECK ("tail_bytes" >= 0),
    ADD CONSTRAINT "upload_part_count_check" CHECK ("part_count" >= 0),
    ADD CONSTRAINT "upload_smallest_inner_part_check" CHECK ("smallest_inner_part" >= 0),
    ADD CONSTRAINT "upload_last_part_bytes_check" CHECK ("last_part_bytes" >= 0),
    ADD CONSTRAINT "upload_next_part_number_check" CHECK ("next_part_number" >= 0);

ALTER TABLE "upload_tail"
    ADD CONSTRAINT "upload_tail_first_byte_check" CHECK ("first_byte" >= 0);

ALTER TABLE "upload_part"
    ADD CONSTRAINT "upload_part_first_byte_check" CHECK ("first_byte" >= 0),
    ADD CONSTRAINT "upload_part_last_byte_check" CHECK ("last_byte" >= 0);

ALTER TABLE "doomed_object"
    ADD CONSTRAINT "doomed_object_attempts_check" CHECK ("attempts" >= 0);

ALTER TABLE "quota"
    ADD CONSTRAINT "quota_value_check" CHECK ("value" >= 0);

ALTER TABLE "registry"
    ADD CONSTRAINT "registry_repository_count_check" CHECK ("repository_count" >= 0);

ALTER TABLE "repository"
    ADD CONSTRAINT "repository_image_count_check" CHECK ("image_count" >= 0),
    ADD CONSTRAINT "repository_stored_bytes_check" CHECK ("stored_bytes" >= 0),
    ADD CONSTRAINT "repository_open_uploads_check" CHECK ("open_uploads" >= 0);

ALTER TABLE "store_binding"
    ADD CONSTRAINT "store_binding_id_check" CHECK ("id" = 1);
