import type { Random } from '@antiphon/testing';

/** What the metadata, the triggers and the statements of the store use, what SQL uses, and what has to be quoted. */
const COLUMNS = [
  ...[
    'seq',
    't',
    'op',
    'at',
    'total',
    'n0',
    'n1',
    'o0',
    'o1',
    'k0',
    'k1',
    'time',
    'origin',
    'counter',
    'dead',
  ],
  ...[
    'x',
    'y',
    'm',
    'r',
    'd',
    's',
    'c',
    'v',
    'self',
    'first',
    'last',
    'size',
    'excluded',
    '_antiphon_row',
    'column1',
  ],
  ...[
    'rowid',
    'oid',
    '_rowid_',
    'NEW',
    'OLD',
    'new',
    'old',
    'id',
    'key',
    'value',
    'null',
    'default',
    'end',
    'begin',
  ],
  ...['SELECT', 'from', 'order', 'group', 'index', 'when', 'check', 'as', 'where', 'deferred', 'collate'],
  ...[
    'quoted "name"',
    "it's",
    'with space',
    'semi;colon',
    'Größe',
    '名',
    'émoji 🙂',
    '[x]',
    '`tick`',
    '?1',
    ':a',
    '--',
    '/*',
    '1',
    '',
  ],
  ...['a', 'b', 'A2', 'B2', 'Z', 'name', 'code'],
];
const TABLES = [
  ...[
    't',
    'u',
    'T2',
    'k',
    'x',
    'm',
    'r',
    'd',
    's',
    'self',
    'new',
    'old',
    'excluded',
    'parent',
    'child',
    'node',
  ],
  ...[
    'order',
    'Table',
    'select',
    'quoted "name"',
    "it's",
    'with space',
    'Größe',
    '名',
    '[x]',
    'a.b',
    'main',
    'temp',
    'seq',
    'outbox',
  ],
  ...['_antiphon', 'antiphon_x', '_antiphonx', 'ANTIPHON', '_antiphon2', '-- c', '/* c', '1', '%', '?'],
];

/** Names without a repetition, as SQL sees it: letters of either case are the same. */
export class Names {
  readonly #used = new Set<string>();

  constructor(private readonly random: Random) {}

  column(): string {
    return this.#fresh(COLUMNS);
  }

  table(): string {
    return this.#fresh(TABLES);
  }

  #fresh(from: readonly string[]): string {
    for (let attempt = 0; attempt < 50; attempt++) {
      const name = this.random.pick(from);
      if (name === '' || this.#used.has(name.toLowerCase())) continue;
      this.#used.add(name.toLowerCase());
      return name;
    }
    const name = `c${this.#used.size}`;
    this.#used.add(name);
    return name;
  }
}

export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function list(names: readonly string[]): string {
  return names.map(quote).join(', ');
}
