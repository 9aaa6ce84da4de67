import { same } from './compare.js';
import { Discrepancy } from './discrepancy.js';
import type { Replicas } from './replicas.js';

interface Content {
  readonly rows: ReadonlyMap<string, readonly string[]>;
  readonly orphans: string;
}

/**
 * What the first replica has not published is undone and written again, twice: its database must
 * hold what it held when it had published everything, and then what it holds now.
 */
export class RewindCheck {
  #published: Content | undefined;

  constructor(private readonly replicas: Replicas) {}

  /** Everything is published now. */
  note(): void {
    this.#published = this.#content();
  }

  async check(): Promise<void> {
    const { store } = this.replicas.get('a');
    if (this.#published === undefined) return;
    await store.seal();
    const tail = this.#content();
    for (const time of ['first', 'second']) {
      const { lastCounter, publishedCounter } = store.state();
      const { suspicious, transactions } = await store.rewind({ reason: 'pending', spent: 0 });
      if (suspicious.length > 0)
        throw new Discrepancy(
          'suspicious',
          suspicious.map(({ table, key }) => `${table} ${String(key)}`).join('\n'),
        );
      if (transactions !== lastCounter - publishedCounter)
        throw new Discrepancy(
          'tail',
          `${transactions} of ${lastCounter - publishedCounter} transactions were undone`,
        );
      this.#compare('rewound', `the ${time} time`, this.#published);
      await this.replicas.beginEpoch(lastCounter);
      this.#compare('again', `the ${time} time`, tail);
      if (store.state().rescued > 0) throw new Discrepancy('again', 'not everything was written again');
    }
  }

  #content(): Content {
    const { foreign } = this.replicas.get('a');
    return {
      rows: new Map(this.replicas.tables.map((table) => [table, foreign.rows(table)])),
      // What is not replicated is not undone, and rows may refer to it.
      orphans: this.replicas.areAllReplicated ? foreign.orphans() : '',
    };
  }

  #compare(kind: string, when: string, expected: Content): void {
    const found = this.#content();
    for (const [table, rows] of expected.rows)
      same(kind, `table ${table}, ${when}`, rows, found.rows.get(table) ?? []);
    if (found.orphans !== expected.orphans)
      throw new Discrepancy(kind, `orphans, ${when}:\n${expected.orphans}\n--\n${found.orphans}`);
    const integrity = this.replicas.get('a').foreign.integrity();
    if (integrity !== 'ok') throw new Discrepancy('integrity', `${when}: ${integrity}`);
  }
}
