import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AntiphonError } from '@antiphon/core';
import { sendSignal } from './lifeline.js';
import { commandLineOf, identify, isSameProcess, type ProcessIdentity } from './process-identity.js';

/**
 * A file in the store folder that says which server uses the folder and which process started it.
 * Two servers on one store destroy it, and a server whose parent was killed with -9 may still run:
 * the next start ends it first. Two starts at the very same moment are not told apart.
 */
interface StoreClaim {
  readonly server: ProcessIdentity;
  readonly owner: ProcessIdentity;
  readonly configFile: string;
}

const CLAIM_FILE = 'antiphon-nats-server.json';
const STALE_TERM_MS = 5000;
const STALE_KILL_MS = 5000;
const POLL_MS = 10;

/** Writes down that the server with this pid uses the folder, started by this process. */
export function claimStore(storeDir: string, serverPid: number, configFile: string): void {
  const [server, owner] = [identify(serverPid), identify(process.pid)];
  // Gone again already: then there is nothing to claim, and the start fails for its own reason.
  if (server === undefined || owner === undefined) return;
  const claim: StoreClaim = { server, owner, configFile };
  writeFileSync(join(storeDir, CLAIM_FILE), `${JSON.stringify(claim)}\n`);
}

/** Removes this process's claim; one that another process has put there since is left alone. */
export function releaseStore(storeDir: string, serverPid: number): void {
  if (readClaim(storeDir)?.server.pid === serverPid) rmSync(join(storeDir, CLAIM_FILE), { force: true });
}

/**
 * Makes sure that no other server uses the folder: one that was left behind by a killed process is
 * ended, by its own pid and only after its command line showed that it is the one that was written
 * down.
 *
 * @throws AntiphonError NATS_SERVER_START when a server uses the folder whose owner is alive, or it
 *   can't be ended.
 */
export async function takeOverStore(storeDir: string, onStep: (message: string) => void): Promise<void> {
  const claim = readClaim(storeDir);
  if (claim !== undefined && isOurServer(claim)) {
    const { pid } = claim.server;
    if (isSameProcess(claim.owner)) {
      const message =
        `${storeDir} is in use by a nats-server (pid ${pid}) that process ${claim.owner.pid} started. ` +
        'Stop that process, connect to its server by URL, or choose another folder.';
      throw new AntiphonError('NATS_SERVER_START', message, { context: { storeDir, pid } });
    }
    onStep(`ending a nats-server (pid ${pid}) that was left behind on ${storeDir}`);
    await endLeftBehind(claim, storeDir);
  }
}

function isOurServer({ server, configFile }: StoreClaim): boolean {
  return isSameProcess(server) && commandLineOf(server.pid)?.includes(`-c ${configFile}`) === true;
}

async function endLeftBehind(claim: StoreClaim, storeDir: string): Promise<void> {
  const { pid } = claim.server;
  sendSignal(pid, 'SIGTERM');
  sendSignal(pid, 'SIGCONT');
  if (await isGone(claim.server, STALE_TERM_MS)) return;
  sendSignal(pid, 'SIGKILL');
  if (await isGone(claim.server, STALE_KILL_MS)) return;
  const message = `A nats-server (pid ${pid}) left behind on ${storeDir} can't be ended. End it, or choose another folder.`;
  throw new AntiphonError('NATS_SERVER_START', message, { context: { storeDir, pid } });
}

async function isGone(server: ProcessIdentity, withinMs: number): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < withinMs; waitedMs += POLL_MS) {
    if (!isSameProcess(server)) return true;
    await sleep(POLL_MS);
  }
  return !isSameProcess(server);
}

function readClaim(storeDir: string): StoreClaim | undefined {
  try {
    const claim = JSON.parse(readFileSync(join(storeDir, CLAIM_FILE), 'utf8')) as Partial<StoreClaim> | null;
    const { server, owner, configFile } = claim ?? {};
    if (!isIdentity(server) || !isIdentity(owner) || typeof configFile !== 'string') return undefined;
    return { server, owner, configFile };
  } catch {
    // Missing, or cut off by a crash while it was written: no claim.
    return undefined;
  }
}

function isIdentity(value: Partial<ProcessIdentity> | undefined): value is ProcessIdentity {
  return Number.isSafeInteger(value?.pid) && typeof value?.startedAt === 'string';
}
