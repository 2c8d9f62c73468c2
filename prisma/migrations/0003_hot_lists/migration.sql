-- Always what "staged" says, and nothing any statement writes. Not an index over the expression: that would count every change
-- of "staged" as one of the index, and make each append dearer.
ALTER TABLE "upload" ADD COLUMN     "staged_key" TEXT GENERATED ALWAYS AS (coalesce("staged"->>'committed', "staged"->>'key')) STORED;
ALTER TABLE "doomed_object" ADD COLUMN     "staged_key" TEXT GENERATED ALWAYS AS (coalesce("staged"->>'committed', "staged"->>'key')) STORED;

-- The scrub's order. All layers of before 0002 bear one and the same time.
DROP INDEX "blob_verified_idx";
CREATE INDEX "blob_verified_idx" ON "blob"("verified_at", "id");

-- CreateIndex
CREATE INDEX "image_tag_list_idx" ON "image_tag"("repository_id", "image_id", "id");

-- CreateIndex
CREATE INDEX "doomed_object_key_idx" ON "doomed_object"("object_key");

-- CreateIndex
CREATE INDEX "doomed_object_staged_idx" ON "doomed_object"("staged_key");

CREATE INDEX "upload_staged_idx" ON "upload"("staged_key") WHERE "state" = 'open';
CREATE INDEX "blob_damaged_idx" ON "blob"("id") WHERE "damaged_at" IS NOT NULL;
