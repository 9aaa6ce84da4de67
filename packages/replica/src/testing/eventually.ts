const POLL_MS = 5;

/** Waits for a condition; says what was there when it did not come. */
export async function eventually(
  what: string,
  holds: () => Promise<boolean> | boolean,
  timeoutMs = 15_000,
): Promise<void> {
  const untilMs = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > untilMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
