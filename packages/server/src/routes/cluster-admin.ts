import { dismissRescued, reapplyRescued, retryQuarantine } from '@antiphon/client';
import { failoverPlan, lossOf, stillThere } from '@antiphon/client/internal';
import { AntiphonError } from '@antiphon/core';
import { verifyCluster } from '@antiphon/replica';
import {
  detailAnswer,
  discardBody,
  dismissBody,
  failoverBody,
  reapplyBody,
  retryBody,
  switchoverBody,
  verifyAnswer,
  verifyBody,
} from '../http/cluster-schemas.js';
import { toJsonTree } from '../http/json-value.js';
import { nothing } from '../http/schemas.js';
import { type Route, route, type Service } from './route.js';

const ASK_MS = 30_000;
const DEFAULT_SWITCHOVER_MS = 10_000;
const DEFAULT_FAILOVER_MS = 10_000;
/** The answer comes a little after the replica has given up. */
const ANSWER_MS = 2000;
/** It begins, hands over, or takes that back, each within the time. */
const SWITCHOVER_STEPS = 6;
const VERIFY_MS = 120_000;
const MAX_DIFFERENT_ROWS = 20;

const admin = { method: 'POST', role: 'admin', query: nothing } as const;

/** What an operator does to a member, whichever replica is asked to see to it. */
export const clusterAdminRoutes: readonly Route[] = [
  route({
    ...{ ...admin, path: '/v1/admin/switchover', body: switchoverBody },
    summary: 'The primary hands over to another replica: writes wait for a moment, and nothing is lost.',
    answers: { 200: { what: 'The new epoch, and for how long writes have waited.', schema: detailAnswer } },
    run: async (service, { body: { to, timeoutMs = DEFAULT_SWITCHOVER_MS }, signal }) => {
      service.cluster.member(to);
      const { id, beforeMs } = await primaryBy(service, timeoutMs);
      const wait = { timeoutMs: SWITCHOVER_STEPS * timeoutMs, signal };
      const done = await service.cluster.member(id).ask('switchOver', { to, timeoutMs, beforeMs }, wait);
      return { body: toJsonTree({ replica: id, ...done }) };
    },
  }),
  route({
    ...{ ...admin, path: '/v1/admin/failover', body: failoverBody },
    summary: 'Makes another replica the primary, whatever the one before has that the log has not.',
    answers: { 200: { what: 'The new epoch, and where to look for what was lost.', schema: detailAnswer } },
    run: async ({ cluster, watch }, { body, signal }) => {
      const { to, force = false, timeoutMs = DEFAULT_FAILOVER_MS } = body;
      const candidate = cluster.member(to);
      const plan = failoverPlan(cluster.name, to, (await watch.look()).members);
      if (plan.primary === to && plan.epoch !== undefined) {
        const { number: epoch, seq } = plan.epoch;
        return { body: { replica: to, epoch, primary: to, seq, elected: true, says: '' } };
      }
      if (plan.answers && !force) throw stillThere(plan, 'force');
      const wait = { timeoutMs: timeoutMs + ANSWER_MS, signal };
      const taken = await candidate.ask('takeOver', { timeoutMs }, wait);
      return { body: { replica: to, ...taken, says: lossOf(plan) } };
    },
  }),
  route({
    ...{ ...admin, path: '/v1/admin/rescue/reapply', body: reapplyBody },
    summary: 'Writes a transaction of a rescue ledger again, on the primary.',
    answers: { 200: { what: 'As `antiphon rescue reapply`.', schema: detailAnswer } },
    run: async ({ cluster }, { body: { replica, id, force = false }, signal }) => {
      const wait = { timeoutMs: ASK_MS, signal };
      const answer = await reapplyRescued(cluster.member(replica), id, { force }, wait);
      return { body: toJsonTree({ replica, ...answer }) };
    },
  }),
  route({
    ...{ ...admin, path: '/v1/admin/rescue/dismiss', body: dismissBody },
    summary: 'Notes that nobody needs a transaction of a rescue ledger. It stays readable.',
    answers: { 200: { what: 'As `antiphon rescue dismiss`.', schema: detailAnswer } },
    run: async ({ cluster }, { body: { replica, id }, signal }) => {
      const wait = { timeoutMs: ASK_MS, signal };
      const transaction = await dismissRescued(cluster.member(replica), id, wait);
      return { body: toJsonTree({ replica, ...transaction }) };
    },
  }),
  route({
    ...{ ...admin, path: '/v1/admin/quarantine/retry', body: retryBody },
    summary: 'Judges anew what a replica has quarantined, and tries at once what it holds.',
    answers: { 200: { what: 'As `antiphon quarantine retry`.', schema: detailAnswer } },
    run: async ({ cluster }, { body: { replica, seq }, signal }) => {
      const answer = await retryQuarantine(cluster.member(replica), seq, { timeoutMs: ASK_MS, signal });
      return { body: toJsonTree({ replica, ...answer }) };
    },
  }),
  route({
    ...{ ...admin, path: '/v1/admin/quarantine/discard', body: discardBody },
    summary: 'Forgets what a replica has quarantined of one entry of the log.',
    answers: { 200: { what: 'As `antiphon quarantine discard`.', schema: detailAnswer } },
    run: async ({ cluster }, { body: { replica, seq }, signal }) => {
      const wait = { timeoutMs: ASK_MS, signal };
      const answer = await cluster.member(replica).ask('discard', { seq }, wait);
      return { body: toJsonTree({ replica, ...answer }) };
    },
  }),
  route({
    ...{ ...admin, path: '/v1/admin/verify', body: verifyBody },
    summary: 'Compares every table on every replica at the same position of the log. Writes wait meanwhile.',
    answers: { 200: { what: 'As `antiphon verify`.', schema: verifyAnswer } },
    run: async ({ cluster, comparisons }, { body: { tables }, signal }) => {
      const release = comparisons.take();
      try {
        const { failover: _, ...ports } = cluster.ports;
        const result = await verifyCluster({
          ...{ ...ports, cluster: cluster.name, timeoutMs: VERIFY_MS, maxRows: MAX_DIFFERENT_ROWS, signal },
          ...(tables && { tables }),
        });
        return { body: toJsonTree(result) };
      } finally {
        release();
      }
    },
  }),
];

/**
 * The primary, and until when, by its own clock, it may begin. One that reads the question later,
 * when nobody waits for it, does nothing.
 */
async function primaryBy(
  { cluster, watch }: Service,
  timeoutMs: number,
): Promise<{ readonly id: string; readonly beforeMs: number }> {
  const { primary, members } = await watch.look();
  const status = members.find(({ id }) => id === primary)?.status;
  if (primary !== undefined && status !== undefined)
    return { id: primary, beforeMs: status.nowMs + timeoutMs };
  const context = { cluster: cluster.name, ...(primary !== undefined && { replica: primary }) };
  const message =
    primary === undefined
      ? 'Every replica takes writes in this cluster, so no primary can hand over. Write to another replica.'
      : `${primary}, the primary, does not answer, so it cannot hand over. Start it, or use \`antiphon failover\`.`;
  throw new AntiphonError('NO_ACTOR', message, { context });
}
