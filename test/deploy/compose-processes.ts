import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findFreePort, withParentDeathSignal } from '@antiphon/nats-server/internal';
import {
  type ComposeFile,
  type ComposeService,
  type Condition,
  readCompose,
  readImage,
} from './compose-file.js';

export interface Programs {
  readonly natsServer: string;
  /** The built command. */
  readonly antiphon: string;
}

interface Mount {
  readonly inside: string;
  readonly outside: string;
}

export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

const HOST = '127.0.0.1';
const POLL_MS = 250;

/**
 * The services of a compose file as processes of this machine: the same commands, environment,
 * files, health checks and order. What a container would keep apart is told apart by names: each
 * port of each service is a free one of this machine, each volume a folder, and texts that name a
 * port, a host or a path inside a container name that in its place.
 */
export class ComposeProcesses {
  readonly #processes = new Map<string, { readonly child: ChildProcess; readonly ended: Promise<Ended> }>();
  readonly #ports = new Map<string, number>();

  private constructor(
    private readonly file: ComposeFile,
    /** The compose file's. */
    private readonly folder: string,
    private readonly image: ReturnType<typeof readImage>,
    private readonly programs: Programs,
    private readonly scratch: string,
  ) {}

  /** `ports`: what services listen on inside, by the beginning of their names. */
  static async read(
    path: string,
    programs: Programs,
    ports: Readonly<Record<string, readonly number[]>>,
  ): Promise<ComposeProcesses> {
    const folder = dirname(path);
    const image = readImage(join(folder, 'Dockerfile'));
    const scratch = mkdtempSync(join(tmpdir(), 'antiphon-compose-'));
    const all = new ComposeProcesses(readCompose(path), folder, image, programs, scratch);
    for (const name of all.names)
      for (const port of Object.entries(ports).find(([prefix]) => name.startsWith(prefix))?.[1] ?? [])
        all.#ports.set(`${name}:${port}`, (await findFreePort(HOST)) ?? 0);
    return all;
  }

  get names(): readonly string[] {
    return Object.keys(this.file.services);
  }

  /** Where a port of a service is on this machine. */
  port(service: string, inside: number): number {
    const port = this.#ports.get(`${service}:${inside}`);
    if (port === undefined) throw new Error(`${service} has no port ${inside}.`);
    return port;
  }

  /** Where a path inside a service is on this machine. */
  path(service: string, inside: string): string {
    const mount = this.#mounts(service).find((one) => inside.startsWith(one.inside));
    if (mount === undefined) throw new Error(`${service} has nothing at ${inside}.`);
    return mount.outside + inside.slice(mount.inside.length);
  }

