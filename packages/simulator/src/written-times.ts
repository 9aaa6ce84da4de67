import type { SimulatedNode } from './node.js';
import type { LogModel } from './log-model.js';
import { tokensIn } from './tables.js';
import type { Violations } from './violation.js';

/** Changes that are made closer together may share a time. */
const SHARED_MS = 300;

interface Written {
  readonly node: SimulatedNode;
  /** The latest time that its change may have, unless its replica had published a later one. */
  readonly latestMs: number;
  /** Where the log ended then. */
  readonly endSeq: number;
}

/**
 * What another program writes has the time when it was written, or the next one after what its
 * database had seen then, however late it is sealed (docs/decisions/0030); or after what its
 * replica had published then, if the database has lost that. Clocks that are set are another
 * matter.
 */
export class WrittenTimes {
  readonly #written = new Map<string, Written>();

  /** Right after it was committed. */
  note(node: SimulatedNode, token: string, endSeq: number): void {
    if (!node.database.isReplica) return;
    const [[seenUs] = []] = node.database.read('SELECT time FROM _antiphon_state');
    const seenMs = typeof seenUs === 'bigint' ? Number(seenUs) / 1000 : 0;
    const latestMs = Math.max(node.machine.nowMs(), seenMs) + SHARED_MS;
    this.#written.set(token, { node, latestMs, endSeq });
  }

  check({ transactions }: LogModel, violations: Violations): void {
    for (const { origin, time, changes } of transactions) {
      for (const { op, row, earlierUs = 0 } of changes) {
        const [token = ''] = op === 'delete' ? [] : tokensIn(row);
        const written = this.#written.get(token);
        if (written?.node.id !== origin) continue;
        const published = transactions.filter(
          (own) => own.origin === origin && own.seq !== undefined && own.seq <= written.endSeq,
        );
        const pastMs = Math.max(0, ...published.map((own) => own.time / 1000)) + SHARED_MS;
        const lateMs = (time - earlierUs) / 1000 - Math.max(written.latestMs, pastMs);
        if (lateMs > 0)
          violations.add('I4', origin, `${token} has a time ${Math.round(lateMs)} ms after it was written`);
      }
    }
  }
}
