import { AntiphonError } from '../errors/antiphon-error.js';
import { shownOption } from '../options/check-options.js';

/** What a subject tells of a change. */
export interface SubjectOfChange {
  readonly table: string;
  readonly op: string;
  readonly origin: string;
}

const PLACEHOLDER = /^\{(table|op|origin)\}$/;
const LITERAL = /^[A-Za-z0-9_-]+$/;
const MAX_TEMPLATE_LENGTH = 200;
/** Subjects stay far below the 4096 bytes that a server takes as one line of its protocol. */
const MAX_TOKEN_LENGTH = 1000;
const ENCODER = new TextEncoder();

/**
 * `shop.{table}.{op}`: tokens of a NATS subject, of which some stand for something of the change.
 * What a token cannot hold is escaped, so that two tables never have one subject.
 */
export class SubjectTemplate {
  readonly #tokens: readonly string[];
  readonly #known = new Map<string, string>();

  /** Throws BAD_OPTION. */
  constructor(readonly text: string) {
    const tokens = text.split('.');
    const [first = ''] = tokens;
    const isValid =
      text.length <= MAX_TEMPLATE_LENGTH &&
      tokens.every((token) => PLACEHOLDER.test(token) || LITERAL.test(token)) &&
      LITERAL.test(first) &&
      !first.startsWith('_') &&
      first !== 'antiphon';
    if (isValid) {
      this.#tokens = tokens;
      return;
    }
    throw new AntiphonError(
      'BAD_OPTION',
      `\`publish.subject\` is ${shownOption(text)}. Give tokens of letters, digits, "_" and "-" with dots between them, ` +
        'of which all but the first may be {table}, {op} or {origin}, such as shop.{table}.{op}. The first one must ' +
        'not begin with "_" and not be "antiphon".',
    );
  }

  /** Every subject that it can give, as NATS writes it. */
  get wildcard(): string {
    return this.#tokens.map((token) => (PLACEHOLDER.test(token) ? '*' : token)).join('.');
  }

  /** Throws BAD_OPTION when a name is too long for a subject. */
  of(change: SubjectOfChange): string {
    return this.#tokens.map((token) => this.#tokenOf(token, change)).join('.');
  }

  #tokenOf(token: string, { table, op, origin }: SubjectOfChange): string {
    if (token === '{table}') return this.#escaped(table);
    if (token === '{op}') return op;
    return token === '{origin}' ? this.#escaped(origin) : token;
  }

  #escaped(name: string): string {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const token = escapeToken(name);
    if (token.length > MAX_TOKEN_LENGTH)
      throw new AntiphonError(
        'BAD_OPTION',
        `The name ${shownOption(name)}… is too long for a subject. Leave {table} out of \`publish.subject\`.`,
      );
    if (this.#known.size >= 4096) this.#known.clear();
    this.#known.set(name, token);
    return token;
  }
}

/**
 * A name as one token of a subject: each byte of its UTF-8 that is not a letter, a digit, "_" or
 * "-" as "%" and two hexadecimal digits. An empty name is "%" alone. Injective.
 */
export function escapeToken(name: string): string {
  if (LITERAL.test(name)) return name;
  if (name === '') return '%';
  return [...ENCODER.encode(name)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return LITERAL.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}
