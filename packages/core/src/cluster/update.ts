import { AntiphonError } from '../errors/antiphon-error.js';
import { suggest } from '../options/suggestion.js';

/**
 * What a synchronous write waits for. `logged`: the log has it, and certification let it pass.
 * `local`: the writer's own database has committed it too. A number counts databases that have
 * committed it durably, the writer's own included; `majority`: of all members; `all`: of the
 * in-sync set.
 */
export type AckLevel = 'local' | 'logged' | 'majority' | 'all' | number;

/**
 * A write is complete once this replica's database has committed it; the others get it afterwards.
 */
export interface AsyncUpdate {
  readonly mode: 'async';
  /**
   * Interval at which changes are sent, in milliseconds; 0 sends them at once.
   * @defaultValue 0
   */
  readonly intervalMs?: number;
}

/** A write is complete once the replicas that it waits for have it on their disks. */
export interface SyncUpdate {
  readonly mode: 'sync';
  /**
   * Which databases a write waits for, unless it asks for others.
   * @defaultValue 'all'
   */
  readonly acks?: AckLevel;
  /**
   * How many members have to be in sync, the writer included, for writes that wait for other
   * databases; fewer are a shortfall.
   * @defaultValue 2 with acks 'all', else 1
   */
  readonly minInSync?: number;
  /**
   * What becomes of such writes in a shortfall. `reject`: NOT_IN_SYNC. `degrade`: they complete
   * once they are logged, and say so.
   * @defaultValue 'reject'
   */
  readonly onShortfall?: 'reject' | 'degrade';
  /**
   * Writes by other programs, which cannot wait. `refuse`: the database refuses them. `async`: they
   * are captured and propagated as in the other mode.
   * @defaultValue 'refuse'
   */
  readonly foreignWrites?: 'refuse' | 'async';
}

/**
 * Whether writes wait for other replicas. The members of a cluster agree on it when it is created.
 */
export type UpdateOptions = AsyncUpdate | SyncUpdate;

/** What the members of a synchronous cluster agree on. */
export type SyncSettings = Required<SyncUpdate>;

/** The same, with every default filled in. */
export type UpdateSettings = { readonly mode: 'async' } | SyncSettings;

export const MAX_ACKS = 64;
const ASYNC_KEYS = ['mode', 'intervalMs'];
const SYNC_KEYS = ['mode', 'acks', 'minInSync', 'onShortfall', 'foreignWrites'];

/** With every default filled in. Throws BAD_OPTION. */
export function parseUpdate(input: unknown): UpdateSettings {
  if (typeof input !== 'object' || input === null) throw bad('update', input, "{ mode: 'async' | 'sync' }");
  const given = input as Readonly<Record<string, unknown>>;
  const { mode = 'async' } = given;
  if (mode !== 'async' && mode !== 'sync') throw bad('update.mode', mode, "'async' or 'sync'");
  assertMeant(given, mode);
  if (mode === 'async') return { mode };
  const acks = parseAcks(given['acks'] ?? 'all', 'update.acks');
  const minInSync = given['minInSync'] ?? (acks === 'all' ? 2 : 1);
  if (!isCount(minInSync)) throw bad('update.minInSync', given['minInSync'], `1 to ${MAX_ACKS}`);
  const { onShortfall = 'reject', foreignWrites = 'refuse' } = given;
  if (onShortfall !== 'reject' && onShortfall !== 'degrade')
    throw bad('update.onShortfall', onShortfall, "'reject' or 'degrade'");
  if (foreignWrites !== 'refuse' && foreignWrites !== 'async')
    throw bad('update.foreignWrites', foreignWrites, "'refuse' or 'async'");
  return { mode, acks, minInSync, onShortfall, foreignWrites };
}

function assertMeant(given: Readonly<Record<string, unknown>>, mode: 'async' | 'sync'): void {
  const keys = mode === 'sync' ? SYNC_KEYS : ASYNC_KEYS;
  const unknown = Object.keys(given).find((key) => given[key] !== undefined && !keys.includes(key));
  if (unknown === undefined) return;
  const isKnown = SYNC_KEYS.includes(unknown) || ASYNC_KEYS.includes(unknown);
  const advice = isKnown ? 'Leave it out, or give another mode.' : suggest(unknown, keys);
  throw new AntiphonError(
    'BAD_OPTION',
    `\`update.${unknown}\` has no meaning with mode '${mode}'. ${advice}`,
  );
}

/** Throws BAD_OPTION. */
export function parseAcks(input: unknown, name = 'acks'): AckLevel {
  if (input === 'local' || input === 'logged' || input === 'majority' || input === 'all') return input;
  const count = typeof input === 'bigint' ? Number(input) : input;
  if (isCount(count)) return count;
  throw bad(
    name,
    input,
    `'local', 'logged', 'majority', 'all', or a number of databases from 1 to ${MAX_ACKS}`,
  );
}

export function describeUpdate(update: UpdateSettings): string {
  if (update.mode === 'async') return 'async';
  const { acks, minInSync, onShortfall, foreignWrites } = update;
  return `sync (acks ${acks}, minInSync ${minInSync}, onShortfall ${onShortfall}, foreignWrites ${foreignWrites})`;
}

function isCount(input: unknown): input is number {
  return typeof input === 'number' && Number.isInteger(input) && input >= 1 && input <= MAX_ACKS;
}

function bad(name: string, input: unknown, wanted: string): AntiphonError {
  return new AntiphonError(
    'BAD_OPTION',
    `\`${name}\` is ${JSON.stringify(input) ?? String(input)}. Give ${wanted}.`,
  );
}
