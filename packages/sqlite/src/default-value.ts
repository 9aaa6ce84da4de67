import { quoteText } from './identifiers.js';
import { nameOf, tokenize } from './trigger-guard.js';

const VALUES = /^(null|true|false|current_(time|date|timestamp)|[0-9].*)$/i;

/**
 * What `pragma_table_xinfo` shows of a DEFAULT, as an expression for any place: there a name,
 * quoted or not, is a text (`DEFAULT ""`, `DEFAULT active`), and would be a column elsewhere. A
 * comment behind it would swallow what follows.
 */
export function defaultExpression(sql: string): string {
  const tokens = tokenize(sql);
  const [first] = tokens;
  const last = tokens.at(-1);
  if (first === undefined || last === undefined) return sql;
  const isName = first.quoted ? !first.text.startsWith("'") : !VALUES.test(first.text);
  if (tokens.length === 1 && isName) return quoteText(nameOf(first));
  return `(${sql.slice(first.start, last.end)})`;
}
