import type { ServerResponse } from 'node:http';
import { listConflicts, listQuarantine, listRescued, showRescued } from '@antiphon/client';
import {
  askCandidacies,
  failoverPlan,
  furthestOf,
  hasAnswered,
  nobodyAnswers,
  planOf,
  primaryIn,
  rankedCandidates,
} from '@antiphon/client/internal';
import { toAntiphonError } from '@antiphon/core';
import type { ConflictList, ShownRescueChange } from '@antiphon/replica';
import type { ClusterPicture } from '../cluster/picture.js';
import {
  candidatesAnswer,
  clusterAnswer,
  detailAnswer,
  epochsAnswer,
  failoverPlanAnswer,
  failoverQuery,
  ledgersAnswer,
  quarantinedQuery,
  rescueQuery,
  rescuesQuery,
} from '../http/cluster-schemas.js';
import { beginEvents } from '../http/event-stream.js';
import { ofDatabase, toJsonTree } from '../http/json-value.js';
import { nothing } from '../http/schemas.js';
import { type Answer, type Route, route, type Service } from './route.js';

const ASK_MS = 5000;
/** So many of each ledger are listed; the commands show more. */
const MAX_LISTED = 200;
const MAX_CHANGES = 200;

const read = { method: 'GET', role: 'read' } as const;

/** What the page of an operator shows, from whichever member knows it. */
export const clusterRoutes: readonly Route[] = [
  route({
    ...{ ...read, path: '/v1/cluster', summary: 'Every member, as it answers now.', query: nothing },
    answers: { 200: { what: 'Their status, and who is the primary.', schema: clusterAnswer } },
    run: async ({ watch }, { role }) => ({ body: shown(await watch.look(), role) }),
  }),
  route({
    ...{ ...read, path: '/v1/cluster/stream', query: nothing, type: 'text/event-stream' },
    summary: 'The same once a second, and more often while a primary is missed, as server-sent events.',
    answers: { 200: { what: 'Events of type `cluster`.' } },
    run: async (service, { role, signal, reply }) => {
      const release = service.streams.take();
      try {
        reply.hijack();
        beginEvents(reply);
        await follow(service, reply.raw, (picture) => JSON.stringify(shown(picture, role)), signal);
      } finally {
        release();
      }
      return undefined;
    },
  }),
  route({
    ...{ ...read, path: '/v1/cluster/epochs', query: nothing },
    summary: 'Who was the primary, since which entry of the log and why.',
    answers: { 200: { what: 'Every epoch so far, the oldest first.', schema: epochsAnswer } },
    run: async ({ cluster, watch }, { signal }) => {
      const { members } = await watch.look();
      const furthest = furthestOf(members.flatMap(({ status }) => status ?? []));
      if (furthest === undefined) throw nobodyAnswers(cluster.name);
      const limits = { timeoutMs: ASK_MS, signal };
      const epochs = await cluster.replica(furthest.id).ask('epochs', undefined, limits);
      return { body: toJsonTree({ seenBy: furthest.id, epochs }) };
    },
  }),
  route({
    ...{ ...read, path: '/v1/cluster/candidates', query: nothing },
    summary: 'Who would become the primary now, and why.',
    answers: { 200: { what: 'As `antiphon explain-candidate`.', schema: candidatesAnswer } },
    run: async ({ cluster, replica }) => {
      const answers = await askCandidacies(cluster);
      const primary = primaryIn(answers);
      const isSync = replica.status().update.mode === 'sync';
      const candidates = rankedCandidates(answers, primary, isSync);
      const failover = cluster.ports.failover?.mode ?? 'none';
      const isThere = hasAnswered(answers, primary);
      return { body: toJsonTree({ failover, primary, answers: isThere, candidates }) };
    },
  }),
  route({
    ...{ ...read, path: '/v1/cluster/failover', query: failoverQuery },
    summary: 'What a failover to a replica would do now, and what may be lost.',
    answers: { 200: { what: 'As `antiphon failover` says it.', schema: failoverPlanAnswer } },
    run: async ({ cluster, watch }, { query: { to } }) => {
      cluster.member(to);
      const plan = failoverPlan(cluster.name, to, (await watch.look()).members);
      const { primary, answers } = plan;
      return { body: { to, primary, answers, says: planOf(plan) } };
    },
  }),
  route({
    ...{ ...read, path: '/v1/cluster/conflicts', query: nothing },
    summary: 'The conflicts that each member has decided last: the row that stays, and the one that is lost.',
    answers: { 200: { what: 'As `antiphon conflicts`.', schema: ledgersAnswer } },
    run: (service, { signal }) =>
      ofEach(service, async (id) => {
        const wait = { timeoutMs: ASK_MS, signal };
        return withConflictRows(await listConflicts(service.cluster.replica(id), MAX_LISTED, wait));
      }),
  }),
  route({
    ...{ ...read, path: '/v1/cluster/rescues', query: rescuesQuery },
    summary: 'What the rescue ledger of each member has.',
    answers: { 200: { what: 'As `antiphon rescue list`.', schema: ledgersAnswer } },
    run: (service, { query: { state = 'kept' }, signal }) => {
      const { cluster } = service;
      const which = state === 'kept' ? { state } : {};
      return ofEach(service, (id) =>
        listRescued(cluster.replica(id), MAX_LISTED, { timeoutMs: ASK_MS, signal }, which),
      );
    },
  }),
  route({
    ...{ ...read, path: '/v1/cluster/rescue', query: rescueQuery },
    summary: 'One transaction of a rescue ledger: its rows before and after it, and as they are now.',
    answers: { 200: { what: 'As `antiphon rescue show`.', schema: detailAnswer } },
    run: async ({ cluster }, { query: { replica, id }, signal }) => {
      const wait = { timeoutMs: ASK_MS, signal };
      const { shown, ...detail } = await showRescued(cluster.member(replica), id, MAX_CHANGES, wait);
      return { body: toJsonTree({ replica, ...detail, shown: shown.map(withRows) }) };
    },
  }),
  route({
    ...{ ...read, path: '/v1/cluster/quarantine', query: nothing },
    summary: 'What each member has quarantined, holds and waits for.',
    answers: { 200: { what: 'As `antiphon quarantine list`.', schema: ledgersAnswer } },
    run: (service, { signal }) =>
      ofEach(service, (id) =>
        listQuarantine(service.cluster.replica(id), MAX_LISTED, { timeoutMs: ASK_MS, signal }),
      ),
  }),
  route({
    ...{ ...read, path: '/v1/cluster/quarantined', query: quarantinedQuery },
    summary: 'What was quarantined of one entry of the log, as far as it can be read.',
    answers: { 200: { what: 'As `antiphon quarantine show`.', schema: detailAnswer } },
    run: async ({ cluster }, { query: { replica, seq }, signal }) => {
      const limits = { timeoutMs: ASK_MS, signal };
      const messages = await cluster.member(replica).ask('quarantined', { seq }, limits);
      return { body: toJsonTree({ replica, messages }) };
    },
  }),
];

