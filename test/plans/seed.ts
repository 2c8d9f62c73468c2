import pg from 'pg';

/** How large a registry the plans are looked at in. */
export interface Size {
  images: number;
  repositories: number;
  /** How many of the images are in the first repository, all of them tagged. */
  largest: number;
  /** How many are in the second one, none of them tagged. */
  untagged: number;
  uploads: number;
}

/** The first repository is the largest one, the second has no tags. */
export function seededRepository(number: number): string {
  return `seeded/${String(number).padStart(6, '0')}`;
}

/** The one tag of the n-th image; those of the largest repository come first. */
export function seededTag(n: number): string {
  return `v${String(n).padStart(7, '0')}`;
}

/** Of the n-th image. */
export function seededDigest(n: number): string {
  return `sha256:${n.toString(16).padStart(64, '0')}`;
}

/** Of a layer: the first of each repository is in all of its images, and image n has layer `repositories + n` to itself. */
export function seededLayer(n: number): string {
  return seededDigest(n);
}

/** Referrers of the first image of the largest repository. */
export const SEEDED_REFERRERS = 500;

/** Without triggers and foreign keys, which would take most of the time: what they would do is done here. */
const SETTINGS = `
  SET session_replication_role = replica;
  SET maintenance_work_mem = '256MB';
  SET work_mem = '64MB'`;

/** Fills an empty database that has this release's structure. */
export async function seed(url: string, size: Size): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(SETTINGS);
    for (const statement of rows(size)) await client.query(statement);
    await client.query(counters(size));
    await client.query(SEQUENCES);
    // Statistics, and the visibility that scans of an index alone go by.
    await client.query('VACUUM (ANALYZE)');
  } finally {
    await client.end();
  }
}

function rows({ images, repositories, largest, untagged, uploads }: Size): string[] {
  const others = largest + untagged;
  const repository = (n: string): string =>
    `CASE WHEN ${n} <= ${largest} THEN 1 WHEN ${n} <= ${others} THEN 2 ELSE 3 + (${n} - ${others}) % ${repositories - 2} END`;
  const hex = (n: string): string => `lpad(to_hex(${n}), 64, '0')`;
  const each = (last: number): string => `FROM generate_series(1, ${last}) AS n`;
  return [
    `INSERT INTO registry (id, account_id, region, repository_count) VALUES (1, '000000000000', 'us-east-1', ${repositories})`,
    `INSERT INTO repository (id, registry_id, name) SELECT n, 1, 'seeded/' || lpad(n::text, 6, '0') ${each(repositories)}`,
    `INSERT INTO image (id, repository_id, digest, manifest, media_type, subject_digest, size_bytes, last_pulled_at)
      SELECT n, ${repository('n')}, 'sha256:' || ${hex('n')}, convert_to('{"schemaVersion":2,"annotations":{"n":"' || n || '"}}', 'UTF8'),
        'application/vnd.oci.image.manifest.v1+json',
        CASE WHEN n BETWEEN 2 AND ${SEEDED_REFERRERS + 1} THEN 'sha256:' || ${hex('1')} END, 1000, CASE WHEN n % 2 = 0 THEN now() END
      ${each(images)}`,
    `INSERT INTO image_tag (id, repository_id, tag, image_id)
      SELECT n, ${repository('n')}, 'v' || lpad(n::text, 7, '0'), n ${each(images)}
      WHERE n <= ${largest} OR n > ${others} AND n % 10 > 0`,
    `INSERT INTO image_child (parent_id, child_id) SELECT n, n - child ${each(largest)}, generate_series(1, 2) AS child WHERE n % 100 = 0`,
    `INSERT INTO blob (id, sha256, size_bytes, object_key) SELECT n, ${hex('n')}, 1000, 'seeded/' || n ${each(repositories + images)}`,
    `INSERT INTO repository_layer (repository_id, blob_id) SELECT n, n ${each(repositories)}`,
    `INSERT INTO repository_layer (repository_id, blob_id) SELECT ${repository('n')}, ${repositories} + n ${each(images)}`,
    `INSERT INTO image_layer (image_id, repository_id, blob_id, media_type)
      SELECT n, ${repository('n')}, CASE layer WHEN 1 THEN ${repository('n')} ELSE ${repositories} + n END, 'application/vnd.oci.image.layer.v1.tar+gzip'
      ${each(images)}, generate_series(1, 2) AS layer`,
    `INSERT INTO upload (id, repository_id, state, offset_bytes, staged, part_count)
      SELECT gen_random_uuid(), 1 + n % ${repositories}, CASE WHEN n % 2 = 0 THEN 'open' ELSE 'completed' END::upload_state, 1000,
        CASE WHEN n % 2 = 0 THEN jsonb_build_object('key', 'staged/' || n, 'parts', '[]'::jsonb) END, 1 ${each(uploads)}`,
    `INSERT INTO upload_part (upload_id, first_byte, last_byte, crc32)
      SELECT id, part * 1000, part * 1000 + 999, part FROM upload, generate_series(0, 2) AS part WHERE state = 'open'`,
    `INSERT INTO upload_tail (upload_id, first_byte, bytes) SELECT id, 0, '\\x00' FROM upload WHERE state = 'open'`,
    `INSERT INTO doomed_object (object_key, not_before) SELECT 'doomed/' || n, now() + interval '1 day' ${each(Math.ceil(uploads / 4))}`,
  ];
}

function counters({ repositories }: Size): string {
  return `
    INSERT INTO repository_counter (repository_id, slot, image_count, stored_bytes, open_uploads)
    SELECT r.id, 0, coalesce(i.images, 0), coalesce(l.bytes, 0), coalesce(u.uploads, 0)
    FROM repository r
    LEFT JOIN (SELECT repository_id, count(*) AS images FROM image GROUP BY 1) i ON i.repository_id = r.id
    LEFT JOIN (SELECT repository_id, count(*) * 1000 AS bytes FROM repository_layer GROUP BY 1) l ON l.repository_id = r.id
    LEFT JOIN (SELECT repository_id, count(*) AS uploads FROM upload WHERE state = 'open' GROUP BY 1) u ON u.repository_id = r.id
    WHERE r.id <= ${repositories}`;
}

/** Rows were given their ids. */
const SEQUENCES = `
  SELECT setval(pg_get_serial_sequence(name, 'id'), highest) FROM (
    SELECT 'registry' AS name, max(id) AS highest FROM registry UNION ALL SELECT 'repository', max(id) FROM repository
    UNION ALL SELECT 'image', max(id) FROM image UNION ALL SELECT 'image_tag', max(id) FROM image_tag
    UNION ALL SELECT 'blob', max(id) FROM blob) AS sequences`;
