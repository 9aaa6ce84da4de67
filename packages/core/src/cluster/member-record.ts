import { decodeControl, encodeControl, isRecord } from '../codec/control.js';
import { AntiphonError } from '../errors/antiphon-error.js';
import { isIdentifier } from '../model/identifier.js';
import type { Registry, RegistryEntry } from '../ports/registry.js';

const PREFIX = 'member.';
/**
 * Compare-and-set attempts; losing more often means that something writes the record all the time.
 */
const MAX_ATTEMPTS = 5;

/**
 * A replica that ever joined. Never deleted, only marked: its transactions may be in the log for
 * ever, and are genuine.
 */
export interface MemberRecord {
  readonly id: string;
  readonly joinedAtMs: number;
  readonly engine: string;
  readonly version: string;
  /** Of its latest start: of two processes under one id, this one has it. */
  readonly instance: string;
  /** It was removed from the cluster and has not come back; wall time. */
  readonly removedAtMs?: number;
}

/** Also brings back a member that was removed. */
export async function registerMember(registry: Registry, record: MemberRecord): Promise<void> {
  const key = PREFIX + record.id;
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const known = await registry.get(key);
    if (known === undefined) {
      if ((await registry.create(key, encodeControl(record))) !== undefined) return;
      continue;
    }
    const joinedAtMs = decodeMember(record.id, known.value)?.joinedAtMs ?? record.joinedAtMs;
    if ((await registry.update(key, encodeControl({ ...record, joinedAtMs }), known.revision)) !== undefined)
      return;
  }
  throw new AntiphonError(
    'DUPLICATE_REPLICA',
    `The registry's record of replica ${record.id} keeps changing: another process seems to start under the same id. Stop one of them.`,
    { context: { replica: record.id } },
  );
}

/** Unless there is one by now that can be read; false then. */
export async function restoreRecord(registry: Registry, record: MemberRecord): Promise<boolean> {
  const [key, data] = [PREFIX + record.id, encodeControl(record)];
  if ((await registry.create(key, data)) !== undefined) return true;
  const entry = await registry.get(key);
  if (entry === undefined || decodeMember(record.id, entry.value) !== undefined) return false;
  return (await registry.update(key, data, entry.revision)) !== undefined;
}

/** Those that were removed left out. */
export async function listMembers(registry: Registry): Promise<readonly MemberRecord[]> {
  return (await listRecords(registry)).filter(({ removedAtMs }) => removedAtMs === undefined);
}

/** Everyone who ever was a member. */
export async function listRecords(registry: Registry): Promise<readonly MemberRecord[]> {
  const entries = await registry.list(PREFIX);
  const records = await Promise.all(
    entries.map((entry) => recordOf(registry, entry.key.slice(PREFIX.length), entry)),
  );
  return records.filter((record) => record !== undefined);
}

/** Marks the record of one that has not started again since it was read; false when it has. */
export async function markRemoved(
  registry: Registry,
  { id, instance }: MemberRecord,
  removedAtMs: number,
): Promise<boolean> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const entry = await registry.get(PREFIX + id);
    const record = entry && (await recordOf(registry, id, entry));
    if (entry === undefined || record === undefined || record.removedAtMs !== undefined) return true;
    if (record.instance !== instance) return false;
    const data = encodeControl({ ...record, removedAtMs });
    if ((await registry.update(PREFIX + id, data, entry.revision)) !== undefined) return true;
  }
  return false;
}

/** Removed ones as well; as of the newest revision that can be read. */
export async function findReadableMember(registry: Registry, id: string): Promise<MemberRecord | undefined> {
  if (!isIdentifier(id)) return undefined;
  const entry = await registry.get(PREFIX + id);
  return entry && recordOf(registry, id, entry);
}

/** Removed ones as well; undefined where the newest revision cannot be read. */
export async function findMember(registry: Registry, id: string): Promise<MemberRecord | undefined> {
  if (!isIdentifier(id)) return undefined;
  const entry = await registry.get(PREFIX + id);
  return entry === undefined ? undefined : decodeMember(id, entry.value);
}

/**
 * As of the newest revision that can be read: without its record, a member counts as a stranger.
 */
async function recordOf(
  registry: Registry,
  id: string,
  entry: RegistryEntry,
): Promise<MemberRecord | undefined> {
  const newest = decodeMember(id, entry.value);
  if (newest !== undefined) return newest;
  for (const { value } of await registry.revisions(entry.key)) {
    const earlier = decodeMember(id, value);
    if (earlier !== undefined) return earlier;
  }
  return undefined;
}

function decodeMember(id: string, value: Uint8Array): MemberRecord | undefined {
  let input: unknown;
  try {
    input = decodeControl(value);
  } catch {
    return undefined;
  }
  if (!isRecord(input) || input['id'] !== id || !isIdentifier(id)) return undefined;
  const { joinedAtMs, engine, version, instance, removedAtMs } = input;
  return {
    id,
    joinedAtMs: Number(joinedAtMs),
    engine: String(engine),
    version: String(version),
    instance: String(instance),
    ...(removedAtMs === undefined ? {} : { removedAtMs: Number(removedAtMs) }),
  };
}
