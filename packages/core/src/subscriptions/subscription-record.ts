import { decodeControl, encodeControl, isRecord } from '../codec/control.js';
import { decodeCursor } from '../changes/change-cursor.js';
import { AntiphonError, toAntiphonError } from '../errors/antiphon-error.js';
import { isIdentifier } from '../model/identifier.js';
import { suggest } from '../options/suggestion.js';
import type { Registry, RegistryEntry } from '../ports/registry.js';

const PREFIX = 'subscription.';
/**
 * Compare-and-set attempts; the active instance writes the record too, so losing once or twice is
 * usual.
 */
const MAX_ATTEMPTS = 20;

/** The instance of a service that receives the changes of a subscription. */
export interface SubscriptionHolder {
  /** The replica it runs on. */
  readonly replica: string;
  /** Tells two instances apart, also on one replica. */
  readonly instance: string;
  /**
   * It writes the record at least this often; whoever sees no new revision for longer may take
   * over.
   */
  readonly leaseMs: number;
}

/**
 * A durable subscription, as the registry keeps it. Never deleted, only marked: epochs must not
 * begin again.
 */
export interface SubscriptionRecord {
  readonly name: string;
  /** The cursor after which an instance goes on: everything up to there is acknowledged. */
  readonly place: string;
  /** Rises whenever the holder changes. */
  readonly epoch: number;
  /** Absent: free. */
  readonly holder?: SubscriptionHolder;
  /** Wall times, for people: nothing is decided by them. */
  readonly createdAtMs: number;
  readonly writtenAtMs: number;
  readonly removed?: true;
  /**
   * Never stored. Why the registry's record cannot be read; nothing but the name is known then.
   */
  readonly unreadable?: AntiphonError;
}

/** With the revision to write against. */
export interface StoredSubscription {
  readonly record: SubscriptionRecord;
  readonly revision: number;
}

/** Throws BAD_OPTION. */
export function assertSubscriptionName(name: unknown): asserts name is string {
  if (typeof name === 'string' && isIdentifier(name)) return;
  const shown = typeof name === 'string' ? JSON.stringify(name.slice(0, 80)) : String(name);
  throw new AntiphonError(
    'BAD_OPTION',
    `${shown} is not a valid name of a subscription. Use 1 to 63 letters, digits, "-" and "_", beginning with a ` +
      'letter or digit.',
  );
}

/**
 * Removed ones as well; undefined: there never was one. Throws LOG_UNAVAILABLE, MALFORMED_MESSAGE.
 */
export async function readSubscription(
  registry: Registry,
  name: string,
): Promise<StoredSubscription | undefined> {
  const entry = await registry.get(PREFIX + name);
  return entry && (await earlierUnlessReadable(registry, name, entry));
}

/**
 * Writes it against the revision that it was read with; `undefined` stands for one that was not
 * there. undefined: somebody else was first. Throws LOG_UNAVAILABLE; it may have been written then.
 */
export async function writeSubscription(
  registry: Registry,
  record: SubscriptionRecord,
  revision: number | undefined,
): Promise<StoredSubscription | undefined> {
  const [key, value] = [PREFIX + record.name, encodeControl(record)];
  const entry =
    revision === undefined ? await registry.create(key, value) : await registry.update(key, value, revision);
  return entry && { record, revision: entry.revision };
}

/** In the order of their names, unreadable ones as well. Throws LOG_UNAVAILABLE. */
export async function listSubscriptions(registry: Registry): Promise<readonly SubscriptionRecord[]> {
  const entries = await registry.list(PREFIX);
  const found = await Promise.all(
    entries.map((entry) => readableOrNot(registry, entry.key.slice(PREFIX.length), entry)),
  );
  return found.map(({ record }) => record).filter(({ removed }) => removed !== true);
}

/**
 * Its place is forgotten, and its instances end. Returns what it was: a subscription that begins at
 * `place` goes on where this one was, unless that was unreadable. Throws BAD_OPTION when there is
 * none, LOG_UNAVAILABLE.
 */
