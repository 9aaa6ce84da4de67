import { AntiphonError, decodeControl, encodeControl, isIdentifier, type Registry } from '@antiphon/core';
import { isRecord } from './cluster-document.js';

const PREFIX = 'member.';
/** Compare-and-set attempts; losing more often means that something writes the record all the time. */
const MAX_ATTEMPTS = 5;

/** A replica that ever joined. Never deleted: its transactions may be in the log for ever. */
export interface MemberRecord {
  readonly id: string;
  readonly joinedAtMs: number;
  readonly engine: string;
  readonly version: string;
  /** Of its latest start. */
  readonly instance: string;
}

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
    `the registry's record of replica ${record.id} keeps changing; another process seems to start under the same id`,
    { context: { replica: record.id } },
  );
}

export async function listMembers(registry: Registry): Promise<readonly MemberRecord[]> {
  const entries = await registry.list(PREFIX);
  return entries.flatMap(({ key, value }) => decodeMember(key.slice(PREFIX.length), value) ?? []);
}

export async function findMember(registry: Registry, id: string): Promise<MemberRecord | undefined> {
  if (!isIdentifier(id)) return undefined;
  const entry = await registry.get(PREFIX + id);
  return entry === undefined ? undefined : decodeMember(id, entry.value);
}

function decodeMember(id: string, value: Uint8Array): MemberRecord | undefined {
  let input: unknown;
  try {
    input = decodeControl(value);
  } catch {
    return undefined;
  }
  if (!isRecord(input) || input['id'] !== id || !isIdentifier(id)) return undefined;
  const { joinedAtMs, engine, version, instance } = input;
  return {
    id,
    joinedAtMs: Number(joinedAtMs),
    engine: String(engine),
    version: String(version),
    instance: String(instance),
  };
}
