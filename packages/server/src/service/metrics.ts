import type { ReplicaStatus } from '@antiphon/replica';
import type { SubjectWatch } from '../subjects/subject-watch.js';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Seconds: a read from memory takes a fraction of a millisecond, a synchronous write some. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const IN_STEP: ReadonlySet<string> = new Set(['following', 'primary']);

/** What each gauge shows of a replica. */
const GAUGES: Readonly<
  Record<string, { readonly help: string; readonly of: (status: ReplicaStatus) => number }>
> = {
  lag_entries: { help: 'Entries of the log that are not applied here.', of: ({ lag }) => lag.entries },
  lag_seconds: { help: 'For how long it has been behind; 0 in step.', of: ({ lag }) => lag.seconds },
  applied_seq: {
    help: 'The entry of the log up to which all is applied.',
    of: ({ appliedSeq }) => appliedSeq,
  },
  log_last_seq: { help: 'The last entry of the log, as far as known here.', of: ({ log }) => log.lastSeq },
  epoch: { help: 'The number of the epoch; 0 without failover.', of: ({ epoch }) => epoch?.number ?? 0 },
  is_primary: {
    help: '1 on the primary that holds its lease.',
    of: ({ role, lifecycle }) => flag(role === 'primary' && lifecycle === 'primary'),
  },
  in_step: {
    help: '1 while it is in step with the cluster.',
    of: ({ lifecycle }) => flag(IN_STEP.has(lifecycle)),
  },
  connected: {
    help: '1 with a connection to NATS.',
    of: ({ connection }) => flag(connection === 'connected'),
  },
  drained: {
    help: '1 while no reads are to be sent here.',
    of: ({ reads }) => flag(reads.drainedSinceMs !== undefined),
  },
  outbox_messages: { help: 'Messages that are kept to be sent again.', of: ({ outbox }) => outbox.messages },
  outbox_bytes: { help: 'Their bytes.', of: ({ outbox }) => outbox.bytes },
  outbox_unpublished: {
    help: 'Transactions the log has not got yet.',
    of: ({ outbox }) => outbox.unpublished,
  },
  outbox_unsealed: {
    help: "Other programs' changes without a number yet.",
    of: ({ outbox }) => outbox.unsealed,
  },
  conflicts: {
    help: 'Changes that lost against one that did not know them.',
    of: ({ conflicts }) => conflicts,
  },
  missing: {
    help: 'Origins of which a transaction is missing here.',
    of: ({ waitingFor }) => waitingFor.length,
  },
  quarantined: { help: 'Messages that are quarantined here.', of: ({ quarantined }) => quarantined },
  rescued: { help: 'Transactions in the rescue ledger, undecided.', of: ({ rescued }) => rescued },
  alarms: { help: 'How many alarms there are.', of: ({ alarms }) => alarms.length },
  members: { help: 'Members of the cluster, this one included.', of: ({ members }) => members.length + 1 },
  in_sync_members: {
    help: 'Members in sync; 0 in an asynchronous cluster.',
    of: ({ sync }) => sync?.inSync.length ?? 0,
  },
  sync_degraded: {
    help: '1 while writes go on with too few in sync.',
    of: ({ sync }) => flag(sync?.degraded === true),
  },
  sync_waiting: { help: 'Writes that wait for acknowledgements.', of: ({ sync }) => sync?.waiting ?? 0 },
  memory_bytes: { help: 'Resident memory of the process.', of: ({ memoryBytes }) => memoryBytes ?? 0 },
  start_time_seconds: {
    help: 'When the replica started, since 1970.',
    of: ({ startedAtMs }) => startedAtMs / 1000,
  },
};

const SUBJECT_KINDS = ['read', 'write'] as const;

export interface Gauged {
  readonly requests: { readonly taken: number };
  readonly streams: { readonly taken: number };
  readonly subjects: SubjectWatch;
}

/** The metrics of one server; nothing is registered globally. */
export class ServerMetrics {
  readonly #registry = new Registry();
  readonly #gauges = new Map<string, Gauge>();
  readonly #alarm: Gauge<'name' | 'section'>;
  readonly #info: Gauge<'id' | 'cluster' | 'version' | 'role' | 'lifecycle'>;
  readonly #duration: Histogram<'method' | 'route' | 'status'>;
  readonly #dropped: Counter;
  readonly #inFlight: Gauge;
  readonly #streams: Gauge;
  readonly #listening: Gauge<'kind'>;
  readonly #stop: () => void;

  constructor(private readonly gauged: Gauged) {
    const registers = [this.#registry];
    for (const [name, { help }] of Object.entries(GAUGES))
      this.#gauges.set(name, new Gauge({ name: `antiphon_${name}`, help, registers }));
    const labelNames = ['id', 'cluster', 'version', 'role', 'lifecycle'] as const;
    this.#alarm = new Gauge({
      name: 'antiphon_alarm',
      help: 'The alarms, by name, and the section of docs/operations.md for each.',
      labelNames: ['name', 'section'],
      registers,
    });
    this.#info = new Gauge({ name: 'antiphon_info', help: 'What this replica is.', labelNames, registers });
    this.#duration = new Histogram({
      name: 'antiphon_http_request_duration_seconds',
      help: 'How long requests took, by route and status.',
      labelNames: ['method', 'route', 'status'],
      buckets: BUCKETS,
      registers,
    });
    this.#dropped = new Counter({
      name: 'antiphon_http_connections_dropped_total',
      help: 'Connections beyond the limit.',
      registers,
    });
    this.#inFlight = new Gauge({
      name: 'antiphon_http_requests',
      help: 'Reads and writes under way.',
      registers,
    });
    this.#streams = new Gauge({ name: 'antiphon_http_streams', help: 'Open streams of changes.', registers });
    this.#listening = new Gauge({
      name: 'antiphon_subject_listening',
      help: '1 while requests on the subjects of the cluster are answered here, by kind.',
      labelNames: ['kind'],
      registers,
    });
    const duration = new Histogram({
      name: 'antiphon_subject_request_duration_seconds',
      help: 'How long requests on subjects took, by kind and status; the status is that of HTTP.',
      labelNames: ['kind', 'status'],
      buckets: BUCKETS,
      registers,
    });
    this.#stop = gauged.subjects.on(({ kind, status, seconds }) =>
      duration.observe({ kind, status: String(status) }, seconds),
    );
  }

  /** Requests on subjects are not counted any more. */
  close(): void {
    this.#stop();
  }

  observe(method: string, route: string, status: number, seconds: number): void {
    this.#duration.observe({ method, route, status: String(status) }, seconds);
  }

  dropped(): void {
    this.#dropped.inc();
  }

  async render(status: ReplicaStatus): Promise<{ readonly text: string; readonly type: string }> {
    for (const [name, gauge] of this.#gauges) gauge.set(GAUGES[name]?.of(status) ?? 0);
    const { id, cluster, version, role, lifecycle } = status;
    this.#info.reset();
    this.#info.set({ id, cluster, version, role, lifecycle }, 1);
    this.#alarm.reset();
    for (const { name, section } of status.alarms) this.#alarm.set({ name, section }, 1);
    this.#inFlight.set(this.gauged.requests.taken);
    this.#streams.set(this.gauged.streams.taken);
    const { listening } = this.gauged.subjects;
    for (const kind of SUBJECT_KINDS) this.#listening.set({ kind }, flag(listening[kind]));
    return { text: await this.#registry.metrics(), type: this.#registry.contentType };
  }
}

function flag(holds: boolean): number {
  return holds ? 1 : 0;
}
