import { counted } from '@antiphon/core';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fail, ok, warn, type Check } from './check.js';

const DAY_MS = 86_400_000;
/** Nobody wants to learn of it on the last day. */
const SOON_DAYS = 30;
const PEM = '-----BEGIN ';
const ADVICE = 'Renew it: `antiphon init --secure --renew NAME` where it was made so, or as it was made.';

/**
 * How long certificates last, by the names of the options that hold them: paths, or PEM texts. What
 * cannot be read is told by whoever needs it.
 */
export function certificateChecks(
  certificates: Readonly<Record<string, string | undefined>>,
  nowMs: number,
): readonly Check[] {
  return Object.entries(certificates).flatMap(([option, given]) => {
    const end = given === undefined ? undefined : endOf(given);
    return end === undefined ? [] : [certificateCheck(option, end, nowMs)];
  });
}

function certificateCheck(option: string, end: Date, nowMs: number): Check {
  const day = end.toISOString().slice(0, 10);
  const days = Math.floor((end.getTime() - nowMs) / DAY_MS);
  if (days < 0) return fail('certificate', `The certificate of \`${option}\` has ended on ${day}.`, ADVICE);
  if (days >= SOON_DAYS) return ok('certificate', `${option} lasts until ${day}`);
  return warn(
    'certificate',
    `The certificate of \`${option}\` ends on ${day}, in ${counted(days, 'day')}.`,
    ADVICE,
  );
}

function endOf(given: string): Date | undefined {
  try {
    const text = given.includes(PEM) ? given : readFileSync(given, 'utf8');
    return new Date(new X509Certificate(text).validTo);
  } catch {
    return undefined;
  }
}
