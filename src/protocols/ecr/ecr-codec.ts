import * as sdk from '@aws-sdk/client-ecr';
import type { OperationName } from './operation-names.js';

/**
 * Writes outputs with the schemas and the awsJson 1.1 codec of the SDK, so that both ends agree by construction: times as
 * epoch seconds, bytes as base64, absent and null members left out, empty lists kept, members the model lacks dropped.
 * The codec is reached through a client because the SDK exports it nowhere else; nothing is ever sent with that client.
 */
const serializer = new sdk.ECRClient({ region: 'us-east-1' }).config.protocol
  .getPayloadCodec()
  .createSerializer();

type OutputSchema = (typeof sdk)[`${OperationName}Response$`];

/** @returns the JSON document of an operation's output, in UTF-8. */
export function encodeOutput(operation: OperationName, output: unknown): Buffer {
  const schema: OutputSchema = sdk[`${operation}Response$`];
  serializer.write(schema, output ?? {});
  // A copy: the serializer goes on with its buffer at the next call.
  return Buffer.copyBytesFrom(serializer.flush() as Uint8Array);
}
