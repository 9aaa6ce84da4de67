import type { LocalCluster } from '../cluster/local-cluster.js';

/** Keeps a cluster up until Ctrl-C or SIGTERM, then stops everything in order. */
export async function stayUntilEnded(
  cluster: LocalCluster,
  signal: AbortSignal,
  say: (text: string) => void,
): Promise<void> {
  // The signal alone does not keep a process alive.
  const alive = setInterval(() => undefined, 1 << 30);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  clearInterval(alive);
  say('\nstopping');
  await cluster.stop();
  say('everything has stopped');
}
