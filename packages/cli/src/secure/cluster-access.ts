import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { AntiphonError } from '@antiphon/core';
import type { AccessRole } from '@antiphon/nats';
import { createUserKey } from '@antiphon/nats/internal';
import { z } from 'zod';

/**
 * Each has a user of its name: the command line, and applications. The users of replicas have other
 * roles.
 */
export const ROLE_USERS = ['reader', 'admin', 'client', 'client-reader'] as const satisfies AccessRole[];
/** Names of files in the folder of secrets, which a replica must not have. */
export const TAKEN_NAMES: readonly string[] = [...ROLE_USERS, 'ca', 'server'];

const HTTP_ROLES = ['read', 'write', 'admin'] as const;
const TOKEN_BYTES = 32;

const userSchema = z.strictObject({
  name: z.string(),
  role: z.enum(['creator', 'replica', ...ROLE_USERS]),
  nkey: z.string(),
});

const accessSchema = z.strictObject({
  cluster: z.string(),
  servers: z.array(z.string()).min(1),
  /** Names and addresses in the certificate of the server. */
  hosts: z.array(z.string()),
  users: z.array(userSchema),
  tokens: z.array(z.strictObject({ name: z.string(), role: z.enum(HTTP_ROLES), sha256: z.string() })),
});

/** One user at NATS: what its server has to know of it. */
export type ClusterUser = z.infer<typeof userSchema>;

/**
 * Who may do what in one cluster, without a single secret: what `antiphon init --secure` has made,
 * kept beside the secrets for the next time.
 */
export type ClusterAccess = z.infer<typeof accessSchema>;

/** A user, and what only that user may know. */
export interface NewUser {
  readonly user: ClusterUser;
  readonly seed: string;
}

export function isReplica(role: ClusterUser['role']): boolean {
  return role === 'creator' || role === 'replica';
}

export function newUser(name: string, role: AccessRole): NewUser {
  const { publicKey: nkey, seed } = createUserKey();
  return { user: { name, role, nkey }, seed };
}

/** Bearer tokens of the roles over HTTP, and the lines of antiphon.yaml that know them. */
export function newTokens(): {
  readonly secrets: Record<string, string>;
  readonly known: ClusterAccess['tokens'];
} {
  const made = HTTP_ROLES.map((role) => ({ role, token: randomBytes(TOKEN_BYTES).toString('hex') }));
  return {
    secrets: Object.fromEntries(made.map(({ role, token }) => [role, token])),
    known: made.map(({ role, token }) => ({
      ...{ name: role, role },
      sha256: createHash('sha256').update(token).digest('hex'),
    })),
  };
}

export function accessText(access: ClusterAccess): string {
  return `${JSON.stringify(access, undefined, 2)}\n`;
}

/** Throws BAD_OPTION. */
export function readAccess(file: string): ClusterAccess {
  let found: unknown;
  try {
    found = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'not JSON';
    const message = `${file} cannot be read (${code}). Begin with \`antiphon init --secure\`, or name its folder with \`--dir\`.`;
    throw new AntiphonError('BAD_OPTION', message, { cause, context: { file } });
  }
  const parsed = accessSchema.safeParse(found);
  if (parsed.success) return parsed.data;
  const message = `${file} is not what \`antiphon init --secure\` wrote. Restore it from a copy.`;
  throw new AntiphonError('BAD_OPTION', message, { context: { file } });
}
