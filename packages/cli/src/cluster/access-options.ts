import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Access } from '@antiphon/client';
import { accessOf } from '@antiphon/client/internal';
import { AntiphonError } from '@antiphon/core';
import type { Command } from 'commander';

/**
 * How to log in, on a command line: no secret stands there, since every user of the machine can
 * read it.
 */
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
      '`--nkey` takes the path of a file: others can read a seed on a command line. Regard this one as known to others, and make a new one.';
    throw new AntiphonError('BAD_OPTION', message);
  }
  return accessOf({
    user,
    password: secretFrom(passwordFile, '--password-file', cwd),
    token: secretFrom(tokenFile, '--token-file', cwd),
    nkey: pathFrom(nkey, cwd),
    creds: pathFrom(creds, cwd),
    inboxPrefix,
    tls: {
      ca: pathFrom(options.tlsCa, cwd),
      cert: pathFrom(options.tlsCert, cwd),
      key: pathFrom(options.tlsKey, cwd),
    },
  });
}

function pathFrom(file: string | undefined, cwd: string): string | undefined {
  return file === undefined ? file : resolve(cwd, file);
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
