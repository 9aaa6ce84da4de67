const TIMEOUT_MS = 2000;

/**
 * Asks the server's monitoring port whether it fsyncs before it acknowledges. Undefined when it
 * can't be asked: the monitoring is off by default, and nothing depends on it.
 */
export async function readSyncsAlways(monitorUrl: string): Promise<boolean | undefined> {
  try {
    const answer = await fetch(new URL('/varz', monitorUrl), { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!answer.ok) return undefined;
    const { jetstream } = (await answer.json()) as { jetstream?: { config?: { sync_always?: boolean } } };
    return jetstream?.config === undefined ? undefined : jetstream.config.sync_always === true;
  } catch {
    return undefined;
  }
}
