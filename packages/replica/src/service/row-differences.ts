import type { RowDigest, Value } from '@antiphon/core';

/** A row that two replicas do not have in common. */
export interface DifferentRow {
  /** Its primary key, in the order of the key's columns. */
  readonly key: readonly Value[];
  /** `only-left`, `only-right`: the other replica has no such row. */
  readonly kind: 'only-left' | 'only-right' | 'differs';
}

export interface PageComparison {
  readonly rows: readonly DifferentRow[];
  /** Compared up to this key on either side; go on after them. */
  readonly leftAfter: readonly Value[] | undefined;
  readonly rightAfter: readonly Value[] | undefined;
}

/**
 * Compares two pages of rows in key order without knowing that order (it is the database's): where
 * keys differ, whichever comes later on the other side tells what is missing.
 */
export function comparePages(left: readonly RowDigest[], right: readonly RowDigest[]): PageComparison {
  const leftPlaces = places(left);
  const rightPlaces = places(right);
  const rows: DifferentRow[] = [];
  let i = 0;
  let j = 0;
  for (;;) {
    const [a, b] = [left[i], right[j]];
    if (a === undefined || b === undefined) break;
    const [aKey, bKey] = [keyText(a.key), keyText(b.key)];
    if (aKey === bKey) {
      if (a.digest !== b.digest) rows.push({ key: a.key, kind: 'differs' });
      i++;
      j++;
    } else if ((rightPlaces.get(aKey) ?? -1) > j) {
      rows.push({ key: b.key, kind: 'only-right' });
      j++;
    } else if ((leftPlaces.get(bKey) ?? -1) > i || left.length >= right.length) {
      rows.push({ key: a.key, kind: 'only-left' });
      i++;
    } else {
      rows.push({ key: b.key, kind: 'only-right' });
      j++;
    }
  }
  // What is left over on one side is missing on the other only if that one has nothing more at all.
  if (right.length === 0) for (const { key } of left.slice(i)) rows.push({ key, kind: 'only-left' });
  if (left.length === 0) for (const { key } of right.slice(j)) rows.push({ key, kind: 'only-right' });
  const done = { left: right.length === 0 ? left.length : i, right: left.length === 0 ? right.length : j };
  return { rows, leftAfter: left[done.left - 1]?.key, rightAfter: right[done.right - 1]?.key };
}

function places(page: readonly RowDigest[]): Map<string, number> {
  return new Map(page.map(({ key }, index) => [keyText(key), index]));
}

/** Equal exactly for equal keys; types are kept apart. */
export function keyText(key: readonly Value[]): string {
  return key
    .map((value) => {
      if (value === null) return 'null';
      if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString('hex')}'`;
      if (typeof value === 'object') return `${value.tag} x'${Buffer.from(value.bytes).toString('hex')}'`;
      return typeof value === 'string' ? JSON.stringify(value) : `${typeof value} ${String(value)}`;
    })
    .join(', ');
}
