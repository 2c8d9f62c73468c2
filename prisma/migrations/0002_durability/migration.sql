-- DropIndex
DROP INDEX "upload_state_touched_idx";

-- AlterTable
ALTER TABLE "blob" ADD COLUMN     "damaged_at" TIMESTAMPTZ(3),
ADD COLUMN     "verified_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP;

-- CreateTable
CREATE TABLE "deleted_image" (
    "id" BIGSERIAL NOT NULL,
    "registry_id" BIGINT NOT NULL,
    "repository_name" VARCHAR(256) NOT NULL,
    "digest" VARCHAR(135) NOT NULL,
    "manifest" BYTEA NOT NULL,
    "media_type" TEXT NOT NULL,
    "artifact_type" TEXT,
    "subject_digest" VARCHAR(135),
    "annotations" JSONB,
    "size_bytes" BIGINT NOT NULL,
    "pushed_at" TIMESTAMPTZ(3) NOT NULL,
    "last_pulled_at" TIMESTAMPTZ(3),
    "tags" TEXT[],
    "children" TEXT[],
    "deleted_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "deleted_image_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "deleted_image_layer" (
    "deleted_image_id" BIGINT NOT NULL,
    "blob_id" BIGINT NOT NULL,
    "media_type" TEXT NOT NULL,

    CONSTRAINT "deleted_image_layer_pkey" PRIMARY KEY ("deleted_image_id","blob_id")
);

-- CreateTable
CREATE TABLE "loose_layer" (
    "id" BIGSERIAL NOT NULL,
    "repository_id" BIGINT NOT NULL,
    "blob_id" BIGINT NOT NULL,
    "since" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "loose_layer_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "loose_blob" (
    "id" BIGSERIAL NOT NULL,
    "blob_id" BIGINT NOT NULL,
    "since" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "loose_blob_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "repository_counter" (
    "repository_id" BIGINT NOT NULL,
    "slot" SMALLINT NOT NULL,
    "image_count" BIGINT NOT NULL DEFAULT 0,
    "stored_bytes" BIGINT NOT NULL DEFAULT 0,
    "open_uploads" BIGINT NOT NULL DEFAULT 0,

    CONSTRAINT "repository_counter_pkey" PRIMARY KEY ("repository_id","slot")
);

-- CreateTable
CREATE TABLE "pending_record" (
    "id" BIGSERIAL NOT NULL,
    "repository_id" BIGINT NOT NULL,
    "digest" VARCHAR(135),

    CONSTRAINT "pending_record_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "deleted_image_deleted_idx" ON "deleted_image"("deleted_at");

-- CreateIndex
CREATE INDEX "deleted_image_repository_idx" ON "deleted_image"("registry_id", "repository_name", "deleted_at");

-- CreateIndex
CREATE INDEX "deleted_image_layer_blob_idx" ON "deleted_image_layer"("blob_id");

-- CreateIndex
CREATE INDEX "loose_layer_since_idx" ON "loose_layer"("since");

-- CreateIndex
CREATE INDEX "loose_layer_link_idx" ON "loose_layer"("repository_id", "blob_id");

-- CreateIndex
CREATE INDEX "blob_verified_idx" ON "blob"("verified_at");

-- AddForeignKey
ALTER TABLE "deleted_image" ADD CONSTRAINT "deleted_image_registry_id_fkey" FOREIGN KEY ("registry_id") REFERENCES "registry"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "deleted_image_layer" ADD CONSTRAINT "deleted_image_layer_deleted_image_id_fkey" FOREIGN KEY ("deleted_image_id") REFERENCES "deleted_image"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "deleted_image_layer" ADD CONSTRAINT "deleted_image_layer_blob_id_fkey" FOREIGN KEY ("blob_id") REFERENCES "blob"("id") ON DELETE NO ACTION ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "repository_counter" ADD CONSTRAINT "repository_counter_repository_id_fkey" FOREIGN KEY ("repository_id") REFERENCES "repository"("id") ON DELETE CASCADE ON UPDATE CASCADE;


-- The counts so far become the first slot.
INSERT INTO "repository_counter" ("repository_id", "slot", "image_count", "stored_bytes", "open_uploads")
SELECT "id", 0, "image_count", "stored_bytes", "open_uploads" FROM "repository";

-- AlterTable
ALTER TABLE "repository" DROP COLUMN "image_count",
DROP COLUMN "open_uploads",
DROP COLUMN "stored_bytes";

-- Counts without a limit, in the slot of this connection.
CREATE FUNCTION count_in_repository(repository bigint, images bigint, bytes bigint, uploads bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO repository_counter AS c (repository_id, slot, image_count, stored_bytes, open_uploads)
    VALUES (repository, pg_backend_pid() % 64, images, bytes, uploads)
    ON CONFLICT (repository_id, slot) DO UPDATE SET image_count = c.image_count + images,
        stored_bytes = c.stored_bytes + bytes, open_uploads = c.open_uploads + uploads;
END $$;

CREATE FUNCTION counted_in_repository(repository bigint, what text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT coalesce(sum(CASE what WHEN 'images' THEN image_count WHEN 'bytes' THEN stored_bytes ELSE open_uploads END), 0)
        FROM repository_counter WHERE repository_id = repository);
END $$;

-- Counts up to a limit (null: none) and says whether there was room. Far below the limit nobody waits: what runs at the same
-- moment and is not yet seen is less than `margin`. Near it one transaction at a time decides, and sees all others.
CREATE FUNCTION take_in_repository(repository bigint, what text, amount bigint, most bigint, margin bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    room bigint := hashtextextended(what || '-of-repository', repository);
BEGIN
    IF most IS NOT NULL THEN
        IF counted_in_repository(repository, what) + amount + margin <= most THEN
            PERFORM pg_advisory_xact_lock_shared(room);
        ELSE
            PERFORM pg_advisory_xact_lock(room);
            IF counted_in_repository(repository, what) + amount > most THEN RETURN false; END IF;
        END IF;
    END IF;
    PERFORM count_in_repository(repository, CASE what WHEN 'images' THEN amount ELSE 0 END,
        CASE what WHEN 'bytes' THEN amount ELSE 0 END, CASE what WHEN 'uploads' THEN amount ELSE 0 END);
    RETURN true;
END $$;

-- Rewritten with every append: room in the page, and no index over a column that changes, keep that cheap.
ALTER TABLE "upload" SET (fillfactor = 70);
ALTER TABLE "repository_counter" SET (fillfactor = 50);
CREATE INDEX "upload_open_idx" ON "upload"("created_at") WHERE "state" = 'open';
CREATE INDEX "upload_finished_idx" ON "upload"("touched_at") WHERE "state" <> 'open';

-- What may have lost its last reference is queued where the reference goes, by whatever statement or cascade that happens.
CREATE FUNCTION queue_loose_layers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO loose_layer (repository_id, blob_id) SELECT DISTINCT repository_id, blob_id FROM changed;
    RETURN NULL;
END $$;

CREATE FUNCTION queue_loose_blobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO loose_blob (blob_id) SELECT DISTINCT blob_id FROM changed;
    RETURN NULL;
END $$;

CREATE TRIGGER layer_linked AFTER INSERT ON "repository_layer"
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_loose_layers();
CREATE TRIGGER layer_released AFTER DELETE ON "image_layer"
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_loose_layers();
CREATE TRIGGER layer_unlinked AFTER DELETE ON "repository_layer"
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_loose_blobs();
CREATE TRIGGER deleted_image_forgotten AFTER DELETE ON "deleted_image_layer"
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_loose_blobs();

-- The same for the copy of the records in the blob store: nothing may change an image, a tag or a repository past it.
CREATE FUNCTION queue_changed_images() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pending_record (repository_id, digest) SELECT repository_id, digest FROM changed;
    RETURN NULL;
END $$;

CREATE FUNCTION queue_changed_tags() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pending_record (repository_id, digest)
    SELECT DISTINCT image.repository_id, image.digest FROM changed JOIN image ON image.id = changed.image_id;
    RETURN NULL;
END $$;

CREATE FUNCTION queue_changed_repositories() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pending_record (repository_id) SELECT id FROM changed;
    RETURN NULL;
END $$;

CREATE FUNCTION queue_changed_resource_tags() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pending_record (repository_id) SELECT DISTINCT repository_id FROM changed;
    RETURN NULL;
END $$;

CREATE TRIGGER image_added AFTER INSERT ON "image"
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_changed_images();
CREATE TRIGGER image_removed AFTER DELETE ON "image"
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_changed_images();
CREATE TRIGGER tag_added AFTER INSERT ON "image_tag"
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_changed_tags();
CREATE TRIGGER tag_moved_to AFTER UPDATE ON "image_tag"
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_changed_tags();
CREATE TRIGGER tag_moved_from AFTER UPDATE ON "image_tag"
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_changed_tags();
CREATE TRIGGER tag_removed AFTER DELETE ON "image_tag"
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_changed_tags();
CREATE TRIGGER repository_added AFTER INSERT ON "repository"
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_changed_repositories();
CREATE TRIGGER repository_changed AFTER UPDATE ON "repository"
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_changed_repositories();
CREATE TRIGGER repository_removed AFTER DELETE ON "repository"
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_changed_repositories();
CREATE TRIGGER resource_tag_added AFTER INSERT ON "repository_tag"
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_changed_resource_tags();
CREATE TRIGGER resource_tag_changed AFTER UPDATE ON "repository_tag"
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_changed_resource_tags();
CREATE TRIGGER resource_tag_removed AFTER DELETE ON "repository_tag"
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION queue_changed_resource_tags();

-- What stands already is looked at once.
INSERT INTO "loose_layer" ("repository_id", "blob_id")
SELECT l."repository_id", l."blob_id" FROM "repository_layer" l
WHERE NOT EXISTS (SELECT 1 FROM "image_layer" i WHERE i."repository_id" = l."repository_id" AND i."blob_id" = l."blob_id");
INSERT INTO "loose_blob" ("blob_id")
SELECT b."id" FROM "blob" b WHERE NOT EXISTS (SELECT 1 FROM "repository_layer" l WHERE l."blob_id" = b."id");
INSERT INTO "pending_record" ("repository_id") SELECT "id" FROM "repository";
INSERT INTO "pending_record" ("repository_id", "digest") SELECT "repository_id", "digest" FROM "image";
