import { setTimeout as sleep } from 'node:timers/promises';
import type { Publication } from '@antiphon/core';
import { eventually } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { ClusterFixture } from '../testing/cluster-fixture.js';
import { FlakyPublication } from '../testing/flaky-publication.js';
import { type Published, publishedIn, violationsIn } from '../testing/published.js';
import { seeded } from '../testing/seeded.js';

const PATIENCE_MS = 60_000;
const TRANSACTIONS = 40;
const FAULTS = { lost: 0.5, unanswered: 0.5, late: 0.5, paused: 0.3 };
const TIMEOUT_MS = 120_000;

describe('published changes, when messages and answers are lost and late', () => {
  it.each([1, 2, 3, 4])(
    'I17: come once each, and in order (seed %i)',
    { timeout: TIMEOUT_MS },
    async (seed) => {
      await using cluster = await ClusterFixture.start();
      cluster.sql('a', 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
      const random = seeded(seed);
      const flaky = (real: Publication): Publication => new FlakyPublication(real, FAULTS, random);
      const options = { publish: { subject: 'shop.{table}' } };
      const replicas = [
        await cluster.replicaWith({ publication: flaky }, 'a', options),
        await cluster.replicaWith({ publication: flaky }, 'b', options),
      ];
      let written = 0;
      for (let n = 0; n < TRANSACTIONS; n++) {
        const rows = Array.from({ length: 1 + Math.floor(random() * 20) }, () => ++written);
        await replicas[n % 2]!.execute(
          rows.map((id) => ({ sql: 'INSERT INTO t VALUES (?, ?)', params: [id, 'x'] })),
        );
        if (random() < 0.2) await sleep(random() * 400);
      }
      const nats = await cluster.nats();
      let messages: readonly Published[] = [];
      const isAll = async (): Promise<boolean> => {
        messages = await publishedIn(nats, 'ANTIPHON-CHANGES_shop').catch(() => []);
        return messages.length >= written;
      };
      await eventually(`${written} changes are published`, isAll, PATIENCE_MS);
      // What is late may come yet.
      await sleep(500);
      await isAll();
      expect(violationsIn(messages)).toEqual([]);
      const ids = messages.map(({ change }) => Number(change.key?.['id'])).sort((x, y) => x - y);
      expect(ids).toEqual(Array.from({ length: written }, (_, index) => index + 1));
    },
  );
});
