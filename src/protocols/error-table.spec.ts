import { describe, expect, it } from '@jest/globals';
import * as sdk from '@aws-sdk/client-ecr';
import { REGISTRY_ERROR_CODES } from '../domain/registry-error.js';
import { ERROR_TABLE, FRONT_END_TYPES } from './error-table.js';

const OCI_CODES = [
  'BLOB_UNKNOWN', 'BLOB_UPLOAD_INVALID', 'BLOB_UPLOAD_UNKNOWN', 'DENIED', 'DIGEST_INVALID', 'MANIFEST_BLOB_UNKNOWN',
  'MANIFEST_INVALID', 'MANIFEST_UNKNOWN', 'NAME_INVALID', 'NAME_UNKNOWN', 'SIZE_INVALID', 'TAG_INVALID', 'TOOMANYREQUESTS',
  'UNAUTHORIZED', 'UNKNOWN', 'UNSUPPORTED',
]; // prettier-ignore

describe('The error table', () => {
  it('has exactly one row for every code of the registry', () => {
    expect(Object.keys(ERROR_TABLE).toSorted()).toEqual([...REGISTRY_ERROR_CODES].toSorted());
  });

  it.each([...REGISTRY_ERROR_CODES])('renders %s at either door as an error clients know', (code) => {
    const { ecr, oci } = ERROR_TABLE[code];
    if (!FRONT_END_TYPES.has(ecr.type)) expect(sdk).toHaveProperty(ecr.type);
    expect(OCI_CODES).toContain(oci.code);
    expect(ecr.status).toBeGreaterThanOrEqual(400);
    expect(oci.status).toBeGreaterThanOrEqual(400);
  });

  it('does not list as a front-end error what the API model declares', () => {
    for (const type of FRONT_END_TYPES) expect(sdk).not.toHaveProperty(type);
  });
});
