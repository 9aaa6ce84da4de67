import type { BenchOptions } from '../bench.js';
import { findGalera } from './galera-binaries.js';
import { GaleraCluster } from './galera-cluster.js';
import { findPostgres } from './postgres-binaries.js';
import { PostgresSyncCluster } from './postgres-sync-cluster.js';
import { unprivilegedAccount, type Account } from './privileges.js';
import { PeerUnavailable } from './unavailable.js';

/** Single-row transactions, each of which waits until it is replicated. */
export interface SyncPeer {
  readonly name: string;
  /** Its servers take writes all at once. */
  readonly manyWriters: boolean;
  /** By so many clients of the first server, or of all. */
  readonly write: (
    transactions: number,
    clients: number,
    servers: 'first' | 'all',
  ) => Promise<SyncPeerWritten>;
  /** Every server holds every row. Throws. */
  readonly verify: () => Promise<void>;
}

export interface SyncPeerWritten {
  readonly transactionsPerSecond: number;
  /** May be empty when there were several clients. */
  readonly latenciesMs: readonly number[];
}

/** Those that are installed here; a note says what the others need. */
export async function startSyncPeers(options: BenchOptions): Promise<readonly SyncPeer[]> {
  const peers: SyncPeer[] = [];
  for (const start of [startPostgres, startGalera]) {
    try {
      peers.push(await start(options));
    } catch (error) {
      if (!(error instanceof PeerUnavailable)) throw error;
      options.report.note(error.message);
    }
  }
  return peers;
}

async function startPostgres({ folder, report, onEnd }: BenchOptions): Promise<SyncPeer> {
  const binaries = findPostgres();
  if (binaries === undefined || !binaries.hasPgbench)
    throw new PeerUnavailable(
      'PostgreSQL is not installed here: apt-get install postgresql. Going on without it.',
    );
  report.note(`starting PostgreSQL ${binaries.version}: a primary with two synchronous standbys`);
  const account = accountFor('PostgreSQL', 'INT');
  const cluster = await PostgresSyncCluster.start({ binaries, account, folder: `${folder}-postgres` });
  onEnd(() => cluster.stop());
  return {
    name: `postgresql ${binaries.version.split('.')[0]}`,
    manyWriters: false,
    write: (transactions, clients) => cluster.write(transactions, clients),
    verify: () => verify('PostgreSQL', cluster),
  };
}

async function startGalera({ folder, report, onEnd }: BenchOptions): Promise<SyncPeer> {
  const binaries = findGalera();
  if (binaries === undefined) {
    const what = 'MariaDB Galera is not installed here: apt-get install mariadb-server galera-4.';
    throw new PeerUnavailable(`${what} Going on without it.`);
  }
  report.note(`starting MariaDB ${binaries.version} Galera: three nodes`);
  const account = accountFor('MariaDB', 'TERM');
  const cluster = await GaleraCluster.start({ binaries, account, folder: `${folder}-galera` });
  onEnd(() => cluster.stop());
  return {
    name: `mariadb ${binaries.version.split('.').slice(0, 2).join('.')} galera`,
    manyWriters: true,
    write: (transactions, clients, servers) => cluster.write(transactions, clients, servers),
    verify: () => verify('Galera', cluster),
  };
}

function accountFor(name: string, stopSignal: 'INT' | 'TERM'): Account {
  const account = unprivilegedAccount(stopSignal);
  if (account !== undefined) return account;
  const what = `${name} is not run as root, and there is no setpriv to step down with (util-linux).`;
  throw new PeerUnavailable(`${what} Going on without it.`);
}

async function verify(name: string, cluster: PostgresSyncCluster | GaleraCluster): Promise<void> {
  const counts = await cluster.rowCounts();
  if (counts.every((count) => count === cluster.rowsWritten)) return;
  throw new Error(
    `${name} holds ${counts.join(', ')} rows on its servers; ${cluster.rowsWritten} were written`,
  );
}
