import type { VectorClock } from '../clocks/vector-clock.js';
import { decodeControl, encodeControl, isRecord } from '../codec/control.js';
import { AntiphonError } from '../errors/antiphon-error.js';
import { isIdentifier } from '../model/identifier.js';
import type { KnownEntry } from '../model/position.js';

/** What a replica says about itself every second, on `antiphon.<cluster>.beat.<id>`. */
export interface Beat {
  readonly id: string;
  readonly instance: string;
  readonly startedAtMs: number;
  readonly lifecycle: string;
  readonly generation: string;
  readonly seq: number;
  /**
   * An entry of the log that this replica's database has dealt with, for the others to compare
   * (I14).
   */
  readonly entry?: KnownEntry;
  /** Everything of the log up to here that is to be applied is applied. */
  readonly appliedSeq: number;
  /** Counters that are missing, by origin; at most MAX_WAITS of them. */
  readonly waitsFor: Readonly<Record<string, number>>;
  /** Why, for some of them. */
  readonly waitsWhy: Readonly<Record<string, string>>;
  /** Who was heard and is no member, as far as this replica knows; at most MAX_STRANGERS. */
  readonly strangers: readonly string[];
  readonly vector: VectorClock;
  readonly lagEntries: number;
  /** Since it was last in step; 0 when it is. */
  readonly lagMs: number;
  readonly unpublished: number;
  readonly nowMs: number;
  /** Who the primary is, as far as it has read the log; absent where every member writes. */
  readonly primary?: BeatPrimary;
  /** For those that spread reads. */
  readonly reads: BeatReads;
}

export interface BeatPrimary {
  /** Of two beats the higher one counts; 0 where it never changes. */
  readonly epoch: number;
  readonly id: string;
}

export interface BeatReads {
  readonly weight: number;
  readonly zone?: string;
  /** It gets no new reads. */
  readonly isDrained: boolean;
}

/** More gaps than this are not named in a beat. */
export const MAX_WAITS = 64;
/** So many are named, and so many reasons given. */
export const MAX_STRANGERS = 16;
export const MAX_REASONS = 8;
const MAX_REASON_LENGTH = 300;
const MAX_ZONE = 80;

export function encodeBeat(beat: Beat): Uint8Array {
  return encodeControl(beat);
}

/** Throws MALFORMED_MESSAGE. */
export function decodeBeat(data: Uint8Array): Beat {
  const input = decodeControl(data);
  if (!isRecord(input)) throw malformed('its type');
  const { id, instance, lifecycle, generation, vector } = input;
  if (typeof id !== 'string' || !isIdentifier(id)) throw malformed('its id');
  if (typeof instance !== 'string' || typeof lifecycle !== 'string' || typeof generation !== 'string') {
    throw malformed('its instance, lifecycle or generation');
  }
  if (!isRecord(vector)) throw malformed('its vector');
  const entry = decodeEntry(input['entry']);
  const { waitsFor = {} } = input;
  if (!isRecord(waitsFor)) throw malformed('what it waits for');
  return {
    id,
    instance: instance.slice(0, 80),
    lifecycle: lifecycle.slice(0, 40),
    generation: generation.slice(0, 200),
    startedAtMs: whole(input['startedAtMs']),
    seq: whole(input['seq']),
    ...(entry && { entry }),
    appliedSeq: whole(input['appliedSeq'] ?? input['seq']),
    waitsFor: counters(waitsFor),
    waitsWhy: reasons(input['waitsWhy']),
    strangers: ids(input['strangers']),
    vector: counters(vector),
    lagEntries: whole(input['lagEntries']),
    lagMs: whole(input['lagMs'] ?? 0),
    unpublished: whole(input['unpublished']),
    nowMs: whole(input['nowMs']),
    ...primaryIn(input['primary']),
    reads: readsIn(input['reads']),
  };
}

function primaryIn(input: unknown): { readonly primary?: BeatPrimary } {
  if (input === undefined || input === null) return {};
  if (!isRecord(input)) throw malformed('its primary');
  const { epoch, id } = input;
  if (typeof id !== 'string' || !isIdentifier(id)) throw malformed('the id of its primary');
  return { primary: { epoch: whole(epoch), id } };
}

/** Builds that do not say it take part like all others. */
function readsIn(input: unknown): BeatReads {
  if (!isRecord(input)) return { weight: 1, isDrained: false };
  const { weight, zone, isDrained } = input;
  return {
    weight: typeof weight === 'number' && weight > 0 && weight < Infinity ? weight : 1,
    ...(typeof zone === 'string' && { zone: zone.slice(0, MAX_ZONE) }),
    isDrained: isDrained === true,
  };
}

function decodeEntry(input: unknown): KnownEntry | undefined {
  if (input === undefined || input === null) return undefined;
  if (!isRecord(input)) throw malformed('its entry');
  const { storedAtMs, attempt } = input;
  return {
    seq: whole(input['seq']),
    ...(typeof storedAtMs === 'number' ? { storedAtMs } : {}),
    ...(typeof attempt === 'string' ? { attempt: attempt.slice(0, 256) } : {}),
  };
}

function reasons(input: unknown): Readonly<Record<string, string>> {
  if (!isRecord(input)) return {};
  const entries = Object.entries(input).slice(0, MAX_REASONS);
  return Object.fromEntries(
    entries.map(([origin, why]) => [origin, String(why).slice(0, MAX_REASON_LENGTH)]),
  );
}

function ids(input: unknown): readonly string[] {
  if (!Array.isArray(input)) return [];
  return input
    .slice(0, MAX_STRANGERS)
    .filter((id: unknown): id is string => typeof id === 'string' && isIdentifier(id));
}

function counters(input: Readonly<Record<string, unknown>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(input).map(([origin, counter]) => [origin, whole(counter)]));
}

function whole(input: unknown): number {
  const number = typeof input === 'bigint' ? Number(input) : input;
  if (typeof number === 'number' && Number.isFinite(number) && number >= 0) return Math.floor(number);
  throw malformed('a number in it');
}

function malformed(what: string): AntiphonError {
  return new AntiphonError(
    'MALFORMED_MESSAGE',
    `A heartbeat cannot be read: ${what} is not valid. Find out who publishes it.`,
  );
}
