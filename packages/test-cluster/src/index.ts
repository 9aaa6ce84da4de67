export type { Broker, BrokerKind } from './broker.js';
export {
  TestCluster,
  type TestClusterOptions,
  type TestReplica,
  type TestReplicaOptions,
  type WaitOptions,
} from './test-cluster.js';
