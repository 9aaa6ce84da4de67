import type { LocalCluster } from '../cluster/local-cluster.js';
import { troubleText } from '../cluster/replica-process.js';
import { EXIT, type ExitCode } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import type { Terminal } from '../output/terminal.js';

/**
 * Keeps a cluster up until Ctrl-C or SIGTERM, then stops everything in order. It failed when a
 * replica did not get on at the end.
 */
export async function stayUntilEnded(
  cluster: LocalCluster,
  signal: AbortSignal,
  terminal: Terminal,
): Promise<ExitCode> {
  const say = (text: string): void => (terminal.json ? undefined : terminal.out(`${text}\n`));
  // The signal alone does not keep a process alive.
  const alive = setInterval(() => undefined, 1 << 30);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  clearInterval(alive);
  const { troubles } = cluster;
  say('\nstopping');
  await cluster.stop();
  say('everything has stopped');
  if (troubles.length === 0) return EXIT.ok;
  if (terminal.json) terminal.out(`${toJson({ troubles })}\n`);
  for (const trouble of troubles) say(`at the end, ${troubleText(trouble)}`);
  return EXIT.failed;
}
