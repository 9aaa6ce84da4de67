import { parentPort, workerData } from 'node:worker_threads';
import { AntiphonError, systemClock } from '@antiphon/core';
import type { ConnectNatsOptions } from '../connection/connect-options.js';
import { connectNats, type NatsHandle } from '../connection/nats-handle.js';
import { type StandInData, type StandInProblem, threadsMs } from './stand-in-data.js';
import { StandingIn, type Told } from './standing-in.js';

const CONNECT_AGAIN_MS = 5000;
/** While NATS restarts, or its leader changes, everybody is without a connection. */
const SILENT_MS = 5000;

/** The program of the thread that stands in; see thread-stand-in.ts. */
async function run({ access, cluster, limitMs, offsetMs, busy, port }: StandInData): Promise<void> {
  const cells = new Int32Array(busy);
  const nats = await connected(access);
  const standingIn = new StandingIn({
    ...{ lease: nats.lease(cluster), limitMs },
    clock: { ...systemClock(), monotonicMs: () => threadsMs() + offsetMs },
    isBusy: () => Atomics.load(cells, 0) > 0,
    report: (made) => port.postMessage(made),
  });
  port.on('message', (told: Told) => standingIn.tell(told));
}

async function connected(access: ConnectNatsOptions): Promise<NatsHandle> {
  for (;;) {
    try {
      const nats = await connectNats(access);
      say(undefined);
      watch(nats);
      return nats;
    } catch (error) {
      say(error instanceof AntiphonError ? error.message : String(error));
      await new Promise((resolve) => setTimeout(resolve, CONNECT_AGAIN_MS));
    }
  }
}

/** It comes back by itself, unless the server refuses it: too many connections, another login. */
function watch(nats: NatsHandle): void {
  let timer: NodeJS.Timeout | undefined;
  nats.onStatus((status) => {
    clearTimeout(timer);
    if (status === 'connected') return say(undefined);
    const { servers } = nats;
    timer = setTimeout(() => {
      const why = nats.requester.refusedLogin?.message ?? 'see the log of nats-server';
      say(`its connection to NATS at ${servers} is down: ${why}`);
    }, SILENT_MS);
  });
}

function say(problem: string | undefined): void {
  const message: StandInProblem = { problem };
  parentPort?.postMessage(message);
}

void run(workerData as StandInData);
