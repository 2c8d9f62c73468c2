/**
 * What the registry acknowledged, as facts `<kind> <repository> <rest>` → value:
 *
 *   repository <name>            present
 *   link <repository> <digest>   present          the layer is available there
 *   image <repository> <digest>  present
 *   tag <repository> <tag>       <digest>
 *   upload <repository> <id>     <bytes acknowledged>
 *
 * A request without an answer is in doubt: what it was to change has either happened or not, and all of it alike.
 */
export const PRESENT = 'present';

export const repositoryKey = (name: string): string => `repository ${name}`;
export const linkKey = (repository: string, digest: string): string => `link ${repository} ${digest}`;
export const imageKey = (repository: string, digest: string): string => `image ${repository} ${digest}`;
export const tagKey = (repository: string, tag: string): string => `tag ${repository} ${tag}`;
export const uploadKey = (repository: string, id: string): string => `upload ${repository} ${id}`;

export interface Effect {
  key: string;
  /** Absent: the fact ends. */
  value: string | undefined;
  /** A value on the way there that is whole by itself. */
  between?: string;
}

export interface Doubt {
  what: string;
  effects: readonly Effect[];
  /** Repository where the request begins an upload whose id only its answer tells. */
  begins?: string | undefined;
  /** The registry answered, if only with an error of its own: it is done with the request and nothing changes later. */
  settled: boolean;
}

export interface Finding {
  kind: 'lost' | 'half-visible' | 'leaked' | 'unexpected';
  text: string;
}

export class Ledger {
  readonly facts = new Map<string, string>();
  private readonly doubts = new Set<Doubt>();
  acknowledged = 0;

  /** To be called before the request is sent. */
  doubt(what: string, effects: readonly Effect[], begins?: string): Doubt {
    const doubt: Doubt = { what, effects, begins, settled: false };
    this.doubts.add(doubt);
    return doubt;
  }

  /** It happened. */
  confirm(doubt: Doubt): void {
    this.acknowledged += 1;
    this.doubts.delete(doubt);
    for (const { key, value } of doubt.effects) this.set(key, value);
  }

  /** It did not and never will. */
  refute(doubt: Doubt): void {
    this.doubts.delete(doubt);
  }

  set(key: string, value: string | undefined): void {
    if (value === undefined) this.facts.delete(key);
    else this.facts.set(key, value);
  }

  has(key: string): boolean {
    return this.facts.has(key);
  }

  /** Known for certain, to be there or not to be. */
  isCertain(key: string): boolean {
    for (const { effects } of this.doubts) if (effects.some((effect) => effect.key === key)) return false;
    return true;
  }

  /** Facts of one kind in one repository: what stands behind its name, and the value. */
  in(kind: string, repository: string): [rest: string, value: string][] {
    const prefix = `${kind} ${repository} `;
    return [...this.facts].flatMap(([key, value]) =>
      key.startsWith(prefix) ? [[key.slice(prefix.length), value]] : [],
    );
  }

  repositories(): string[] {
    return [...this.facts.keys()].flatMap((key) =>
      key.startsWith('repository ') ? [key.slice('repository '.length)] : [],
    );
  }

  /** All that ends with a repository. */
  endOf(repository: string): Effect[] {
    const inside = ['link', 'image', 'tag', 'upload'].flatMap((kind) =>
      this.in(kind, repository).map(([rest]) => `${kind} ${repository} ${rest}`),
    );
    return [repositoryKey(repository), ...inside].map((key) => ({ key, value: undefined }));
  }

  /** Whether nothing in or of the repository is in doubt. */
  isQuiet(repository: string): boolean {
    return [...this.doubts].every(
      ({ effects, begins }) =>
        begins !== repository && effects.every(({ key }) => key.split(' ')[1] !== repository),
    );
  }

  /** The collector is let loose without any patience: open uploads and layers no image needs may go, or may not. */
  doubtUnneeded(needed: (repository: string) => ReadonlySet<string>): void {
    for (const repository of this.repositories()) {
      const needs = needed(repository);
      const links = this.in('link', repository).filter(([digest]) => !needs.has(digest));
      const keys = [
        ...links.map(([digest]) => linkKey(repository, digest)),
        ...this.in('upload', repository).map(([id]) => uploadKey(repository, id)),
      ];
      for (const key of keys) this.doubt(`collection of ${key}`, [{ key, value: undefined }]);
    }
  }