  /** Starts every service once what it depends on is as it says. Resolves when all have started. */
  async up(timeoutMs: number): Promise<void> {
    const untilMs = performance.now() + timeoutMs;
    await Promise.all(
      this.names.map(async (name) => {
        for (const [other, { condition }] of Object.entries(this.#service(name).depends_on ?? {}))
          await this.until(other, condition, untilMs - performance.now());
        this.start(name);
      }),
    );
  }

  start(name: string): void {
    const [program = '', ...args] = this.#commandOf(this.#service(name));
    this.#processes.set(name, this.#spawn(name, program, args));
  }

  async until(name: string, condition: Condition, timeoutMs: number): Promise<void> {
    for (const untilMs = performance.now() + timeoutMs; performance.now() < untilMs; await sleep(POLL_MS))
      if (await this.#is(name, condition)) return;
    const output = await Promise.race([this.#processes.get(name)?.ended, sleep(0)]);
    throw new Error(
      `${name} is not ${condition} within ${timeoutMs} ms: ${output?.output ?? 'it still runs'}`,
    );
  }

  /** As `docker compose exec`. */
  exec(name: string, command: readonly string[]): Promise<Ended> {
    const [program = '', ...args] = command;
    return this.#spawn(name, program, args).ended;
  }

  async kill(name: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<Ended | undefined> {
    const running = this.#processes.get(name);
    running?.child.kill(signal);
    return running?.ended;
  }

  async down(): Promise<void> {
    await Promise.all(this.names.map((name) => this.kill(name)));
    rmSync(this.scratch, { recursive: true, force: true });
  }

  async #is(name: string, condition: Condition): Promise<boolean> {
    const running = this.#processes.get(name);
    if (running === undefined) return false;
    if (condition === 'service_started') return true;
    if (condition === 'service_completed_successfully') return running.child.exitCode === 0;
    return running.child.exitCode === null && (await this.#isHealthy(name));
  }

  async #isHealthy(name: string): Promise<boolean> {
    const [kind, ...command] = this.#service(name).healthcheck?.test ?? [];
    if (kind !== 'CMD') throw new Error(`${name} has no health check that is a command.`);
    return (await this.exec(name, command)).code === 0;
  }

  #commandOf({ image, entrypoint, command = [] }: ComposeService): readonly string[] {
    if (image.startsWith('nats:')) return ['nats-server', ...command];
    // Compose: an entrypoint of its own replaces the image's command as well.
    if (entrypoint !== undefined) return [...entrypoint, ...command];
    return [...this.image.entrypoint, ...(command.length > 0 ? command : this.image.command)];
  }

  #spawn(
    name: string,
    program: string,
    args: readonly string[],
  ): { child: ChildProcess; ended: Promise<Ended> } {
    const { natsServer, antiphon } = this.programs;
    const real: Readonly<Record<string, readonly string[]>> = {
      'nats-server': [natsServer],
      node: [process.execPath],
      antiphon: [process.execPath, antiphon],
    };
    const [first = program, ...rest] = real[program] ?? [program];
    const guarded = withParentDeathSignal(first, [...rest, ...args.map((text) => this.#outside(name, text))]);
    const { ANTIPHON_CLUSTER: _c, ANTIPHON_SERVERS: _s, ...inherited } = process.env;
    const env = { ...inherited, ...this.#service(name).environment };
    const child = spawn(guarded.command, guarded.args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (data: string) => (output += data));
    const ended = new Promise<Ended>((done) => {
      child.once('error', ({ message }) => done({ code: null, output: message }));
      child.once('close', (code) => done({ code, output }));
    });
    return { child, ended };
  }

  /** A text of a service, with what it names where that is on this machine. */
  #outside(name: string, text: string): string {
    let outside = text;
    for (const [place, port] of this.#ports) {
      const [service = '', inside = ''] = place.split(':');
      if (service === name)
        for (const own of ['0.0.0.0', HOST])
          outside = outside.replaceAll(`${own}:${inside}`, `${HOST}:@${port}`);
      outside = outside.replaceAll(`${service}:${inside}`, `${HOST}:@${port}`);
    }
    for (const mount of this.#mounts(name)) outside = outside.replaceAll(mount.inside, mount.outside);
    // Marked, so that a port of this machine that another service has inside is not replaced again.
    return outside.replaceAll(`${HOST}:@`, `${HOST}:`);
  }

  #mounts(name: string): readonly Mount[] {
    return (this.#service(name).volumes ?? []).map((volume) => {
      const [source = '', inside = ''] = volume.split(':');
      const outside = join(this.scratch, source.startsWith('.') ? name : 'volumes', source);
      return { inside, outside };
    });
  }

  /** Before anything is started: folders for the volumes, and the files that are mounted. */
  prepare(): void {
    for (const volume of Object.keys(this.file.volumes))
      mkdirSync(join(this.scratch, 'volumes', volume), { recursive: true });
    for (const name of this.names)
      for (const volume of this.#service(name).volumes ?? []) {
        const [source = '', inside = ''] = volume.split(':');
        if (!source.startsWith('.')) continue;
        const outside = this.path(name, inside);
        mkdirSync(dirname(outside), { recursive: true });
        writeFileSync(outside, this.#outside(name, readFileSync(resolve(this.folder, source), 'utf8')));
      }
  }

  #service(name: string): ComposeService {
    const service = this.file.services[name];
    if (service === undefined) throw new Error(`There is no service ${name}.`);
    return service;
  }
}
