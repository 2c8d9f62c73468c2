/**
 * What is told is gathered in tables of the transaction, where the last record of a thing replaces those before; the rows are
 * then made of them by sets, so that memory does not grow with the registry.
 */

/** Where records are gathered. */
export const TELL = [
  `CREATE TEMP TABLE told_registry (account_id text, region text, body jsonb, PRIMARY KEY (account_id, region)) ON COMMIT DROP`,
  `CREATE TEMP TABLE told_repository (id bigint PRIMARY KEY, body jsonb) ON COMMIT DROP`,
  `CREATE TEMP TABLE told_image (repository_id bigint, digest text, body jsonb, PRIMARY KEY (repository_id, digest)) ON COMMIT DROP`,
];

/** Each takes an array of records as JSON; the last one takes ids of repositories, and digests. */
export const TOLD = {
  registries: `
    INSERT INTO told_registry SELECT body->>'accountId', body->>'region', body FROM jsonb_array_elements($1::jsonb) AS body
    ON CONFLICT (account_id, region) DO UPDATE SET body = excluded.body`,
  repositories: `
    INSERT INTO told_repository SELECT (body->>'id')::bigint, body FROM jsonb_array_elements($1::jsonb) AS body
    ON CONFLICT (id) DO UPDATE SET body = excluded.body`,
  images: `
    INSERT INTO told_image SELECT (body->>'repository')::bigint, body->>'digest', body FROM jsonb_array_elements($1::jsonb) AS body
    ON CONFLICT (repository_id, digest) DO UPDATE SET body = excluded.body`,
  goneImages: `
    DELETE FROM told_image i USING unnest($1::bigint[], $2::text[]) AS gone (repository_id, digest)
    WHERE i.repository_id = gone.repository_id AND i.digest = gone.digest`,
};

/** Images that cannot be, for people. */
export const KEPT_OUT = `
  SELECT r.body->>'accountId' AS "accountId", r.body->>'region' AS region, r.body->>'name' AS repository, k.digest,
    ARRAY(SELECT t->>'tag' FROM jsonb_array_elements(i.body->'tags') AS t) AS tags, k.missing
  FROM kept_out k JOIN kept_repository r ON r.id = k.repository_id
  JOIN told_image i ON i.repository_id = k.repository_id AND i.digest = k.digest
  ORDER BY 1, 2, 3, (i.body->>'order')::bigint`;

/** An index goes the way of an image it names. To be repeated until it finds none. */
export const KEEP_OUT_PARENTS = `
  INSERT INTO kept_out
  SELECT i.repository_id, i.digest, array_agg(c.digest ORDER BY c.digest)
  FROM told_image i JOIN kept_repository r ON r.id = i.repository_id
  CROSS JOIN jsonb_array_elements_text(i.body->'children') AS c (digest)
  LEFT JOIN told_image t ON t.repository_id = i.repository_id AND t.digest = c.digest
  LEFT JOIN kept_out k ON k.repository_id = i.repository_id AND k.digest = c.digest
  WHERE (t.digest IS NULL OR k.digest IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM kept_out o WHERE o.repository_id = i.repository_id AND o.digest = i.digest)
  GROUP BY i.repository_id, i.digest`;

