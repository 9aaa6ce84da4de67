import { createHash, timingSafeEqual } from 'node:crypto';
import { AntiphonError, checkRequired, isRecord, oneOf, OPTION, type OptionNames } from '@antiphon/core';
import { HttpError } from '../http/http-error.js';

/** What the bearer of a token may do: each role includes those before it. */
export type ServerRole = 'read' | 'write' | 'admin';

/** Who may ask a server. The token itself stands nowhere: only its SHA-256. */
export interface ServerToken {
  /** For logs and metrics: who has it. */
  readonly name: string;
  readonly role: ServerRole;
  /** The SHA-256 of the token, 64 hexadecimal digits: `printf %s "$TOKEN" | sha256sum`. */
  readonly sha256: string;
}

interface Known {
  readonly name: string;
  readonly role: ServerRole;
  readonly digest: Buffer;
}

const ROLES: readonly ServerRole[] = ['read', 'write', 'admin'];
const TOKEN_NAMES: OptionNames<ServerToken> = {
  ...{ name: OPTION.text, role: oneOf('read', 'write', 'admin'), sha256: OPTION.text },
};
const SHA256 = /^[0-9a-f]{64}$/i;
const BEARER = /^Bearer +([\x21-\x7e]+) *$/i;
const MAX_TOKENS = 100;

/** Who asks; without tokens, everybody on this machine may do everything. */
export class Tokens {
  readonly #known: readonly Known[];

  /** Throws BAD_OPTION. */
  constructor(given: unknown) {
    if (given !== undefined && !(Array.isArray(given) && given.length <= MAX_TOKENS))
      throw new AntiphonError(
        'BAD_OPTION',
        `\`tokens\` is not a list of at most ${MAX_TOKENS} tokens. Give one.`,
      );
    this.#known = ((given ?? []) as readonly unknown[]).map(parseToken);
    const twice = this.#known.find(
      ({ name }, index) => this.#known.findIndex((one) => one.name === name) !== index,
    );
    if (twice !== undefined)
      throw new AntiphonError(
        'BAD_OPTION',
        `Two of \`tokens\` have the name "${twice.name}". Give each its own.`,
      );
  }

  get areNeeded(): boolean {
    return this.#known.length > 0;
  }

  /** Whose token it is, if it is one. */
  nameOf(authorization: string | undefined): string | undefined {
    return this.areNeeded ? this.#find(authorization)?.name : undefined;
  }

  /** Throws UNAUTHENTICATED, FORBIDDEN. */
  assert(role: ServerRole, authorization: string | undefined): void {
    if (!this.areNeeded) return;
    const bearer = this.#find(authorization);
    if (bearer === undefined) throw unauthenticated(authorization);
    if (ROLES.indexOf(bearer.role) >= ROLES.indexOf(role)) return;
    const message = `The token "${bearer.name}" has the role ${bearer.role}. This needs ${role}: use another token.`;
    throw new HttpError('FORBIDDEN', message);
  }

  /** Undefined: none that is known here. */
  roleOf(authorization: string | undefined): ServerRole | undefined {
    return this.areNeeded ? this.#find(authorization)?.role : 'admin';
  }

  /** Every one is compared, in constant time: how long it takes says nothing about any of them. */
  #find(authorization: string | undefined): Known | undefined {
    const token = BEARER.exec(authorization ?? '')?.[1];
    if (token === undefined) return undefined;
    const digest = createHash('sha256').update(token).digest();
    const matches = this.#known.map((known) => timingSafeEqual(known.digest, digest));
    return this.#known[matches.indexOf(true)];
  }
}

function parseToken(given: unknown): Known {
  checkRequired(given, TOKEN_NAMES, 'A token', ['name', 'role', 'sha256']);
  const { name, role, sha256 } = given as ServerToken;
  if (isRecord(given) && name !== '' && SHA256.test(sha256))
    return { name, role, digest: Buffer.from(sha256, 'hex') };
  const message = `The token "${name}" needs a name, and as \`sha256\` the 64 hexadecimal digits of its SHA-256. Give them.`;
  throw new AntiphonError('BAD_OPTION', message);
}

function unauthenticated(authorization: string | undefined): HttpError {
  const what = authorization === undefined ? 'This needs a token' : 'This token is not known here';
  const message = `${what}. Send \`Authorization: Bearer TOKEN\` with one that \`http.tokens\` lists.`;
  return new HttpError('UNAUTHENTICATED', message, { 'www-authenticate': 'Bearer realm="antiphon"' });
}
