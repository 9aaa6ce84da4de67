/**
 * Terms joined by an associative operator, in parentheses, as a tree that is as flat as it can be.
 * SQLite parses `a OR b OR c …` into a tree that is as deep as it has terms, and refuses more than
 * 1000 (https://www.sqlite.org/limits.html#max_expr_depth); a table may have 2000 columns.
 */
export function balanced(terms: readonly string[], operator: 'AND' | 'OR' | '+'): string {
  if (terms.length <= MOST_IN_A_ROW) return terms.join(` ${operator} `);
  const half = Math.ceil(terms.length / 2);
  return `(${balanced(terms.slice(0, half), operator)}) ${operator} (${balanced(terms.slice(half), operator)})`;
}

/** Few enough to leave room for what stands around them. */
const MOST_IN_A_ROW = 64;
