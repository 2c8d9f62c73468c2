import { Controller, Module } from '@nestjs/common';
import { describe, expect, it } from '@jest/globals';
import type { DeleteRepositoryRequest, DeleteRepositoryResponse } from '@aws-sdk/client-ecr';
import { controllersOf, coverageOf, coveragePage } from './coverage.js';
import { EcrOperation } from './ecr/ecr-operation.decorator.js';
import { OciRoute } from './oci/oci-route.decorator.js';

@Controller('ecr')
class First {
  @EcrOperation('DeleteRepository')
  deleteRepository(_input: DeleteRepositoryRequest): Promise<DeleteRepositoryResponse> {
    return Promise.resolve({});
  }

  @OciRoute('GET', ':name/tags/list', { action: 'ecr:ListImages' })
  listTags(): void {}
}

@Controller('ecr')
class Second {
  @EcrOperation('DeleteRepository')
  deleteAgain(_input: DeleteRepositoryRequest): Promise<DeleteRepositoryResponse> {
    return Promise.resolve({});
  }
}

@Module({ controllers: [First] })
class Inner {}

@Module({
  imports: [Inner, { module: class Dynamic {}, controllers: [Second] }, { forwardRef: () => Inner }],
})
class Outer {}

describe('The coverage', () => {
  it('finds the controllers of everything a module imports', () => {
    expect(controllersOf(Outer)).toEqual([First, Second]);
  });

  it('knows which handler answers what', () => {
    const coverage = coverageOf([First]);
    expect([...coverage.ecr]).toEqual([['DeleteRepository', 'First.deleteRepository']]);
    expect([...coverage.oci]).toEqual([['oci GET :name/tags/list', 'First.listTags']]);
    expect(coverage.faults).toEqual([]);
  });

  it('finds an operation with two handlers', () => {
    expect(coverageOf([First, Second]).faults).toEqual([
      'DeleteRepository is handled by First.deleteRepository and by Second.deleteAgain',
    ]);
  });

  it('is written down operation by operation', () => {
    const page = coveragePage(coverageOf([First]));
    expect(page).toContain('## Amazon ECR API: 1 of 62 operations');
    expect(page).toContain('| DeleteRepository | yes |');
    expect(page).toContain('| PutImage | not yet |');
    expect(page).toContain('| GET | `/v2/:name/tags/list` |');
  });
});
