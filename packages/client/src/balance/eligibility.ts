import type { ReplicaView } from './replica-view.js';

/** What a read needs of a replica, as far as a balancer can tell beforehand. */
export interface ReadNeeds {
  /** It must be answered by the primary: only that one knows what was acknowledged last. */
  readonly primaryOnly: boolean;
  /** How far it may be behind the log. */
  readonly maxLagMs?: number;
  /** Where the reader is: replicas of this zone come first. */
  readonly zone?: string;
  /** Whether the primary takes its share of the reads, or only those that no replica can take. */
  readonly prefer: 'replicas' | 'primary' | 'any';
  /** Those that this read has been sent to already. */
  readonly tried: ReadonlySet<string>;
}

export interface EligibilityLimits {
  /** Who was not heard for so long gets no reads while others are heard. */
  readonly silenceMs: number;
  /** Who is further behind the log gets no reads while others are not. */
  readonly maxLagMs: number;
  /** Reads at once that the primary takes where no replica can. */
  readonly mostSpilled: number;
}

/** Why a replica does not get a read. */
export type PassedOverReason =
  | 'asked'
  | 'not-primary'
  | 'drained'
  | 'state'
  | 'failing'
  | 'silent'
  | 'behind'
  | 'preference'
  | 'full'
  | 'zone';

/** A replica that does not get a read. */
export interface PassedOver {
  readonly id: string;
  readonly reason: PassedOverReason;
  /** A sentence. */
  readonly why: string;
}

type Reason = Pick<PassedOver, 'reason' | 'why'>;

/** Who may be asked for a read, and who not. */
export interface Eligible {
  /** Each may be asked; the policy chooses. */
  readonly replicas: readonly ReplicaView[];
  readonly passedOver: readonly PassedOver[];
  /** What had to be disregarded so that anybody is left, as a sentence. */
  readonly despite?: string;
}

const SERVES: ReadonlySet<string> = new Set(['following', 'primary']);
/** It answers, and is behind, or cannot go on. */
const ANSWERS: ReadonlySet<string> = new Set(['catching-up', 'holding', 'stalled', 'suspended']);

/**
 * Sorts out who may be asked. What makes a replica a worse choice rules it out only while somebody
 * else is left: a balancer that ejects everybody turns slowness into an outage (Envoy's panic
 * threshold). What makes an answer wrong, or is an operator's word, always does.
 */
export function eligible(
  views: readonly ReplicaView[],
  needs: ReadNeeds,
  limits: EligibilityLimits,
): Eligible {
  const passedOver: PassedOver[] = [];
  const possible = keep(views, passedOver, (view) => impossible(view, needs));
  const well: PassedOver[] = [];
  const serving = keep(possible, well, (view) => unwell(view, needs, limits));
  if (serving.length === 0) return { replicas: possible, passedOver, ...despite(well) };
  passedOver.push(...well);
  const { chosen, rest, reason } = preferred(serving, needs, limits);
  passedOver.push(...rest.map(({ id }) => ({ id, ...reason })));
  return near(chosen, needs, passedOver);
}

function keep(
  views: readonly ReplicaView[],
  passedOver: PassedOver[],
  whyNot: (view: ReplicaView) => Reason | undefined,
): readonly ReplicaView[] {
  return views.filter((view) => {
    const reason = whyNot(view);
    if (reason !== undefined) passedOver.push({ id: view.id, ...reason });
    return reason === undefined;
  });
}

function impossible(
  { id, isDrained, isPrimary, lifecycle }: ReplicaView,
  needs: ReadNeeds,
): Reason | undefined {
  if (needs.tried.has(id)) return { reason: 'asked', why: `${id} was asked already.` };
  if (needs.primaryOnly && !isPrimary)
    return { reason: 'not-primary', why: `${id} is not the primary, which a strong read needs.` };
  if (isDrained && !needs.primaryOnly)
    return { reason: 'drained', why: `${id} is drained. \`antiphon resume ${id}\` ends that.` };
  if (lifecycle === undefined || SERVES.has(lifecycle) || ANSWERS.has(lifecycle)) return undefined;
  return { reason: 'state', why: `${id} is ${lifecycle}.` };
}

function unwell(view: ReplicaView, needs: ReadNeeds, limits: EligibilityLimits): Reason | undefined {
  const { id, lifecycle, silentMs, circuit, lagMs } = view;
  if (circuit === 'open') return { reason: 'failing', why: `${id} has failed, and is tried again soon.` };
  if (silentMs > limits.silenceMs) return { reason: 'silent', why: silence(id, silentMs) };
  if (lifecycle !== undefined && !SERVES.has(lifecycle))
    return { reason: 'state', why: `${id} is ${lifecycle}.` };
  if (lagMs <= Math.min(needs.maxLagMs ?? Infinity, limits.maxLagMs)) return undefined;
  return { reason: 'behind', why: `${id} is ${seconds(lagMs)} behind the log.` };
}

interface Preferred {
  readonly chosen: readonly ReplicaView[];
  readonly rest: readonly ReplicaView[];
  /** Of the rest. */
  readonly reason: Reason;
}

/** Reads belong on replicas, and the primary is for writes, unless the caller sees it otherwise. */
function preferred(
  serving: readonly ReplicaView[],
  { prefer, primaryOnly }: ReadNeeds,
  { mostSpilled }: EligibilityLimits,
): Preferred {
  const primaries = serving.filter(({ isPrimary }) => isPrimary);
  const replicas = serving.filter(({ isPrimary }) => !isPrimary);
  const preference = (why: string): Reason => ({ reason: 'preference', why });
  if (primaryOnly || prefer === 'any') return { chosen: serving, rest: [], reason: preference('') };
  if (prefer === 'primary' && primaries.length > 0)
    return { chosen: primaries, rest: replicas, reason: preference('The primary is preferred.') };
  if (replicas.length > 0)
    return {
      chosen: replicas,
      rest: primaries,
      reason: preference('Replicas are preferred to the primary.'),
    };
  const chosen = primaries.filter(({ outstanding }) => outstanding < mostSpilled);
  const rest = primaries.filter((view) => !chosen.includes(view));
  const why = `The primary has ${mostSpilled} reads of this client, and takes no more where no replica can.`;
  return { chosen, rest, reason: { reason: 'full', why } };
}

function near(replicas: readonly ReplicaView[], { zone }: ReadNeeds, passedOver: PassedOver[]): Eligible {
  const here = zone === undefined ? [] : replicas.filter((view) => view.zone === zone);
  if (here.length === 0 || here.length === replicas.length) return { replicas, passedOver };
  const away = replicas.filter((view) => view.zone !== zone);
  passedOver.push(
    ...away.map(({ id }) => ({ id, reason: 'zone' as const, why: `${id} is in another zone.` })),
  );
  return { replicas: here, passedOver };
}

function despite(unwell: readonly PassedOver[]): { readonly despite?: string } {
  if (unwell.length === 0) return {};
  return {
    despite: `No replica is well, so all that answer are asked: ${unwell.map(({ why }) => why).join(' ')}`,
  };
}

function silence(id: string, ms: number): string {
  return ms === Infinity ? `${id} has not been heard yet.` : `${id} was not heard for ${seconds(ms)}.`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
