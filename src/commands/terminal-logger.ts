import type { LoggerService } from '@nestjs/common';

/** What the service would log, for a person at a terminal: only what went wrong, and apart from the command's own output. */
export class TerminalLogger implements LoggerService {
  log(): void {}

  warn(message: unknown): void {
    process.stderr.write(`${textOf(message)}\n`);
  }

  error(message: unknown): void {
    this.warn(message);
  }

  fatal(message: unknown): void {
    this.warn(message);
  }
}

function textOf(message: unknown): string {
  if (typeof message !== 'object' || message === null) return String(message);
  const { msg, err } = message as { msg?: string; err?: unknown };
  const reason = err instanceof Error ? err.message : undefined;
  return [msg ?? JSON.stringify(message), reason].filter(Boolean).join(': ');
}
