const PREFIX = 'eu';

/**
 * `eu-1`, `eu-2`, …; with a given first one, the others take the free numbers. Never fewer than
 * one.
 */
export function replicaIds(count: number, first: string = `${PREFIX}-1`): readonly [string, ...string[]] {
  const others: string[] = [];
  for (let number = 1; others.length < count - 1; number += 1) {
    const id = `${PREFIX}-${number}`;
    if (id !== first) others.push(id);
  }
  return [first, ...others];
}
