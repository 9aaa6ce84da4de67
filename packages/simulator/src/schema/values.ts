import type { Random } from '@antiphon/testing';

export type Kind = 'integer' | 'real' | 'text' | 'blob' | 'any';

/** Few, so that they collide. */
const INTEGERS = ['0', '1', '2', '3', '4', '5', '6', '7'];
const TEXTS = ["'a'", "'A'", "'b'", "'B'", "'c'", "'a '", "''", "'ß'", "'é'", "'1'", "'x'"];
const REALS = ['0.0', '1.0', '2.0', '0.5', '1.5', '0.1'];
const BLOBS = ["x''", "x'00'", "x'61'", "x'41'", "x'ff'"];

const RARE: Readonly<Record<Exclude<Kind, 'any'>, readonly string[]>> = {
  integer: ['9223372036854775807', '-9223372036854775808', '9007199254740993', '-1', '4294967296'],
  real: [
    '9e999',
    '-9e999',
    '-0.0',
    '1e308',
    '5e-324',
    '0.30000000000000004',
    '9223372036854775807.0',
    '3e18',
  ],
  text: [
    "'a' || char(0) || 'b'",
    'char(0)',
    "CAST(x'ff' AS TEXT)",
    "CAST(x'61fe62' AS TEXT)",
    "CAST(x'41FE42' AS TEXT)",
    "CAST(x'c3' AS TEXT)",
    "CAST(x'eda080' AS TEXT)",
    'char(65533)',
    "'🙂'",
    "'it''s'",
    "'1.0'",
    "'9223372036854775808'",
    "'0x1'",
    "'Ａ'",
  ],
  blob: ["x'0001ff00'", 'zeroblob(3)', "CAST('a' AS BLOB)"],
};
const USUAL = { integer: INTEGERS, real: REALS, text: TEXTS, blob: BLOBS } as const;

/** A value as SQL text. */
export function literal(random: Random, kind: Kind): string {
  const of =
    kind === 'any' ? random.pick(['integer', 'integer', 'text', 'text', 'real', 'blob'] as const) : kind;
  return random.pick(random.chance(0.08) ? RARE[of] : USUAL[of]);
}

/** Sometimes of another type, or NULL. */
export function looseLiteral(random: Random, kind: Kind, nullable: boolean): string {
  if (random.chance(nullable ? 0.12 : 0.01)) return 'NULL';
  return literal(random, random.chance(0.04) ? 'any' : kind);
}
