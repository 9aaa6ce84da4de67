import { readFileSync } from 'node:fs';
import { AntiphonError } from '@antiphon/core';
import {
  credsAuthenticator,
  nkeyAuthenticator,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
  type Authenticator,
} from 'nats';
import type { AddressLogin } from './server-address.js';

/** How a client says who it is: one of user name and password, token, nkey, or credentials. */
export interface NatsLogin {
  /** The user's name; with `password`. */
  readonly user?: string;
  /** The user's password. */
  readonly password?: string;
  /** A token, as nats-server's `authorization { token }` has it. */
  readonly token?: string;
  /**
   * The seed of a user's nkey (`SU…`), or the path of a file that holds it. The seed itself is
   * never sent.
   */
  readonly nkey?: string;
  /** The path of a `.creds` file (a JWT and the seed that belongs to it), or its content. */
  readonly creds?: string;
}

const SEED = /\bSU[A-Z2-7]{56}\b/;
const CREDS_HEADER = '-----BEGIN NATS USER JWT-----';
const encoder = new TextEncoder();

/**
 * Undefined when nobody logs in. A file is read again at every connection, so that renewed
 * credentials take effect. What it returns is a function: no secret is a property of an object that
 * somebody may print.
 *
 * @throws AntiphonError BAD_OPTION, which names the option and the file, never a secret.
 */
export function authenticatorFor(
  options: NatsLogin,
  address: AddressLogin | undefined,
): Authenticator | undefined {
  const login = oneLogin(options, address);
  const { user, password = '', token, nkey, creds } = login;
  if (nkey !== undefined) return nkeyAuthenticator(renewed(() => readSeed(nkey)));
  if (creds !== undefined) return credsAuthenticator(renewed(() => readCreds(creds)));
  if (token !== undefined) return tokenAuthenticator(() => token);
  if (user !== undefined)
    return usernamePasswordAuthenticator(
      () => user,
      () => password,
    );
  return undefined;
}

function oneLogin(options: NatsLogin, address: AddressLogin | undefined): NatsLogin {
  const { user, password, token, nkey, creds } = options;
  const given = Object.entries({ user, token, nkey, creds }).flatMap(([name, value]) =>
    value === undefined ? [] : [`\`${name}\``],
  );
  if (address !== undefined) given.push('what the address of the server holds');
  if (given.length > 1) throw bad(`There are several ways to log in: ${given.join(', ')}. Give one of them.`);
  if (password !== undefined && user === undefined)
    throw bad('There is a `password` without a `user`. Give both.');
  for (const [name, value] of Object.entries({ user, token, nkey, creds })) {
    if (value === '') throw bad(`\`${name}\` is empty. Give it, or leave it out.`);
  }
  return address ?? options;
}

function readSeed(given: string): Uint8Array {
  const inline = SEED.exec(given)?.[0];
  const seed = inline ?? SEED.exec(readText('nkey', given))?.[0];
  if (seed === undefined) throw bad(`The file of \`nkey\` holds no seed of a user (SU…): ${given}.`);
  const bytes = encoder.encode(seed);
  try {
    nkeyAuthenticator(bytes)(undefined);
  } catch {
    throw bad('The seed of `nkey` is not valid: a character of it is wrong. Take it from where it was made.');
  }
  return bytes;
}

function readCreds(given: string): Uint8Array {
  const inline = given.includes(CREDS_HEADER);
  const text = (inline ? given : readText('creds', given)).replaceAll('\r\n', '\n');
  const bytes = encoder.encode(text.endsWith('\n') ? text : `${text}\n`);
  try {
    credsAuthenticator(bytes)('nonce');
  } catch {
    const where = inline ? '' : `: ${given}`;
    throw bad(`\`creds\` is not the content of a credentials file, with a user's JWT and its seed${where}.`);
  }
  return bytes;
}

/** The text of a file that an option names. @throws AntiphonError BAD_OPTION */
export function readText(option: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
    const what = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`;
    // It may be a secret that was taken for a path: only what looks like a path is shown.
    const shown = /[/\\.]/.test(file) && file.length < 200 ? ` ${file}` : '';
    throw bad(`The file of \`${option}\`${shown} ${what}. Give its path.`);
  }
}

/**
 * Reads now, and again at every call; when that fails, the last value stays: a client that cannot
 * log in closes for good.
 */
function renewed(read: () => Uint8Array): () => Uint8Array {
  let value = read();
  return () => {
    try {
      value = read();
    } catch {
      // A file that is just being replaced, or was removed. The server says whether the old content
      // still holds.
    }
    return value;
  };
}

function bad(message: string): AntiphonError {
  return new AntiphonError('BAD_OPTION', message);
}
