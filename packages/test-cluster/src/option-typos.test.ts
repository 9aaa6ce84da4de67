import { describeTypos } from '@antiphon/testing/internal';
import { afterAll, beforeAll } from 'vitest';
import { TestCluster, type TestClusterOptions } from './index.js';

const OPTIONS = {
  schema: 'CREATE TABLE t (id INTEGER PRIMARY KEY)',
  replicas: 1,
  broker: 'memory',
} as const satisfies TestClusterOptions;
let cluster: TestCluster;

beforeAll(async () => {
  cluster = await TestCluster.start(OPTIONS);
});
afterAll(() => cluster.close());

describeTypos({
  TestClusterOptions: {
    option: 'broker',
    given: { schema: '' },
    call: (options) => TestCluster.start(options),
  },
  TestReplicaOptions: {
    option: 'limits',
    call: (options) => TestCluster.start({ ...OPTIONS, options }),
  },
  'WaitOptions of caughtUp': { option: 'timeoutMs', call: (options) => cluster.caughtUp(options) },
  'WaitOptions of verify': { option: 'timeoutMs', call: (options) => cluster.verify(options) },
  'WaitOptions of assertEqual': { option: 'timeoutMs', call: (options) => cluster.assertEqual(options) },
});
