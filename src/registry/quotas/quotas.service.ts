import { Inject, Injectable } from '@nestjs/common';
import { CONFIG, type Config } from '../../config/config.js';
import { RegistryError } from '../../domain/registry-error.js';
import { QUOTAS, type QuotaName } from './quotas.js';

/** The limits in force at one place; null: no limit. */
export type Limits = Readonly<Record<QuotaName, number | null>>;

/** A row of the `quota` table. */
export interface QuotaOverride {
  name: string;
  value: number | null;
  /** Whether it is for one repository; such a row outranks one for the whole registry. */
  ofRepository: boolean;
}

/**
 * Says which limit holds. Counting is done by whoever consumes, inside its own transaction, by the functions over
 * `repository_counter` or against a locked row; this class holds no count.
 */
@Injectable()
export class QuotasService {
  private readonly defaults: Limits;

  constructor(@Inject(CONFIG) config: Config) {
    const entries = Object.entries(QUOTAS).map(([name, { setting }]) => [name, config[setting] ?? null]);
    this.defaults = Object.fromEntries(entries) as Limits;
  }

  effective(overrides: QuotaOverride[]): Limits {
    if (overrides.length === 0) return this.defaults;
    const limits: Record<QuotaName, number | null> = { ...this.defaults };
    for (const { name, value } of overrides.toSorted(
      (a, b) => Number(a.ofRepository) - Number(b.ofRepository),
    )) {
      if (name in limits) limits[name as QuotaName] = value;
    }
    return limits;
  }

  /** @throws RegistryError LimitExceeded with `message(limit)` when `used` is beyond the limit */
  require(limits: Limits, name: QuotaName, used: number, message: (limit: number) => string): void {
    const limit = limits[name];
    if (limit !== null && used > limit) throw RegistryError.limitExceeded(message(limit));
  }
}
