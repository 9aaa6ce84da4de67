import type { Random } from '@antiphon/testing';

const words = (text: string): readonly string[] => text.split(' ');

/** What the metadata, the triggers and the statements of the store call their own. */
const OURS = [
  ...words('seq t op at total n0 n1 o0 o1 k0 k1 time origin counter dead'),
  ...words('x y m r d s c v self first last size excluded _antiphon_row column1'),
];
/** What SQL calls its own, and what has to be quoted. */
const THEIRS = [
  ...words('rowid oid _rowid_ NEW OLD new old id key value null default end begin a b A2 B2 Z name code'),
  ...words(
    'SELECT from order group index when check as where deferred collate Größe 名 [x] `tick` ?1 :a -- /* 1',
  ),
  ...['quoted "name"', "it's", 'with space', 'semi;colon', 'émoji 🙂'],
];
const TABLES = [
  ...words(
    't u T2 k x m r d s self new old excluded parent child node order Table select Größe 名 [x] a.b main temp',
  ),
  ...words('seq outbox _antiphon antiphon_x _antiphonx ANTIPHON _antiphon2 1 % ?'),
  ...['quoted "name"', "it's", 'with space', '-- c', '/* c'],
];

/** Names without a repetition, as SQL sees it: letters of either case are the same. */
export class Names {
  readonly #used = new Set<string>();

  constructor(private readonly random: Random) {}

  column(): string {
    return this.#fresh(this.random.chance(0.5) ? OURS : THEIRS);
  }

  table(): string {
    return this.#fresh(TABLES);
  }

  #fresh(from: readonly string[]): string {
    for (let attempt = 0; attempt < 50; attempt++) {
      const name = this.random.pick(from);
      if (this.#used.has(name.toLowerCase())) continue;
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
