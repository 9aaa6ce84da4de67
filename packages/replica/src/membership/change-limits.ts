import {
  type AgreedLimits,
  agreedOf,
  AntiphonError,
  assertSensible,
  type Bus,
  CLUSTER_KEY,
  encodeClusterDocument,
  findClusterDocument,
  type LimitsFrom,
  listMembers,
  type Log,
  mailboxPrefix,
  MAX_LIMIT_CHANGES,
  newestLimits,
  type Registry,
} from '@antiphon/core';

export interface ChangeLimitsPorts {
  readonly cluster: string;
  readonly registry: Registry;
  readonly log: Pick<Log, 'open'>;
  readonly bus: Bus;
}

export interface LimitsChange {
  readonly before: AgreedLimits;
  readonly after: AgreedLimits;
  /** The first entry of the log that is judged by the new ones. */
  readonly fromSeq: number;
}

const PING_TIMEOUT_MS = 2000;

/**
 * Changes limits that all replicas have agreed on, while none of them runs: for entries of the log
 * that come after those that are there now, so that every entry is judged alike by all, whenever
 * they come to it. Throws MEMBER_RUNNING, BAD_OPTION, LOG_UNAVAILABLE.
 */
export async function changeAgreedLimits(
  { cluster, registry, log, bus }: ChangeLimitsPorts,
  change: Partial<AgreedLimits>,
): Promise<LimitsChange> {
  const found = await findClusterDocument(registry);
  if (found === undefined) {
    throw new AntiphonError('BAD_OPTION', `There is no cluster ${cluster}. Check its name.`, {
      context: { cluster },
    });
  }
  const { document, revision } = found;
  const before = newestLimits(document.limits);
  const after = { ...agreedOf(before), ...change };
  assertSensible(after);
  await assertNoneRuns(cluster, registry, bus);
  const { lastSeq } = await log.open({ create: false });
  const fromSeq = lastSeq + 1;
  const limits = [...document.limits.filter((one) => one.fromSeq < fromSeq), { fromSeq, ...after }];
  const data = encodeClusterDocument({ ...document, limits: newestOf(limits) });
  if ((await registry.update(CLUSTER_KEY, data, revision)) !== undefined)
    return { before: agreedOf(before), after, fromSeq };
  throw new AntiphonError(
    'CLUSTER_MISMATCH',
    `Somebody else changed the description of cluster ${cluster} at the same time. Try again.`,
    { context: { cluster } },
  );
}

/** The oldest limits stand for whatever came before. */
function newestOf(limits: readonly LimitsFrom[]): readonly LimitsFrom[] {
  return limits.slice(-MAX_LIMIT_CHANGES);
}

async function assertNoneRuns(cluster: string, registry: Registry, bus: Bus): Promise<void> {
  const members = await listMembers(registry);
  const answers = await Promise.all(
    members.map(async ({ id }) => {
      try {
        const subject = `${mailboxPrefix(cluster, id)}.ping`;
        await bus.request(subject, new Uint8Array(0), { timeoutMs: PING_TIMEOUT_MS });
        return id;
      } catch (error) {
        if (error instanceof AntiphonError && error.code === 'ACCESS_DENIED') throw error;
        return undefined;
      }
    }),
  );
  const running = answers.filter((id) => id !== undefined);
  if (running.length === 0) return;
  throw new AntiphonError(
    'MEMBER_RUNNING',
    `${running.join(', ')} of cluster ${cluster} ${running.length === 1 ? 'runs' : 'run'}. Stop all replicas, change the ` +
      'setting, and start them again. All of them must have the same settings.',
    { context: { cluster, running } },
  );
}
