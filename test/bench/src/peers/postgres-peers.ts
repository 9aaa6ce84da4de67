import type { BenchOptions } from '../bench.js';
import { findPostgres } from './postgres-binaries.js';
import { PostgresCluster } from './postgres-cluster.js';
import { unprivilegedAccount } from './privileges.js';
import { PeerUnavailable } from './unavailable.js';

export interface PostgresPeers {
  readonly version: string;
  readonly streaming: PostgresCluster;
  readonly logical: PostgresCluster;
}

/**
 * Both, ready to be loaded. Throws PeerUnavailable with what to do when PostgreSQL is not
 * installed.
 */
export async function startPostgresPeers({ folder, report, onEnd }: BenchOptions): Promise<PostgresPeers> {
  const binaries = findPostgres();
  if (binaries === undefined) {
    const what = 'PostgreSQL is not installed here (postgres, initdb and pg_basebackup are needed).';
    throw new PeerUnavailable(
      `${what} Install it (apt-get install postgresql), or run bulk without --peers.`,
    );
  }
  const account = unprivilegedAccount();
  if (account === undefined) {
    throw new PeerUnavailable(
      'PostgreSQL refuses to run as root, and there is no setpriv to step down with (util-linux).',
    );
  }
  report.note(`starting PostgreSQL ${binaries.version}: two primaries with two standbys each`);
  const options = { binaries, account, folder: `${folder}-postgres` };
  const streaming = await PostgresCluster.start('streaming', options);
  onEnd(() => streaming.stop());
  const logical = await PostgresCluster.start('logical', options);
  onEnd(() => logical.stop());
  return { version: binaries.version, streaming, logical };
}
