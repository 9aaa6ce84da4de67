/**
 * A failure whose message is all that the user needs: it says what to do, and a stack would only
 * hide that.
 */
export class SetupError extends Error {}

/** Says what happens now; the returned function says how long it took, when that was long. */
export function step(text) {
  const startedAt = performance.now();
  console.log(`• ${text}`);
  return () => {
    const seconds = (performance.now() - startedAt) / 1000;
    if (seconds >= 1) console.log(`  done in ${seconds.toFixed(seconds < 10 ? 1 : 0)} s`);
  };
}

/**
 * Runs the main function of a script; a SetupError is shown without its stack. Returns the exit
 * code.
 */
export async function runMain(main) {
  try {
    return await main();
  } catch (error) {
    console.error(error instanceof SetupError ? `\n${error.message}` : error);
    return 1;
  }
}

/** The last line that says something: what a failed command usually ends with. */
export function lastLine(output) {
  return output.trim().split('\n').at(-1)?.trim() ?? '';
}
