import type { Params } from 'nestjs-pino';
import { destination, type DestinationStream } from 'pino';
import type { Config } from '../config/config.js';
import { currentRequestId } from './request-id.js';

/** Parts of a query that tell what was asked for. The value of any other might be a signature or a token. */
const LOGGED_PARAMETERS = new Set([
  'digest',
  'mount',
  'from',
  'n',
  'last',
  'tag',
  'artifactType',
  'digest-algorithm',
]);

/** JSON lines on stdout. Lines written while a request is served carry its id, the one of `x-amzn-RequestId`. */
export function loggerParams(config: Config): Params {
  return {
    // No middleware: RequestLog sees requests refused before Nest does, and middleware would cover up their URL.
    forRoutes: [],
    pinoHttp: {
      stream: lines(),
      level: config.STOWAGE_LOG_LEVEL,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (level) => ({ level }) },
      hooks: {
        logMethod(args, method, level) {
          const { context } = args[0] as { context?: string };
          if (level === INFO && context !== undefined && FRAMEWORK.has(context)) return;
          method.apply(this, args);
        },
      },
      mixin: () => ({ requestId: currentRequestId() }),
      // Nobody logs these on purpose; errors of clients carry their requests.
      redact: { paths: REDACTED, censor: '[redacted]' },
    },
  };
}

/** Lines go out together, at the latest after a second: a write per request would cost more than most answers do. */
let shared: DestinationStream | undefined;
function lines(): DestinationStream {
  return (shared ??= destination({
    fd: process.stdout.fd,
    sync: false,
    minLength: 4096,
    periodicFlush: FLUSH_MS,
  }));
}

const FLUSH_MS = 1_000;
/** pino's number for it. */
const INFO = 30;
/** What Nest tells of its own start; the same every time. */
const FRAMEWORK = new Set([
  'NestFactory',
  'NestApplication',
  'InstanceLoader',
  'RoutesResolver',
  'RouterExplorer',
]);

const REDACTED = [
  'authorization',
  'headers.authorization',
  '*.headers.authorization',
  '*.*.headers.authorization',
  'err.$response',
];

/** @returns the URL as it may stand in a log: without the values of parameters that could be secret */
export function loggedUrl(url: string): string {
  const [path = '', query] = url.split('?', 2);
  if (!query) return path;
  const parameters = query.split('&').map((parameter) => {
    const [name = '', value] = parameter.split('=', 2);
    return value === undefined || LOGGED_PARAMETERS.has(name) ? parameter : `${name}=[redacted]`;
  });
  return `${path}?${parameters.join('&')}`;
}
