import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { AntiphonError } from '@antiphon/core';
import { addressesLogIn, type NatsAccess } from '@antiphon/nats';
import type { Command } from 'commander';

/** How to log in, on a command line: no secret stands there, since every user of the machine can read it. */
export interface AccessOptions {
  readonly user?: string;
  readonly passwordFile?: string;
  readonly tokenFile?: string;
  readonly nkey?: string;
  readonly creds?: string;
  readonly tlsCa?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly inboxPrefix?: string;
}

/** Without the servers. */
export type Access = Omit<NatsAccess, 'servers'>;

export function addAccessOptions(command: Command): void {
  command
    .option('--user <name>', 'user name at NATS (or ANTIPHON_USER)')
    .option('--password-file <file>', 'file with its password (or ANTIPHON_PASSWORD: the password)')
    .option('--token-file <file>', 'file with a token (or ANTIPHON_TOKEN: the token)')
    .option('--nkey <file>', "file with the seed of the user's nkey (or ANTIPHON_NKEY: a file, or the seed)")
    .option('--creds <file>', 'a .creds file (or ANTIPHON_CREDS)')
    .option('--tls-ca <file>', "PEM file of who signed the server's certificate (or ANTIPHON_TLS_CA)")
    .option('--tls-cert <file>', "PEM file of this client's certificate (or ANTIPHON_TLS_CERT)")
    .option('--tls-key <file>', 'PEM file of its key (or ANTIPHON_TLS_KEY)')
    .option('--inbox-prefix <prefix>', 'what the subjects of answers begin with (or ANTIPHON_INBOX_PREFIX)');
}

/** @throws AntiphonError BAD_OPTION */
export function accessFromOptions(options: AccessOptions, cwd: string): Access {
  const { user, passwordFile, tokenFile, nkey, creds, inboxPrefix } = options;
  if (nkey !== undefined && /^S[A-Z2-7]{57}$/.test(nkey)) {
    const message =
      '--nkey takes the path of a file: a seed on a command line can be read by others. Take it for known, and make a new one.';
    throw new AntiphonError('BAD_OPTION', message);
  }
  return compact({
    user,
    password: secretFrom(passwordFile, '--password-file', cwd),
    token: secretFrom(tokenFile, '--token-file', cwd),
    nkey: pathFrom(nkey, cwd),
    creds: pathFrom(creds, cwd),
    inboxPrefix,
    tls: tlsFrom(options.tlsCa, options.tlsCert, options.tlsKey, cwd),
  });
}

export function accessFromEnvironment(env: NodeJS.ProcessEnv): Access {
  const value = (name: string): string | undefined => env[`ANTIPHON_${name}`] || undefined;
  return compact({
    user: value('USER'),
    password: value('PASSWORD'),
    token: value('TOKEN'),
    nkey: value('NKEY'),
    creds: value('CREDS'),
    inboxPrefix: value('INBOX_PREFIX'),
    tls: tlsFrom(value('TLS_CA'), value('TLS_CERT'), value('TLS_KEY')),
  });
}

const LOGIN = ['user', 'password', 'token', 'nkey', 'creds'] as const;

function logsIn(access: Access): boolean {
  return LOGIN.some((name) => access[name] !== undefined);
}

/**
 * How to log in at these servers. What the command line says comes first; an address that holds a login comes
 * before every other place, and is a contradiction to the command line, which the connection reports.
 */
export function accessFor(
  servers: readonly string[],
  commandLine: Access,
  others: readonly Access[],
): Access {
  const all = firstAccess([commandLine, ...others]);
  if (!addressesLogIn(servers)) return all;
  const { tls, inboxPrefix } = all;
  return { ...commandLine, ...compact({ tls, inboxPrefix }) };
}

/**
 * The first that says how to log in counts as a whole, for a password of one place does not go with a user
 * name of another one; likewise for TLS, and for the inbox.
 */
function firstAccess(sources: readonly Access[]): Access {
  const login = sources.find(logsIn) ?? {};
  const { user, password, token, nkey, creds } = login;
  const tls = sources.find((source) => source.tls !== undefined)?.tls;
  const inboxPrefix = sources.find((source) => source.inboxPrefix !== undefined)?.inboxPrefix;
  return compact({ user, password, token, nkey, creds, tls, inboxPrefix });
}

function tlsFrom(
  ca: string | undefined,
  cert: string | undefined,
  key: string | undefined,
  cwd?: string,
): NatsAccess['tls'] {
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  return compact({ ca: pathFrom(ca, cwd), cert: pathFrom(cert, cwd), key: pathFrom(key, cwd) });
}

function pathFrom(file: string | undefined, cwd: string | undefined): string | undefined {
  return file === undefined || cwd === undefined ? file : resolve(cwd, file);
}

/** The first line of a file: editors end it with a line break, which is no part of a password. */
function secretFrom(file: string | undefined, option: string, cwd: string): string | undefined {
  if (file === undefined) return undefined;
  const path = resolve(cwd, file);
  try {
    const [line = ''] = readFileSync(path, 'utf8').split(/\r?\n/);
    if (line !== '') return line;
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    const message = `The file of ${option} cannot be read: ${path} (${code}). Give the path of a file that this user may read.`;
    throw new AntiphonError('BAD_OPTION', message, { cause });
  }
  throw new AntiphonError(
    'BAD_OPTION',
    `The file of ${option} is empty: ${path}. Put the secret into its first line.`,
  );
}

function compact<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
