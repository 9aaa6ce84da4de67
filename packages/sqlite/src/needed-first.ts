/**
 * What each of the nodes 0 … count − 1 needs: in `needed`, from `first[node]` up to `first[node +
 * 1]`.
 */
export interface Needs {
  readonly count: number;
  readonly first: Uint32Array;
  readonly needed: Uint32Array;
}

/** From pairs of a node and one that it needs. */
export function needsOf(count: number, pairs: readonly (readonly [number, number])[]): Needs {
  const first = new Uint32Array(count + 1);
  for (const [node] of pairs) first[node + 1] = (first[node + 1] ?? 0) + 1;
  for (let node = 0; node < count; node++) first[node + 1] = (first[node + 1] ?? 0) + (first[node] ?? 0);
  const needed = new Uint32Array(pairs.length);
  const place = first.slice();
  for (const [node, other] of pairs) {
    const at = place[node] ?? 0;
    needed[at] = other;
    place[node] = at + 1;
  }
  return { count, first, needed };
}

/**
 * An order in which each node comes after all that it needs. Those that need each other come
 * together.
 *
 * Tarjan, Depth-first search and linear graph algorithms, 1972; without recursion, since rows may
 * form a chain as long as their table.
 */
export function neededFirst({ count, first, needed }: Needs): readonly (readonly number[])[] {
  const groups: number[][] = [];
  /** When a node was reached, from 1 on; 0: not yet. */
  const reached = new Uint32Array(count);
  /** The earliest node that is still open and can be reached from it. */
  const lowest = new Uint32Array(count);
  const isOpen = new Uint8Array(count);
  const next = first.slice(0, count);
  const open: number[] = [];
  let clock = 0;
  for (let root = 0; root < count; root++) {
    if (reached[root] !== 0) continue;
    const path = [root];
    for (let node = path.at(-1); node !== undefined; node = path.at(-1)) {
      if (reached[node] === 0) {
        reached[node] = lowest[node] = ++clock;
        isOpen[node] = 1;
        open.push(node);
      }
      const at = next[node] ?? 0;
      const other = at < (first[node + 1] ?? 0) ? needed[at] : undefined;
      if (other !== undefined) {
        next[node] = at + 1;
        if (reached[other] === 0) path.push(other);
        else if (isOpen[other] === 1) lower(lowest, node, reached[other] ?? 0);
        continue;
      }
      path.pop();
      const parent = path.at(-1);
      if (parent !== undefined) lower(lowest, parent, lowest[node] ?? 0);
      if (lowest[node] !== reached[node]) continue;
      const group = open.splice(open.lastIndexOf(node));
      for (const member of group) isOpen[member] = 0;
      groups.push(group);
    }
  }
  return groups;
}

function lower(lowest: Uint32Array, node: number, to: number): void {
  lowest[node] = Math.min(lowest[node] ?? 0, to);
}