/** A change of a row as JSON; only its rows hold values of a database. */
function withRows(change: ShownRescueChange): unknown {
  const [key, before, after, here] = [change.key, change.before, change.after, change.here].map(ofDatabase);
  return { ...change, key, before, after, here };
}

function withConflictRows({ conflicts, ...list }: ConflictList): object {
  const shownConflicts = conflicts.map((conflict) => {
    const { key, kept, lost, here } = conflict;
    const rows = [key, kept, lost, here].map(ofDatabase);
    return { ...conflict, key: rows[0], kept: rows[1], lost: rows[2], here: rows[3] };
  });
  return { ...list, conflicts: shownConflicts };
}

function shown(picture: ClusterPicture, role: string | undefined): unknown {
  return toJsonTree({ ...picture, role });
}

/** What one member does not say must not hide what the others do. */
async function ofEach<T extends object>(
  { cluster, requests }: Service,
  ask: (id: string) => Promise<T>,
): Promise<Answer> {
  const release = requests.take();
  const replicas = cluster.ids.map(async (id) => {
    try {
      return { id, ...(await ask(id)) };
    } catch (thrown) {
      const { code, message } = toAntiphonError(thrown);
      return { id, error: { code, message } };
    }
  });
  const said = await Promise.all(replicas).finally(release);
  return { body: toJsonTree({ replicas: said }) };
}

/** Until the client has gone, or the server closes. */
function follow(
  { watch, ending, limits }: Service,
  response: ServerResponse,
  textOf: (picture: ClusterPicture) => string,
  signal: AbortSignal,
): Promise<void> {
  // Something is sent every second: nothing taken for so long is a client that does not read.
  response.setTimeout(limits.slowReaderMs, () => response.destroy());
  return new Promise((resolve) => {
    const stop = watch.on((picture) => {
      // It takes the next one: only the newest counts.
      if (response.writableNeedDrain) return;
      response.write(`event: cluster\ndata: ${textOf(picture)}\n\n`);
    });
    const end = (): void => {
      stop();
      response.end();
      resolve();
    };
    const ended = AbortSignal.any([signal, ending]);
    if (ended.aborted) end();
    else ended.addEventListener('abort', end, { once: true });
  });
}
