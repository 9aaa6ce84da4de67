import { AntiphonError, UnknownOutcomeError } from '@antiphon/core';
import { expect, it } from 'vitest';
import type { ClusterClient } from './cluster-client.js';
import type { ReplicaRef } from './replica-ref.js';
import { executeInCluster } from './execute-in-cluster.js';

/** As it comes over the wire: without its class. */
const TOLD = new AntiphonError('OUTCOME_UNKNOWN', 'Nobody knows.', {
  context: { remoteCode: 'OUTCOME_UNKNOWN', id: 'a:42~x7Kq' },
});
const SIGHT = { id: 'a', instance: '1', nowMs: Date.now() };
const CLIENT = { nats: { status: 'connected' } } as ClusterClient;
const REIGN = { ...SIGHT, epoch: { number: 1, primary: 'a' } };

it.each([
  ['of its request, where the primary may change', REIGN, 'of-mine', 'of-mine'],
  ['of its transaction, where it never does', SIGHT, undefined, 'a:42~x7Kq'],
])('I8: an unknown outcome that a replica tells of has the id %s', async (_, status, requestId, id) => {
  const ref = { ask: () => Promise.reject(TOLD) } as unknown as ReplicaRef;
  const error: unknown = await executeInCluster(CLIENT, [{ sql: 'DELETE FROM t' }], {
    ...{ timeoutMs: 500, choose: () => Promise.resolve({ id: 'a', ref, status }) },
    ...(requestId !== undefined && { requestId }),
  }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UnknownOutcomeError);
  expect(error).toMatchObject({
    id,
    message: 'Nobody knows.',
    context: { id, remoteCode: 'OUTCOME_UNKNOWN' },
  });
});
