import { Prisma } from './generated/client.js';

/**
 * Copies images that are about to be deleted, with their tags, layers and children, to where they can be brought back from.
 * To be run in the transaction that deletes them, before anything of them goes. Here, since both the deletion of images and
 * that of a whole repository need it, and neither may know the other's rows.
 *
 * @param which condition on the image `i`
 */
export function keepingDeleted(repositoryId: bigint, which: Prisma.Sql): Prisma.Sql {
  return Prisma.sql`
    WITH kept AS (
      INSERT INTO deleted_image (registry_id, repository_name, digest, manifest, media_type, artifact_type, subject_digest,
        annotations, size_bytes, pushed_at, last_pulled_at, tags, children)
      SELECT r.registry_id, r.name, i.digest, i.manifest, i.media_type, i.artifact_type, i.subject_digest,
        i.annotations, i.size_bytes, i.pushed_at, i.last_pulled_at,
        ARRAY(SELECT t.tag::text FROM image_tag t WHERE t.image_id = i.id ORDER BY t.id),
        ARRAY(SELECT c.digest::text FROM image_child ic JOIN image c ON c.id = ic.child_id WHERE ic.parent_id = i.id ORDER BY c.id)
      FROM image i JOIN repository r ON r.id = i.repository_id
      WHERE i.repository_id = ${repositoryId} AND ${which} ORDER BY i.id
      RETURNING id, digest)
    INSERT INTO deleted_image_layer (deleted_image_id, blob_id, media_type)
    SELECT kept.id, l.blob_id, l.media_type
    FROM kept JOIN image i ON i.repository_id = ${repositoryId} AND i.digest = kept.digest JOIN image_layer l ON l.image_id = i.id`;
}
