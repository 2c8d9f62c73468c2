import { z } from 'zod';
import { Digest } from '../../domain/digest.js';
import { isPlainText } from '../../domain/plain-text.js';
import { RegistryError } from '../../domain/registry-error.js';
import { isForeignLayer, isIndex, isManifestMediaType, type ManifestMediaType } from './media-types.js';

export interface Descriptor {
  mediaType: string;
  digest: string;
  /** Bytes. */
  size: number;
}

/** What the registry needs to know of a manifest. The bytes themselves are kept verbatim. */
export interface ImageManifest {
  mediaType: ManifestMediaType;
  /** Config and layers that must be in the repository. */
  layers: Descriptor[];
  /** Layers the manifest names, foreign ones and repetitions included, the config not. */
  layerCount: number;
  /** Manifests an index names; they must be in the repository. */
  children: Descriptor[];
  subjectDigest: string | null;
  /** `artifactType`, else the media type of the config. */
  artifactType: string | null;
  annotations: Record<string, string> | null;
}

const digestText = z.string().refine((text) => Digest.parse(text) !== null, 'digest');
const text = z.string().refine(isPlainText, 'plain text');
const descriptor = z.object({ mediaType: text.min(1), digest: digestText, size: z.int().min(0) });
const annotations = z.record(text, text).nullish();
const common = {
  schemaVersion: z.literal(2),
  mediaType: z.string().nullish(),
  artifactType: text.nullish(),
  subject: descriptor.nullish(),
  annotations,
};
const imageSchema = z.object({
  ...common,
  config: descriptor,
  layers: z.array(descriptor),
  manifests: z.undefined().optional(),
});
const indexSchema = z.object({
  ...common,
  manifests: z.array(descriptor).nullish(),
  layers: z.undefined().optional(),
  config: z.undefined().optional(),
});

/**
 * Reads a manifest.
 * @param declared media type the client gave beside the bytes (ECR: `imageManifestMediaType`, OCI: Content-Type)
 * @throws RegistryError ManifestInvalid, with ECR's one text for everything that is wrong with it
 */
export function parseManifest(bytes: Buffer, declared: string | undefined): ImageManifest {
  const document = parseJson(bytes);
  const inside =
    typeof document === 'object' && document !== null && 'mediaType' in document
      ? (document.mediaType ?? undefined)
      : undefined;
  const mediaType = declared ?? inside;
  // A body that says one thing inside and another outside means different things to different clients (CVE-2021-41190).
  if (
    typeof mediaType !== 'string' ||
    !isManifestMediaType(mediaType) ||
    (inside !== undefined && inside !== mediaType)
  )
    throw invalid();
  return isIndex(mediaType) ? readIndex(document, mediaType) : readImage(document, mediaType);
}

function readImage(document: unknown, mediaType: ManifestMediaType): ImageManifest {
  const { data: manifest } = imageSchema.safeParse(document);
  if (!manifest) throw invalid();
  const layers = [manifest.config, ...manifest.layers.filter((layer) => !isForeignLayer(layer.mediaType))];
  return {
    mediaType,
    layers,
    layerCount: manifest.layers.length,
    children: [],
    subjectDigest: manifest.subject?.digest ?? null,
    artifactType: manifest.artifactType ?? manifest.config.mediaType,
    annotations: manifest.annotations ?? null,
  };
}

function readIndex(document: unknown, mediaType: ManifestMediaType): ImageManifest {
  const { data: index } = indexSchema.safeParse(document);
  if (!index) throw invalid();
  return {
    mediaType,
    layers: [],
    layerCount: 0,
    children: index.manifests ?? [],
    subjectDigest: index.subject?.digest ?? null,
    artifactType: index.artifactType ?? null,
    annotations: index.annotations ?? null,
  };
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw invalid();
  }
}

function invalid(): RegistryError {
  return RegistryError.manifestInvalid('Invalid JSON syntax');
}
