import { describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../config/config.js';
import { QuotasService } from './quotas.service.js';
import { QUOTAS } from './quotas.js';

describe('the limits in force', () => {
  const quotas = new QuotasService(loadConfig({ STOWAGE_QUOTA_IMAGES_PER_REPOSITORY: '7' }));
  const registryWide = (name: string, value: number | null) => ({ name, value, ofRepository: false });
  const ofRepository = (name: string, value: number | null) => ({ name, value, ofRepository: true });

  it('are those of the configuration, and none where it sets none', () => {
    expect(quotas.effective([])).toEqual({
      repositoriesPerRegistry: 100_000,
      imagesPerRepository: 7,
      tagsPerImage: 1_000,
      layersPerImage: 4_000,
      layerBytes: 52_000 * 1024 * 1024,
      partsPerLayer: 4_200,
      partBytes: 20 * 1024 * 1024,
      openUploadsPerRepository: 10_000,
      repositoryBytes: null,
      registryBytes: null,
    });
  });

  it('are those of a repository before those of its registry, in any order of the rows', () => {
    const rows = [ofRepository('imagesPerRepository', 1), registryWide('imagesPerRepository', 2)];
    for (const overrides of [rows, rows.toReversed()])
      expect(quotas.effective(overrides).imagesPerRepository).toBe(1);
    expect(quotas.effective(rows.slice(1)).imagesPerRepository).toBe(2);
  });

  it('are lifted by null, and zero is a limit', () => {
    expect(quotas.effective([registryWide('tagsPerImage', null)]).tagsPerImage).toBeNull();
    expect(
      quotas.effective([registryWide('tagsPerImage', 5), ofRepository('tagsPerImage', null)]).tagsPerImage,
    ).toBeNull();
    expect(quotas.effective([registryWide('repositoryBytes', 0)]).repositoryBytes).toBe(0);
  });

  it('do not change each other, nor by names that are no quota', () => {
    const limits = quotas.effective([registryWide('tagsPerImage', 5), registryWide('nonsense', 0)]);
    expect(limits).toEqual({ ...quotas.effective([]), tagsPerImage: 5 });
    expect(Object.keys(limits).toSorted()).toEqual(Object.keys(QUOTAS).toSorted());
    expect(quotas.effective([]).tagsPerImage).toBe(1_000);
  });

  it('refuse what is beyond them, and nothing up to them', () => {
    const limits = quotas.effective([]);
    const message = (limit: number): string => `at most ${limit}`;
    expect(() => quotas.require(limits, 'imagesPerRepository', 7, message)).not.toThrow();
    expect(() => quotas.require(limits, 'repositoryBytes', Number.MAX_SAFE_INTEGER, message)).not.toThrow();
    expect(() => quotas.require(limits, 'imagesPerRepository', 8, message)).toThrow(
      expect.objectContaining({ code: 'LimitExceeded', message: 'at most 7' }),
    );
  });
});
