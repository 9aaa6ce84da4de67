import { AntiphonError, formatPosition, parseOutcomeId, type Position } from '@antiphon/core';
import type { SessionPosition } from '@antiphon/replica';

/**
 * What a session has seen, as it is typed: a place in the log (the beginning of its generation is
 * enough), transactions, or both.
 */
export interface SessionPlace {
  readonly generation: string;
  readonly seq: number;
  readonly vector: Readonly<Record<string, number>>;
}

/** As status prints it. */
const POSITION = /^([A-Za-z0-9_-]{1,64})\/(\d{1,15})$/;

/**
 * `0192f3a4-b5c6/42`, `eu-1:7`, or several with commas. `option`: what a message calls it. Throws
 * BAD_OPTION.
 */
export function parseSessionPlace(text: string, option = 'after'): SessionPlace {
  let place: SessionPlace = { generation: '', seq: 0, vector: {} };
  for (const part of text.split(',').map((item) => item.trim())) {
    const [, generation = '', seq] = POSITION.exec(part) ?? [];
    if (seq !== undefined) {
      if (place.generation !== '') throw bad(text, option);
      place = { ...place, generation, seq: Number(seq) };
      continue;
    }
    const { origin, counter } = transaction(part, text, option);
    const vector = { ...place.vector, [origin]: Math.max(counter, place.vector[origin] ?? 0) };
    place = { ...place, vector };
  }
  return place;
}

/** As `parseSessionPlace` reads it, and with the whole name of the generation. */
export function formatSessionPlace({ generation, seq, vector = {} }: SessionPosition): string {
  const transactions = Object.entries(vector).map(([origin, counter]) => `${origin}:${counter}`);
  return [...(generation === '' ? [] : [`${generation}/${seq}`]), ...transactions].join(',');
}

/**
 * As a replica takes it. `current`: where that replica stands. Throws BAD_OPTION when the place is
 * in another log.
 */
export function sessionPosition(
  { generation, seq, vector }: SessionPlace,
  current: Position,
  option = 'after',
): SessionPosition {
  if (!current.generation.startsWith(generation)) {
    const message =
      `${option} ${generation}/${seq} is a place in another log: this cluster's is at ${formatPosition(current)}. ` +
      'Take a position of `antiphon status`, or the transaction of an `antiphon exec`.';
    throw new AntiphonError('BAD_OPTION', message, { context: { option } });
  }
  return { generation: current.generation, seq, vector };
}

function transaction(
  part: string,
  text: string,
  option: string,
): { readonly origin: string; readonly counter: number } {
  try {
    return parseOutcomeId(part);
  } catch {
    throw bad(text, option);
  }
}

function bad(text: string, option: string): AntiphonError {
  const message =
    `${option} is "${text.slice(0, 80)}". Give a position as \`antiphon status\` shows it, like 0a1b2c3d/42, or the ` +
    'transaction of a write, like eu-1:7.';
  return new AntiphonError('BAD_OPTION', message, { context: { option } });
}
