import type { EpochReason, EpochRecord } from '../model/epoch-record.js';
import { isIdentifier } from '../model/identifier.js';
import { decodeRecord, encodeControl } from './control.js';

const FORMAT = 1;
const MAX_TEXT = 200;
const MAX_LEAVES = 1024;
const REASONS: ReadonlySet<string> = new Set<EpochReason>([
  'failover',
  'switchover',
  'restart',
  'forced',
  'recovered',
]);

export function encodeEpochRecord(record: EpochRecord): Uint8Array {
  return encodeControl({ format: FORMAT, ...record });
}

/** Undefined for what is no such record: somebody else's message must depose nobody. */
export function decodeEpochRecord(data: Uint8Array): EpochRecord | undefined {
  const input = decodeRecord(data, FORMAT);
  if (input === undefined) return undefined;
  const { primary, instance, by, why } = input;
  const [epoch, after, atMs] = ['epoch', 'after', 'atMs'].map((field) => Number(input[field]));
  const { admitted } = input;
  const leaves = idsIn(input['leaves']);
  if (!isCount(epoch) || epoch === 0 || !isCount(after) || !isCount(atMs) || leaves === undefined)
    return undefined;
  if (admitted !== undefined && !isCount(Number(admitted))) return undefined;
  if (typeof primary !== 'string' || !isIdentifier(primary)) return undefined;
  if (!isText(instance) || !isText(by) || typeof why !== 'string' || !isReason(why)) return undefined;
  const record = { epoch, primary, instance, after, by, why, atMs, leaves };
  return admitted === undefined ? record : { ...record, admitted: Number(admitted) };
}

function isReason(why: string): why is EpochReason {
  return REASONS.has(why);
}

function isText(input: unknown): input is string {
  return typeof input === 'string' && input !== '' && input.length <= MAX_TEXT;
}

function isCount(input: number | undefined): input is number {
  return input !== undefined && Number.isSafeInteger(input) && input >= 0;
}

function idsIn(input: unknown): readonly string[] | undefined {
  if (!Array.isArray(input) || input.length > MAX_LEAVES) return undefined;
  const ids = input.filter((id): id is string => typeof id === 'string' && isIdentifier(id));
  return ids.length === input.length ? ids : undefined;
}
