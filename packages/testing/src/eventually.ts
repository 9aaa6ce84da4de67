import { checkOptions, type OptionNames } from '@antiphon/core';

const WAIT_MS = 15_000;
/** The first looks come quickly; what takes long is looked at less often. */
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 20;
const MAX_SHOWN_LENGTH = 2000;

/** How long to wait, and what to show. */
export interface EventuallyOptions {
  /**
   * How long to wait, in milliseconds.
   * @defaultValue 15 000
   */
  readonly timeoutMs?: number;
  /**
   * What the error shows as last seen.
   * @defaultValue what the condition gave last
   */
  readonly seen?: () => unknown;
}

const OPTIONS: OptionNames<EventuallyOptions> = { timeoutMs: true, seen: true };

/**
 * Waits until a condition of a test holds, and returns what the condition gave. It is looked at
 * right away, then every 5 to 20 ms of real time. A condition that throws ends the wait with its
 * error.
 *
 * @param what - What is waited for, as a sentence: `b has all rows`.
 * @param condition - Holds when it gives something truthy.
 * @param limit - How long to wait, in milliseconds, or with more options.
 * @throws Error with what was waited for, for how long, and what was last seen.
 * @example
 * await eventually('b is in step', () => b.status().lag.entries === 0, { seen: () => b.status().lag });
 */
export async function eventually<T>(
  what: string,
  condition: () => T | Promise<T>,
  limit: number | EventuallyOptions = {},
): Promise<NonNullable<T>> {
  if (typeof limit !== 'number') checkOptions(limit, OPTIONS, 'eventually()');
  const { timeoutMs = WAIT_MS, seen } = typeof limit === 'number' ? { timeoutMs: limit } : limit;
  const untilMs = performance.now() + timeoutMs;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs + 1, LONGEST_PAUSE_MS)) {
    const found = await condition();
    if (found) return found;
    if (performance.now() > untilMs) {
      const last = shown(seen === undefined ? found : seen());
      throw new Error(`Waited ${timeoutMs} ms in vain: ${what}. Last seen: ${last}.`);
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** On one line, and not too long for a report of failed tests. */
function shown(value: unknown): string {
  const isPlain = typeof value === 'object' && value !== null && !(value instanceof Error);
  const text = isPlain ? inJson(value) : String(value);
  return text.length > MAX_SHOWN_LENGTH ? `${text.slice(0, MAX_SHOWN_LENGTH)}…` : text;
}

function inJson(value: object): string {
  return JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? `${each}n` : each));
}
