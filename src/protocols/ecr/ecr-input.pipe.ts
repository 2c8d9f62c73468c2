import { type ArgumentMetadata, Injectable, type PipeTransform } from '@nestjs/common';
import { type EcrBody, isEcrBody } from './ecr-body.js';
import type { OperationName } from './operation-names.js';
import { validateInput } from './validate-constraints.js';

/** Turns the parsed body of a request into the validated input of its operation. Everything else passes unchanged. */
@Injectable()
export class EcrInputPipe implements PipeTransform {
  constructor(private readonly operation: OperationName) {}

  /** @throws RegistryError Serialization, InvalidParameter, or what went wrong while the body was read */
  transform(value: unknown, metadata: ArgumentMetadata): unknown {
    if (metadata.type !== 'body') return value;
    const body: EcrBody = isEcrBody(value) ? value : { payloadSha256: '', document: value };
    // Kept until now, so that nobody learns what is wrong with a body without having proven who they are.
    if (body.fault) throw body.fault;
    return validateInput(this.operation, body.document);
  }
}
