import type { RegistryProcess } from '../support/registry-process.js';
import { type Doubt, type Effect, type Finding, Ledger } from './ledger.js';
import { Failed, Refused, Unanswered } from './requests.js';
import type { Random } from './random.js';

/** What a digest stands for, so that what is pulled can be compared. */
export type Content =
  | {
      kind: 'layer';
      size: number;
      /** Its owner will delete it: no image may count on it. */
      passing: boolean;
    }
  | { kind: 'manifest'; text: string; layers: string[] };

/** The registry under test, what it acknowledged so far, and what goes on around it. */
export class World {
  readonly ledger = new Ledger();
  readonly contents = new Map<string, Content>();
  readonly findings: Finding[] = [];
  /** Something the registry stands on is being killed: it may answer 5xx. */
  disturbed = false;
  /** Clients go away in the middle of their requests. */
  cutting = false;
  private readonly running = new Set<AbortController>();

  constructor(
    readonly registry: RegistryProcess,
    private readonly tell: (finding: Finding) => void,
  ) {}

  found(finding: Finding): void {
    this.findings.push(finding);
    this.tell(finding);
  }

  /**
   * Sends a request and writes down what its answer means.
   * @param accept codes of refusals that mean it is done already
   * @throws Refused, Failed, Unanswered
   */
  async attempt<Answer>(
    what: string,
    effects: readonly Effect[],
    send: (signal: AbortSignal) => Promise<Answer>,
    { accept = [], begins }: { accept?: string[]; begins?: string } = {},
  ): Promise<Answer | undefined> {
    const doubt = this.ledger.doubt(what, effects, begins);
    try {
      const answer = await this.sending(send);
      this.ledger.confirm(doubt);
      return answer;
    } catch (error) {
      if (error instanceof Refused && accept.includes(error.code)) {
        this.ledger.confirm(doubt);
        return undefined;
      }
      this.missed(doubt, error);
      throw error;
    }
  }

  /** Writes down what it means that a request did not succeed. */
  missed(doubt: Doubt, error: unknown, { refusable = false } = {}): void {
    if (error instanceof Refused) {
      this.ledger.refute(doubt);
      if (!refusable) this.found({ kind: 'unexpected', text: `${doubt.what} was refused: ${error.message}` });
    } else if (error instanceof Failed) {
      doubt.settled = true;
      if (!this.disturbed)
        this.found({
          kind: 'unexpected',
          text: `${doubt.what} failed with nothing amiss: ${error.message}`,
        });
    } else if (!(error instanceof Unanswered)) throw error;
  }

  async sending<Answer>(send: (signal: AbortSignal) => Promise<Answer>): Promise<Answer> {
    const controller = new AbortController();
    this.running.add(controller);
    try {
      return await send(controller.signal);
    } finally {
      this.running.delete(controller);
    }
  }

  /** Layers the images of a repository consist of. */
  neededIn(repository: string): ReadonlySet<string> {
    const images = this.ledger.in('image', repository).map(([digest]) => this.contents.get(digest));
    return new Set(images.flatMap((image) => (image?.kind === 'manifest' ? image.layers : [])));
  }

  /** One client goes away, if any is there. */
  cutOne(random: Random): void {
    const running = [...this.running];
    if (running.length > 0) random.pick(running).abort();
  }

  cutAll(): void {
    for (const controller of this.running) controller.abort();
  }
}
