import { AntiphonError } from '../errors/antiphon-error.js';
import { checkOptions, shownOption } from '../options/check-options.js';

/** What becomes of a primary that fails. The members agree on it when the cluster is created. */
export interface FailoverOptions {
  /**
   * `automatic`: another replica takes over when the primary has gone. `manual`: only when somebody
   * says so.
   * @defaultValue 'automatic'
   */
  readonly mode?: 'automatic' | 'manual';
  /**
   * How long a primary may write after it was last heard, in milliseconds.
   * @defaultValue 2000
   */
  readonly leaseMs?: number;
  /**
   * How often it renews that, in milliseconds.
   * @defaultValue 500
   */
  readonly renewMs?: number;
  /**
   * How much earlier it stops than others take over, in milliseconds.
   * @defaultValue 250
   */
  readonly marginMs?: number;
  /**
   * How often a follower asks whether the primary is there, in milliseconds.
   * @defaultValue 100
   */
  readonly probeMs?: number;
  /**
   * For how long nobody must listen for the primary until it counts as gone, in milliseconds.
   * @defaultValue 1000
   */
  readonly goneMs?: number;
  /**
   * What a primary does that cannot renew its lease. `suspend`: it takes no writes. `continue`: it
   * does, and they may be lost to the rescue ledger.
   * @defaultValue 'suspend', with manual failover 'continue'
   */
  readonly onIsolation?: 'suspend' | 'continue';
  /**
   * How long other programs may write to the file of a primary whose process has ended, in
   * milliseconds; 0: for ever.
   * @defaultValue 300000
   */
  readonly foreignLeaseMs?: number;
}

/** With every default filled in. */
export type FailoverSettings = Required<FailoverOptions>;

const NAMES = {
  ...{ mode: true, leaseMs: true, renewMs: true, marginMs: true, probeMs: true, goneMs: true },
  ...{ onIsolation: true, foreignLeaseMs: true },
};
const DEFAULTS = { leaseMs: 2000, renewMs: 500, marginMs: 250, probeMs: 100, goneMs: 1000 };
const DEFAULT_FOREIGN_LEASE_MS = 300_000;
const LONGEST_MS = 86_400_000;

/** Throws BAD_OPTION. */
export function parseFailover(input: unknown): FailoverSettings {
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    throw bad('failover', input, "{ mode: 'automatic' } or { mode: 'manual' }");
  checkOptions(input, NAMES, 'failover');
  const given = input as Readonly<Record<string, unknown>>;
  const { mode = 'automatic' } = given;
  if (mode !== 'automatic' && mode !== 'manual') throw bad('failover.mode', mode, "'automatic' or 'manual'");
  const { onIsolation = mode === 'manual' ? 'continue' : 'suspend' } = given;
  if (onIsolation !== 'suspend' && onIsolation !== 'continue')
    throw bad('failover.onIsolation', onIsolation, "'suspend' or 'continue'");
  const durations = Object.fromEntries(
    Object.entries(DEFAULTS).map(([name, fallback]) => [name, durationOf(given, name, fallback, 1)]),
  ) as typeof DEFAULTS;
  const { leaseMs, renewMs, marginMs, probeMs, goneMs } = durations;
  if (renewMs + marginMs >= leaseMs)
    throw bad('failover.leaseMs', leaseMs, `more than renewMs and marginMs together (${renewMs + marginMs})`);
  if (probeMs > goneMs)
    throw bad('failover.probeMs', probeMs, `at most goneMs (${goneMs}): one question would be no sign`);
  const foreignLeaseMs = durationOf(given, 'foreignLeaseMs', DEFAULT_FOREIGN_LEASE_MS, 0);
  return { mode, ...durations, onIsolation, foreignLeaseMs };
}

/** For a message: what of two settings is not the same, on either side; undefined when all is. */
export function failoverDifference(
  ours: FailoverSettings,
  theirs: FailoverSettings | undefined,
): readonly [ours: string, theirs: string] | undefined {
  if (theirs === undefined) return [`mode ${ours.mode}`, 'none'];
  const names = Object.keys(NAMES) as (keyof FailoverSettings)[];
  const different = names.filter((name) => ours[name] !== theirs[name]);
  if (different.length === 0) return undefined;
  const shown = (settings: FailoverSettings): string =>
    different.map((name) => `${name} ${settings[name]}`).join(', ');
  return [shown(ours), shown(theirs)];
}

function durationOf(
  given: Readonly<Record<string, unknown>>,
  name: string,
  fallback: number,
  least: number,
): number {
  const value = given[name] ?? fallback;
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= LONGEST_MS)
    return value;
  throw bad(`failover.${name}`, value, `milliseconds, from ${least} to ${LONGEST_MS}`);
}

function bad(name: string, input: unknown, wanted: string): AntiphonError {
  return new AntiphonError('BAD_OPTION', `\`${name}\` is ${shownOption(input)}. Give ${wanted}.`);
}
