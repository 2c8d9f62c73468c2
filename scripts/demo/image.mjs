/** An image nobody has pushed before, yet one that docker can pull: each layer is a tar archive with one file of random bytes. */
import { createHash, randomFillSync } from 'node:crypto';

const MEBIBYTE = 1024 * 1024;
const TAR_BLOCK = 512;
/** Header, and the two empty blocks that end an archive. */
const TAR_OVERHEAD = 3 * TAR_BLOCK;

const MEDIA_TYPES = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
};

/** @param {number[]} sizes of the layers, in MiB */
export function makeImage(sizes) {
  const layers = sizes.map((size, index) => blobOf(tarLayer(`cargo-${index + 1}`, size * MEBIBYTE)));
  const config = blobOf(
    Buffer.from(
      JSON.stringify({
        created: new Date().toISOString(),
        architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
        os: 'linux',
        config: {},
        rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
      }),
    ),
  );
  const manifest = blobOf(
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.manifest,
        config: { mediaType: MEDIA_TYPES.config, digest: config.digest, size: config.bytes.length },
        layers: layers.map(({ digest, bytes }) => ({
          mediaType: MEDIA_TYPES.layer,
          digest,
          size: bytes.length,
        })),
      }),
    ),
  );
  return { layers, config, manifest, mediaType: MEDIA_TYPES.manifest };
}

function blobOf(bytes) {
  return { bytes, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` };
}

/** An archive of exactly `size` bytes. */
function tarLayer(name, size) {
  const archive = Buffer.alloc(size);
  const fileBytes = size - TAR_OVERHEAD;
  randomFillSync(archive, TAR_BLOCK, fileBytes);
  const octal = (value, width) => `${value.toString(8).padStart(width - 1, '0')}\0`;
  archive.write(name, 0);
  archive.write(octal(0o644, 8) + octal(0, 8) + octal(0, 8) + octal(fileBytes, 12) + octal(0, 12), 100);
  // The checksum counts its own field as spaces.
  archive.write(' '.repeat(8) + '0', 148);
  archive.write('ustar\x0000', 257);
  const sum = archive.subarray(0, TAR_BLOCK).reduce((total, byte) => total + byte, 0);
  archive.write(`${octal(sum, 7)} `, 148);
  return archive;
}