  /**
   * Holds what is there against what was acknowledged, then takes it for certain.
   * @param restarted the process that requests in doubt were sent to is gone: none of them can still be carried out
   */
  judge(observed: ReadonlyMap<string, string>, restarted: boolean): Finding[] {
    const seen = new Map(observed);
    const findings = restarted ? this.adoptUploads(seen) : this.passOverUploads(seen);
    const keys = new Set([...this.facts.keys(), ...seen.keys()]);
    for (const key of keys) findings.push(...this.judgeFact(key, seen.get(key)));
    for (const doubt of this.doubts) findings.push(...this.judgeDoubt(doubt, seen));
    for (const doubt of this.doubts)
      if (restarted || (doubt.settled && doubt.begins === undefined)) this.doubts.delete(doubt);
    for (const key of keys) if (this.isCertain(key)) this.set(key, seen.get(key));
    return findings;
  }

  /** Sessions nobody was told the id of; no more of them than requests that may have begun one. */
  private adoptUploads(seen: ReadonlyMap<string, string>): Finding[] {
    const findings: Finding[] = [];
    const begun = new Map<string, number>();
    for (const { begins } of this.doubts) if (begins) begun.set(begins, (begun.get(begins) ?? 0) + 1);
    for (const [key, offset] of this.unknownUploads(seen)) {
      const repository = key.split(' ')[1]!;
      const left = begun.get(repository) ?? 0;
      begun.set(repository, left - 1);
      this.facts.set(key, offset);
      if (left <= 0) findings.push({ kind: 'half-visible', text: `${key} at ${offset} was never asked for` });
    }
    return findings;
  }

  /** They may still come and go. */
  private passOverUploads(seen: Map<string, string>): Finding[] {
    const findings: Finding[] = [];
    for (const [key, offset] of this.unknownUploads(seen)) {
      seen.delete(key);
      const repository = key.split(' ')[1];
      if (![...this.doubts].some(({ begins }) => begins === repository))
        findings.push({ kind: 'half-visible', text: `${key} at ${offset} was never asked for` });
    }
    return findings;
  }

  private unknownUploads(seen: ReadonlyMap<string, string>): [key: string, offset: string][] {
    return [...seen].filter(([key]) => key.startsWith('upload ') && !this.has(key) && this.isCertain(key));
  }

  private judgeFact(key: string, now: string | undefined): Finding[] {
    const before = this.facts.get(key);
    if (now === before) return [];
    const allowed = [...this.doubts].flatMap(({ effects }) =>
      effects
        .filter((effect) => effect.key === key)
        .flatMap(({ value, between }) => [value, between ?? value]),
    );
    if (allowed.includes(now)) return [];
    const may = allowed.length > 0 ? ` (or, in doubt, ${allowed.map(String).join(', ')})` : '';
    return before === undefined
      ? [{ kind: 'half-visible', text: `${key} is ${now}, which nobody acknowledged${may}` }]
      : [{ kind: 'lost', text: `${key} was acknowledged as ${before}${may} and is ${now ?? 'not there'}` }];
  }

  private judgeDoubt({ what, effects }: Doubt, seen: ReadonlyMap<string, string>): Finding[] {
    // Where two requests in doubt may have changed the same, one cannot be told from the other.
    const own = effects.filter(({ key, value }) => {
      const others = [...this.doubts].filter((doubt) => doubt.effects.some((effect) => effect.key === key));
      return others.length === 1 && value !== this.facts.get(key);
    });
    const done = own.filter(({ key, value }) => seen.get(key) === value);
    if (done.length === 0 || done.length === own.length) return [];
    const parts = own.map(({ key }) => `${key}: ${seen.get(key) ?? 'not there'}`);
    return [{ kind: 'half-visible', text: `${what} is half done: ${parts.join('; ')}` }];
  }
}
