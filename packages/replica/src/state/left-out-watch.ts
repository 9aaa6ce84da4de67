import { type LeftOut, sentence, type Store } from '@antiphon/core';
import type { Health } from './health.js';
import type { Logger } from '../config/logger.js';

const ALARM = 'not replicated';
/** A message names so many. */
const MAX_NAMED = 10;

/**
 * Says once what of this database other replicas do not get, and keeps an alarm while something of
 * it is a surprise.
 */
export class LeftOutWatch {
  #seen: readonly LeftOut[] = [];
  #told: ReadonlySet<string> = new Set();

  constructor(
    private readonly store: Store,
    private readonly health: Health,
    private readonly logger: Logger,
    /** Somebody chose the tables: others are no surprise. */
    private readonly named: boolean,
  ) {}

  /** What `status` shows. */
  get known(): readonly LeftOut[] {
    const { leftOut = [] } = this.store.state();
    return this.named ? leftOut.map(({ isData: _, ...rest }) => rest) : leftOut;
  }

  /** Now and then; costs nothing while nothing has changed. */
  look(): void {
    const { leftOut = [] } = this.store.state();
    if (leftOut === this.#seen) return;
    this.#seen = leftOut;
    for (const { type, name, reason } of leftOut) {
      if (!this.#told.has(`${type} ${name} ${reason}`))
        this.logger.info({ type, name }, `The ${type} ${name} is not replicated: ${sentence(reason)}`);
    }
    this.#told = new Set(leftOut.map(({ type, name, reason }) => `${type} ${name} ${reason}`));
    this.#alarm(leftOut.filter(({ type, unexpected }) => unexpected && !(type === 'table' && this.named)));
  }

  #alarm(surprising: readonly LeftOut[]): void {
    if (surprising.length === 0) return this.health.clearAlarm(ALARM);
    const shown = surprising
      .slice(0, MAX_NAMED)
      .map(({ type, name, reason }) => `${type} ${name} (${reason})`);
    const more = surprising.length > MAX_NAMED ? ` and ${surprising.length - MAX_NAMED} more` : '';
    const wayOut = [
      ...(surprising.some(({ type }) => type === 'trigger')
        ? ['Name the triggers in `localTriggers` and start the replica again, or drop them.']
        : []),
      ...(surprising.some(({ type }) => type === 'table')
        ? [
            'Tables are agreed on when a cluster is created. If they are to stay here, name the tables of the cluster in `tables`.',
          ]
        : []),
    ];
    this.health.alarm(
      ALARM,
      `Other replicas do not get what was added to this database later, or what its cluster was created without: ${shown.join('; ')}${more}. ${wayOut.join(' ')}`,
    );
  }
}
