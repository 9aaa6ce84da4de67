import { SetupError } from './steps.mjs';

/** Fails with a clear message on a Node.js that is too old for what comes. */
export function requireNode(minimum, purpose) {
  const [wantedMajor, wantedMinor] = minimum.split('.').map(Number);
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return;
  throw new SetupError(
    `${purpose} needs Node.js ${minimum} or newer; this is ${process.version} (${process.execPath}).\n` +
      'Install a newer one, for example the current LTS release with nvm (nvm install --lts), and try again.',
  );
}