export async function removeSubscription(
  registry: Registry,
  name: string,
  nowMs: number,
): Promise<SubscriptionRecord> {
  assertSubscriptionName(name);
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const entry = await registry.get(PREFIX + name);
    const stored = entry && (await readableOrNot(registry, name, entry));
    if (stored === undefined || stored.record.removed === true) throw await noSubscription(registry, name);
    const { holder: _, unreadable: _unreadable, ...rest } = stored.record;
    const removed = { ...rest, epoch: rest.epoch + 1, writtenAtMs: nowMs, removed: true } as const;
    if ((await writeSubscription(registry, removed, stored.revision)) !== undefined) return stored.record;
  }
  throw new AntiphonError(
    'LOG_UNAVAILABLE',
    `The registry's record of subscription ${name} keeps changing. Try again.`,
  );
}

async function noSubscription(registry: Registry, name: string): Promise<AntiphonError> {
  const names = (await listSubscriptions(registry)).map((record) => record.name);
  const hint = names.length === 0 ? 'The cluster has none.' : suggest(name, names);
  return new AntiphonError('BAD_OPTION', `There is no subscription "${name}". ${hint}`);
}

/**
 * As of the newest revision that can be read, to be written against the newest one. What was
 * acknowledged since then may be delivered again.
 */
async function earlierUnlessReadable(
  registry: Registry,
  name: string,
  entry: RegistryEntry,
): Promise<StoredSubscription> {
  const { revision } = entry;
  const newest = recordIn(name, entry.value);
  if (newest !== undefined) return { record: newest, revision };
  for (const { value } of await registry.revisions(PREFIX + name)) {
    const record = recordIn(name, value);
    if (record !== undefined) return { record, revision };
  }
  throw unreadableRecord(name, revision);
}

async function readableOrNot(
  registry: Registry,
  name: string,
  entry: RegistryEntry,
): Promise<StoredSubscription> {
  try {
    return await earlierUnlessReadable(registry, name, entry);
  } catch (thrown) {
    const { revision } = entry;
    const unreadable = toAntiphonError(thrown, 'MALFORMED_MESSAGE');
    if (unreadable.code !== 'MALFORMED_MESSAGE') throw unreadable;
    // Every epoch took a revision: none was higher.
    const record = { name, place: '', epoch: revision, createdAtMs: 0, writtenAtMs: 0, unreadable };
    return { record, revision };
  }
}

function unreadableRecord(name: string, revision: number): AntiphonError {
  return new AntiphonError(
    'MALFORMED_MESSAGE',
    `The registry's record of subscription ${name}, revision ${revision} of the key "${PREFIX}${name}", cannot be read, ` +
      'and no earlier one is kept that can be. Find out who writes it (docs/security.md), remove the subscription ' +
      `(\`antiphon subscriptions --remove ${name}\`) and subscribe again.`,
  );
}

function recordIn(name: string, value: Uint8Array): SubscriptionRecord | undefined {
  try {
    const input = decodeControl(value);
    const record = isRecord(input) && input['name'] === name ? recordOf(name, input) : undefined;
    // Nobody goes on at the place of one that was removed.
    if (record !== undefined && record.removed !== true) decodeCursor(record.place);
    return record;
  } catch {
    return undefined;
  }
}

function recordOf(name: string, input: Readonly<Record<string, unknown>>): SubscriptionRecord | undefined {
  const { place, removed, holder } = input;
  const [epoch, createdAtMs, writtenAtMs] = ['epoch', 'createdAtMs', 'writtenAtMs'].map((field) =>
    Number(input[field]),
  );
  if (typeof place !== 'string' || !isCount(epoch) || !isCount(createdAtMs) || !isCount(writtenAtMs))
    return undefined;
  const held = holder === undefined ? undefined : holderOf(holder);
  if (holder !== undefined && held === undefined) return undefined;
  return {
    ...{ name, place, epoch, createdAtMs, writtenAtMs },
    ...(held && { holder: held }),
    ...(removed === true && { removed }),
  };
}

function holderOf(input: unknown): SubscriptionHolder | undefined {
  if (!isRecord(input)) return undefined;
  const { replica, instance } = input;
  const leaseMs = Number(input['leaseMs']);
  if (typeof replica !== 'string' || typeof instance !== 'string' || !(leaseMs > 0)) return undefined;
  return { replica, instance, leaseMs };
}

function isCount(value: number | undefined): value is number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0;
}