export const REBUILD = {
  beforeImages: [
    'ANALYZE told_repository',
    'ANALYZE told_image',
    // Deleted and created anew at the very moment of the copy: the younger one has the name.
    `CREATE TEMP TABLE kept_repository ON COMMIT DROP AS
     SELECT DISTINCT ON (body->>'accountId', body->>'region', body->>'name') id, body
     FROM told_repository ORDER BY body->>'accountId', body->>'region', body->>'name', id DESC`,
    `INSERT INTO registry (account_id, region, created_at)
     SELECT account_id, region, (body->>'createdAt')::timestamptz FROM told_registry ORDER BY 3`,
    `INSERT INTO registry (account_id, region) SELECT DISTINCT body->>'accountId', body->>'region' FROM kept_repository
     ON CONFLICT (account_id, region) DO NOTHING`,
    `INSERT INTO repository (id, registry_id, name, created_at, tag_mutability, exclusion_filters, scan_on_push)
     SELECT k.id, g.id, k.body->>'name', (k.body->>'createdAt')::timestamptz, (k.body->>'tagMutability')::tag_mutability,
       ARRAY(SELECT jsonb_array_elements_text(k.body->'exclusionFilters')), (k.body->>'scanOnPush')::boolean
     FROM kept_repository k JOIN registry g ON g.account_id = k.body->>'accountId' AND g.region = k.body->>'region' ORDER BY k.id`,
    `INSERT INTO repository_tag (repository_id, key, value)
     SELECT k.id, t.key, t.value FROM kept_repository k CROSS JOIN jsonb_each_text(k.body->'tags') AS t`,
    `INSERT INTO quota (registry_id, repository_id, name, value)
     SELECT g.id, NULL, q->>'name', (q->>'value')::bigint
     FROM told_registry t JOIN registry g ON g.account_id = t.account_id AND g.region = t.region
     CROSS JOIN jsonb_array_elements(t.body->'quotas') AS q
     UNION ALL
     SELECT r.registry_id, r.id, q->>'name', (q->>'value')::bigint
     FROM kept_repository k JOIN repository r ON r.id = k.id CROSS JOIN jsonb_array_elements(k.body->'quotas') AS q`,
    `CREATE TEMP TABLE told_layer ON COMMIT DROP AS
     SELECT i.repository_id, i.digest, (l->>'sha256')::char(64) AS sha256, (l->>'sha512')::char(128) AS sha512, l->>'mediaType' AS media_type
     FROM told_image i JOIN kept_repository k ON k.id = i.repository_id CROSS JOIN jsonb_array_elements(i.body->'layers') AS l`,
    'ANALYZE told_layer',
    'ANALYZE blob',
    `CREATE TEMP TABLE kept_out (repository_id bigint, digest text, missing text[], PRIMARY KEY (repository_id, digest)) ON COMMIT DROP`,
    `INSERT INTO kept_out SELECT t.repository_id, t.digest, array_agg('sha256:' || t.sha256 ORDER BY t.sha256)
     FROM told_layer t LEFT JOIN blob b ON b.sha256 = t.sha256 WHERE b.id IS NULL GROUP BY t.repository_id, t.digest`,
  ],
  images: [
    `INSERT INTO image (id, repository_id, digest, manifest, media_type, artifact_type, subject_digest, annotations, size_bytes, pushed_at, last_pulled_at)
     SELECT (i.body->>'order')::bigint, i.repository_id, i.digest, decode(i.body->>'manifest', 'base64'), i.body->>'mediaType',
       i.body->>'artifactType', i.body->>'subjectDigest', nullif(i.body->'annotations', 'null'::jsonb), (i.body->>'sizeBytes')::bigint,
       (i.body->>'pushedAt')::timestamptz, (i.body->>'lastPulledAt')::timestamptz
     FROM told_image i JOIN kept_repository r ON r.id = i.repository_id
     WHERE NOT EXISTS (SELECT 1 FROM kept_out k WHERE k.repository_id = i.repository_id AND k.digest = i.digest)
     ORDER BY 1`,
    'ANALYZE image',
    // The same SHA-256 is the same bytes, whose SHA-512 was verified when it was recorded.
    `UPDATE blob SET sha512 = t.sha512 FROM (SELECT DISTINCT sha256, sha512 FROM told_layer WHERE sha512 IS NOT NULL) t
     WHERE blob.sha256 = t.sha256 AND blob.sha512 IS NULL`,
    `INSERT INTO repository_layer (repository_id, blob_id)
     SELECT DISTINCT t.repository_id, b.id FROM told_layer t
     JOIN image i ON i.repository_id = t.repository_id AND i.digest = t.digest JOIN blob b ON b.sha256 = t.sha256`,
    `INSERT INTO image_layer (image_id, repository_id, blob_id, media_type)
     SELECT i.id, t.repository_id, b.id, t.media_type FROM told_layer t
     JOIN image i ON i.repository_id = t.repository_id AND i.digest = t.digest JOIN blob b ON b.sha256 = t.sha256`,
    `INSERT INTO image_child (parent_id, child_id)
     SELECT p.id, c.id FROM told_image t JOIN image p ON p.repository_id = t.repository_id AND p.digest = t.digest
     CROSS JOIN jsonb_array_elements_text(t.body->'children') AS named (digest)
     JOIN image c ON c.repository_id = t.repository_id AND c.digest = named.digest`,
    `INSERT INTO image_tag (id, repository_id, tag, image_id)
     SELECT t.id, t.repository_id, t.tag, i.id FROM (
       SELECT DISTINCT ON (i.repository_id, t->>'tag') (t->>'order')::bigint AS id, i.repository_id, t->>'tag' AS tag, i.digest
       FROM told_image i CROSS JOIN jsonb_array_elements(i.body->'tags') AS t
       ORDER BY i.repository_id, t->>'tag', (t->>'order')::bigint DESC) t
     JOIN image i ON i.repository_id = t.repository_id AND i.digest = t.digest ORDER BY t.id`,
    `INSERT INTO repository_counter (repository_id, slot, image_count, stored_bytes)
     SELECT r.id, 0, coalesce(i.images, 0), coalesce(l.bytes, 0) FROM repository r
     LEFT JOIN (SELECT repository_id, count(*) AS images FROM image GROUP BY repository_id) i ON i.repository_id = r.id
     LEFT JOIN (SELECT l.repository_id, sum(b.size_bytes) AS bytes FROM repository_layer l JOIN blob b ON b.id = l.blob_id
       GROUP BY l.repository_id) l ON l.repository_id = r.id`,
    `UPDATE registry SET repository_count = (SELECT count(*) FROM repository r WHERE r.registry_id = registry.id)`,
    // Numbers once told are not given again: orders stay orders.
    `SELECT setval(pg_get_serial_sequence('repository', 'id'), max(id)) FROM told_repository HAVING max(id) IS NOT NULL`,
    `SELECT setval(pg_get_serial_sequence('image', 'id'), max((body->>'order')::bigint)) FROM told_image HAVING count(*) > 0`,
    `SELECT setval(pg_get_serial_sequence('image_tag', 'id'), max((t->>'order')::bigint))
     FROM told_image i CROSS JOIN jsonb_array_elements(i.body->'tags') AS t HAVING count(*) > 0`,
    // Every link was made for an image just now.
    'DELETE FROM loose_layer',
    // A full set, without what the rebuild settled: tags claimed twice, names used twice, images kept out.
    'DELETE FROM pending_record',
    'INSERT INTO pending_record (repository_id) VALUES (0)',
  ],
};

/** What no image names is the collector's, once its grace of so many hours is over. */
export const LEAVE_TO_COLLECTOR = `
  INSERT INTO loose_blob (blob_id, since)
  SELECT b.id, now() + make_interval(secs => $1::float8 * 3600) FROM blob b
  WHERE NOT EXISTS (SELECT 1 FROM repository_layer l WHERE l.blob_id = b.id)`;
