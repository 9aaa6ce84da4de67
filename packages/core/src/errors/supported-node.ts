// Programs ask this before they load anything else, on whatever Node.js they were started with: it
// imports nothing, and its syntax is old.

/** The oldest Node.js that Antiphon runs on. `engines` of every package says the same. */
export const OLDEST_NODE_VERSION = '22.19';

/** A running Node.js: `process.versions.node` and `process.execPath`. */
export interface RunningNode {
  readonly version: string;
  readonly execPath: string;
}

/**
 * Why Antiphon does not run on this Node.js, and what to do, in two lines; undefined when it does
 * run.
 */
export function nodeProblem({ version, execPath }: RunningNode): string | undefined {
  const [wantedMajor = 0, wantedMinor = 0] = OLDEST_NODE_VERSION.split('.').map(Number);
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return undefined;
  return (
    `Antiphon needs Node.js ${OLDEST_NODE_VERSION} or newer (best: the newest 24); this is Node.js ${version} (${execPath}).\n` +
    'Install a newer one, for example with nvm (nvm install 24), and start the program with it.'
  );
}
