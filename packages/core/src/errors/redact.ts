/** What stands in the place of a secret. */
const HIDDEN = '***';

/** Nothing that is redacted lacks all of these; most texts do, and are left alone at once. */
const SUSPECT = /[@=]|S[UANOCX][A-Z2-7]{56}|eyJ[\w-]+\./;

/**
 * A password may hold `/`, `?` and `#` although it must not; up to the last `@`, but not into the
 * next address of a list.
 */
const NATS_USER_INFO = /\b((?:nats|tls|wss?):\/\/)(?:(?!,\s*[a-z][a-z0-9+.-]*:\/\/)[^\s"'`<>\\])*@/gi;
/**
 * As far as the authority goes: the path of a `file:` URL may hold an `@`, as that of a package
 * does.
 */
const USER_INFO = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#"'`<>\\]*@/gi;
/** `user:password@host`, the way an address may be written without a scheme. */
const BARE_USER_INFO = /(^|[\s"'`(,=[])[^\s"'`(),@:/=[\]]+:[^\s"'`@/,]+@(?=[a-z0-9[])/gi;
const QUERY = /([?&][\w.-]*(?:pass|pwd|token|secret|auth|key|jwt|seed|cred|sig)[\w.-]*=)[^\s&#"'`<>\\]+/gi;
/** The private half of an nkey, and a signed token. */
const SEED = /\bS[UANOCX][A-Z2-7]{56}\b/g;
const TOKEN = /\beyJ[\w-]+\.[\w-]+\.[\w-]+/g;

/**
 * The text without the secrets that addresses and keys carry: user names, passwords and tokens in
 * URLs and their queries, nkey seeds, JWTs. For everything that people or logs get to see.
 */
export function redact(text: string): string {
  if (!SUSPECT.test(text)) return text;
  return text
    .replace(NATS_USER_INFO, `$1${HIDDEN}@`)
    .replace(USER_INFO, `$1${HIDDEN}@`)
    .replace(BARE_USER_INFO, `$1${HIDDEN}@`)
    .replace(QUERY, `$1${HIDDEN}`)
    .replace(SEED, HIDDEN)
    .replace(TOKEN, HIDDEN);
}

/** Strings within plain objects and lists, to this depth; deeper ones are no message's context. */
const MAX_DEPTH = 4;

/** The same value, or a copy where something in it had to be redacted. */
export function redactValue(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redact(value);
  if (depth >= MAX_DEPTH || typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return redactError(value, depth);
  if (Array.isArray(value)) {
    const items = value.map((item: unknown) => redactValue(item, depth + 1));
    return items.some((item, index) => item !== value[index]) ? items : value;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  const entries = Object.entries(value).map(([key, item]) => [key, redactValue(item, depth + 1)] as const);
  const changed = entries.some(([key, item]) => item !== (value as Record<string, unknown>)[key]);
  return changed ? Object.fromEntries(entries) : value;
}

/**
 * Other libraries' errors are not ours to change: one that holds a secret is replaced by a copy
 * without it.
 */
function redactError(error: Error, depth: number): Error {
  const message = redact(error.message);
  const details = Object.entries(error).map(([key, item]) => [key, redactValue(item, depth + 1)] as const);
  const cause = redactValue(error.cause, depth + 1);
  const held = error as unknown as Readonly<Record<string, unknown>>;
  const clean =
    message === error.message && cause === error.cause && details.every(([key, item]) => item === held[key]);
  if (clean) return error;
  const copy = new Error(message, cause === undefined ? undefined : { cause });
  copy.name = error.name;
  if (error.stack !== undefined) copy.stack = redact(error.stack);
  return Object.assign(copy, Object.fromEntries(details));
}
