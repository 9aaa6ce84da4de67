import { quoteName } from './identifiers.js';

/** True outside of apply: only the applier's own transaction ever sees a row in the guard. */
export const NOT_APPLYING = 'NOT EXISTS (SELECT 1 FROM "_antiphon_guard")';

interface Token {
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** Quoted names and strings are never keywords. */
  readonly quoted: boolean;
}

const CLOSING: Readonly<Record<string, string>> = { '"': '"', "'": "'", '`': '`', '[': ']' };
const STATEMENT_STARTS = new Set(['INSERT', 'REPLACE', 'UPDATE', 'DELETE', 'SELECT', 'WITH']);

function endOfQuoted(sql: string, start: number, closing: string): number {
  for (let at = start + 1; at < sql.length; at++) {
    if (sql[at] !== closing) continue;
    // A doubled quote stands for itself, except in [brackets].
    if (closing !== ']' && sql[at + 1] === closing) at++;
    else return at + 1;
  }
  return sql.length;
}

/**
 * SQL as tokens, without comments and spaces. https://www.sqlite.org/lang_keywords.html,
 * lang_comment.html
 */
export function tokenize(sql: string): Token[] {
  const tokens: Token[] = [];
  const word = /[\p{L}\p{N}_$\u0080-\u{10ffff}]+/uy;
  let at = 0;
  while (at < sql.length) {
    const character = sql[at] ?? '';
    // Other spaces of Unicode are letters to SQLite; a byte order mark is none.
    if (/[ \t\n\f\r\ufeff]/.test(character)) {
      at++;
    } else if (sql.startsWith('--', at)) {
      const newline = sql.indexOf('\n', at);
      at = newline < 0 ? sql.length : newline + 1;
    } else if (sql.startsWith('/*', at)) {
      const closed = sql.indexOf('*/', at + 2);
      at = closed < 0 ? sql.length : closed + 2;
    } else {
      const closing = CLOSING[character];
      word.lastIndex = at;
      const matched = closing === undefined ? word.exec(sql) : null;
      const end = closing !== undefined ? endOfQuoted(sql, at, closing) : at + (matched?.[0].length ?? 1);
      tokens.push({ text: sql.slice(at, end), start: at, end, quoted: closing !== undefined });
      at = end;
    }
  }
  return tokens;
}

/** Without its quotes. */
export function nameOf({ text, quoted }: Token): string {
  if (!quoted) return text;
  const [quote = ''] = text;
  const inner = text.slice(1, -1);
  return quote === '[' ? inner : inner.replaceAll(quote + quote, quote);
}

function isWord(token: Token | undefined, word: string): boolean {
  return token !== undefined && !token.quoted && token.text.toUpperCase() === word;
}

/** Index of the token after `name` or `schema.name`. */
function afterName(tokens: readonly Token[], at: number): number {
  return tokens[at + 1]?.text === '.' ? at + 3 : at + 1;
}

/** Index of the token after `CREATE TRIGGER name … ON table [FOR EACH ROW]`. */
function afterHeader(tokens: readonly Token[]): number | undefined {
  let at = afterName(tokens, tokens.findIndex((token) => isWord(token, 'TRIGGER')) + 1);
  if (isWord(tokens[at], 'BEFORE') || isWord(tokens[at], 'AFTER')) at++;
  else if (isWord(tokens[at], 'INSTEAD')) return undefined;
  if (isWord(tokens[at], 'UPDATE') && isWord(tokens[at + 1], 'OF')) {
    at += 3;
    while (tokens[at]?.text === ',') at += 2;
  } else {
    at++;
  }
  if (!isWord(tokens[at], 'ON')) return undefined;
  at = afterName(tokens, at + 1);
  if (isWord(tokens[at], 'FOR') && isWord(tokens[at + 1], 'EACH') && isWord(tokens[at + 2], 'ROW')) at += 3;
  return at;
}

const EVENTS = ['INSERT', 'UPDATE', 'DELETE'] as const;

function afterTiming(tokens: readonly Token[]): number {
  const at = afterName(tokens, tokens.findIndex((token) => isWord(token, 'TRIGGER')) + 1);
  if (isWord(tokens[at], 'INSTEAD')) return at + 2;
  return isWord(tokens[at], 'BEFORE') || isWord(tokens[at], 'AFTER') ? at + 1 : at;
}

/** What sets a trigger off, from its text; undefined when it is none. */
export function triggerEvent(sql: string): (typeof EVENTS)[number] | undefined {
  const tokens = tokenize(sql);
  const token = tokens[afterTiming(tokens)];
  return EVENTS.find((event) => isWord(token, event));
}

/**
 * It fires before an insert, which an upsert may then turn into an update. BEFORE is what SQLite
 * assumes where nothing is said.
 */
export function firesBeforeInsert(sql: string): boolean {
  const tokens = tokenize(sql);
  const at = afterTiming(tokens);
  return isWord(tokens[at], 'INSERT') && !isWord(tokens[at - 1], 'AFTER');
}

/**
 * The BEGIN of the body: outside of parentheses and CASE, and a statement follows (a column may be
 * called `begin`).
 */
function findBody(tokens: readonly Token[], from: number): number | undefined {
  let depth = 0;
  for (let at = from; at < tokens.length; at++) {
    const token = tokens[at];
    const next = tokens[at + 1];
    if (token === undefined) break;
    if (token.text === '(') depth++;
    else if (token.text === ')') depth--;
    else if (depth === 0 && isWord(token, 'BEGIN') && tokens[at - 1]?.text !== '.') {
      if (next !== undefined && !next.quoted && STATEMENT_STARTS.has(next.text.toUpperCase())) return at;
    }
  }
  return undefined;
}

/**
 * The same trigger, which does not fire while changes of other replicas are applied: its effects
 * already travel as rows. undefined when the text is not understood for certain.
 */
export function guardTrigger(sql: string): string | undefined {
  const tokens = tokenize(sql);
  const from = afterHeader(tokens);
  if (from === undefined) return undefined;
  const condition = tokens[from];
  const body = findBody(tokens, from);
  const begin = body === undefined ? undefined : tokens[body];
  if (condition === undefined || begin === undefined) return undefined;
  const head = sql.slice(0, condition.start).trimEnd();
  const tail = sql.slice(begin.start);
  if (body === from) return `${head}\nWHEN ${NOT_APPLYING}\n${tail}`;
  if (!isWord(condition, 'WHEN')) return undefined;
  // The newline ends a comment that the author may have left at the end of the condition.
  return `${head}\nWHEN ${NOT_APPLYING} AND (${sql.slice(condition.end, begin.start).trim()}\n)\n${tail}`;
}

export function isGuarded(sql: string): boolean {
  return sql.includes(NOT_APPLYING);
}

export function dropTrigger(name: string): string {
  return `DROP TRIGGER IF EXISTS ${quoteName(name)}`;
}
