import type { Picture } from '../data/cluster.js';
import { type Happening, happeningsBetween, newestEpoch } from './happenings.js';
import { noSamples, type Samples, sampled } from './samples.js';
import type { MissedPrimary } from './verdict.js';

/** A primary that another one has followed, as this page has seen it. */
export interface Takeover {
  readonly from: string;
  readonly to: string;
  readonly epoch: number;
  readonly why: string;
  readonly atMs: number;
  /** Between the last picture of a primary and the first of the next one; absent without a gap. */
  readonly tookMs?: number;
}

/** Everything that the page has seen since it was opened. */
export interface Observed {
  readonly picture?: Picture;
  readonly missed?: MissedPrimary;
  readonly takeover?: Takeover;
  /** The newest first. */
  readonly happenings: readonly Happening[];
  readonly samples: Samples;
}

const MAX_HAPPENINGS = 200;

export const nothingSeen: Observed = { happenings: [], samples: noSamples };

export function observe(before: Observed, picture: Picture): Observed {
  const earlier = before.picture;
  const happened = earlier === undefined ? [] : happeningsBetween(earlier, picture);
  const missed = missedIn(before, picture);
  const takeover = takeoverIn(before, picture) ?? before.takeover;
  return {
    picture,
    ...(missed && { missed }),
    ...(takeover && { takeover }),
    happenings: [...happened, ...before.happenings].slice(0, MAX_HAPPENINGS),
    samples: sampled(before.samples, picture),
  };
}

/** A primary that hands over in good order is missed as well: nobody takes writes then. */
function missedIn({ missed }: Observed, { primary, members, atMs }: Picture): MissedPrimary | undefined {
  if (primary === undefined) return undefined;
  const lifecycle = members.find(({ id }) => id === primary)?.status?.lifecycle;
  if (lifecycle === 'primary') return undefined;
  return missed?.id === primary ? missed : { id: primary, sinceMs: missed?.sinceMs ?? atMs };
}

function takeoverIn({ picture: before, missed }: Observed, now: Picture): Takeover | undefined {
  const epoch = newestEpoch(now);
  const earlier = before && newestEpoch(before);
  if (epoch === undefined || earlier === undefined || epoch.number <= earlier.number) return undefined;
  const { number, primary, why = '' } = epoch;
  const tookMs = missed && now.atMs - missed.sinceMs;
  return {
    ...{ from: earlier.primary, to: primary, epoch: number, why, atMs: now.atMs },
    ...(tookMs !== undefined && { tookMs }),
  };
}
