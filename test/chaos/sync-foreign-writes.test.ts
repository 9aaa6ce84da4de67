import { afterEach, describe, expect, it } from 'vitest';
import { pause, sqlite3, type ChaosCluster } from './cluster.js';
import { idle, startSync, TOPOLOGIES, write } from './sync-cluster.js';
import { checkAcknowledged, resolveUnknown, type Verdicts } from './sync-checks.js';

let cluster: ChaosCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

describe.each(TOPOLOGIES)(
  'the sqlite3 shell writes to files of a synchronous cluster, $name',
  ({ name, topology }) => {
    it('I6 I15: it is refused with a clear message, on the writer and on the others, also when they are down', async () => {
      cluster = await startSync({ topology });
      const chaos = cluster;
      const before = await write(chaos.at(0), "INSERT INTO entries (id) VALUES ('before')");
      expect(before.outcome).toBe('committed');
      const attempt = (index: number, sql: string) => () => sqlite3(chaos.at(index).config.file, sql);
      for (const index of [0, 1, 2]) {
        const says =
          name === 'primary-replica' && index > 0
            ? /write to the primary a/
            : /synchronous cluster.*antiphon exec/;
        expect(attempt(index, "INSERT INTO entries (id) VALUES ('outside')")).toThrow(says);
        expect(attempt(index, 'UPDATE accounts SET balance = 0')).toThrow(says);
        expect(attempt(index, 'DELETE FROM entries')).toThrow(says);
      }
      await chaos.at(0).kill();
      expect(attempt(0, 'DELETE FROM entries')).toThrow(/synchronous cluster/);
      await chaos.at(0).start();
      const after = await write(chaos.at(0), "INSERT INTO entries (id) VALUES ('after')");
      expect(after).toMatchObject({ outcome: 'committed', acks: { reached: true } });
      await chaos.converged();
      for (const rows of chaos.read('SELECT id FROM entries ORDER BY id')) {
        expect(rows).toBe('[["after"],["before"]]');
      }
    });

    it('I3 I4: with foreignWrites async they are captured and go to everybody, beside synchronous writes', async () => {
      cluster = await startSync({ topology, update: { foreignWrites: 'async' } });
      const chaos = cluster;
      const writers = chaos.replicas.filter((_, index) => name === 'multi-primary' || index === 0);
      for (const writer of writers) {
        await writer.ask('load', { load: 'entries', count: 2, timeoutMs: 5000, pauseMs: 5 });
      }
      const outside: string[] = [];
      for (let n = 0; n < 30; n++) {
        const { file, id } = writers[n % writers.length]?.config ?? chaos.at(0).config;
        outside.push(`outside-${id}-${n}`);
        sqlite3(
          file,
          `BEGIN IMMEDIATE; INSERT INTO entries (id) VALUES ('outside-${id}-${n}');
         INSERT INTO hot VALUES (${n % 50}, 'outside-${id}-${n}') ON CONFLICT DO UPDATE SET writer = excluded.writer; COMMIT;`,
        );
        await pause(20);
      }
      await idle(chaos.replicas);
      const verdicts: Verdicts = new Map();
      await resolveUnknown(chaos, verdicts);
      await chaos.converged();
      expect(checkAcknowledged(chaos)).toBeGreaterThan(50);
      for (const rows of chaos.read("SELECT id FROM entries WHERE id LIKE 'outside%'")) {
        expect((JSON.parse(rows) as [string][]).map(([id]) => id).sort()).toEqual([...outside].sort());
      }
    });
  },
);
