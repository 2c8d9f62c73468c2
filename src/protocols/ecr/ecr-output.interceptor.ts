import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { map, type Observable } from 'rxjs';
import { AWS_JSON } from '../wire-error.js';
import { encodeOutput } from './ecr-codec.js';
import type { OperationName } from './operation-names.js';

/** Encodes what a handler returns as the output of its operation. */
@Injectable()
export class EcrOutputInterceptor implements NestInterceptor {
  constructor(private readonly operation: OperationName) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<Buffer> {
    const reply = context.switchToHttp().getResponse<FastifyReply>();
    return next.handle().pipe(
      map((output: unknown) => {
        // Bytes, because Fastify would append a charset to the content type of a string.
        const bytes = encodeOutput(this.operation, output);
        void reply.header('content-type', AWS_JSON);
        return bytes;
      }),
    );
  }
}
