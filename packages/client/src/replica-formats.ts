// What replicas write down and answer to. The one place of this package that runs code of @antiphon/replica: the
// wire formats are to move to where both can import them.
export {
  CLUSTER_KEY,
  decodeClusterDocument,
  listMembers,
  mailboxPrefix,
  replicatedNames,
} from '@antiphon/replica';
