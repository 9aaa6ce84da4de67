import type {
  QuarantinedContent,
  QuarantineList,
  ReapplyAnswer,
  ReplicaStatus,
  RescuedTransaction,
  VerifyResult,
} from '@antiphon/replica';

/** What the server answers, as far as the page shows it: docs/console.md names the addresses. */

export type Status = ReplicaStatus;

export interface Failure {
  readonly code: string;
  readonly message: string;
}

/** A member at one moment. Without a status it did not answer, and `error` says why. */
export interface Member {
  readonly id: string;
  readonly status?: Status;
  readonly tookMs?: number;
  readonly error?: Failure;
}

export interface Picture {
  readonly cluster: string;
  readonly seenBy: string;
  /** By the clock of the replica that serves the page. */
  readonly atMs: number;
  readonly role: Role;
  readonly primary?: string;
  readonly failover?: { readonly mode: 'automatic' | 'manual'; readonly leaseMs: number };
  readonly members: readonly Member[];
}

export type Role = 'read' | 'write' | 'admin';

/** A value of a database in JSON, as docs/http.md describes it. */
export type JsonValue =
  | null
  | string
  | number
  | { readonly base64: string; readonly tag?: string }
  | { readonly integer: string }
  | { readonly real: string }
  | { readonly start: JsonValue; readonly length: number };

export interface Epochs {
  readonly seenBy: string;
  readonly epochs: readonly {
    readonly number: number;
    readonly primary?: string;
    readonly seq: number;
    readonly began?: { readonly by: string; readonly why: string; readonly atMs: number };
    readonly voided?: { readonly from: number; readonly to: number };
  }[];
}

export interface Candidates {
  readonly failover: 'automatic' | 'manual' | 'none';
  readonly primary?: string;
  readonly answers: boolean;
  readonly candidates: readonly Candidate[];
}

export interface Candidate {
  readonly id: string;
  readonly place: number | null;
  readonly reason: string;
  readonly priority?: number;
  readonly seq?: number;
  readonly lagMs?: number;
  readonly heardPrimaryMsAgo?: number;
}

type OrError<T> = { readonly id: string; readonly error?: Failure } & Partial<T>;

export interface Rescues {
  readonly replicas: readonly OrError<{
    readonly transactions: readonly RescuedTransaction[];
    readonly kept: number;
    readonly more: boolean;
  }>[];
}

export type RescuedRow = readonly JsonValue[];

export interface RescuedChange {
  readonly table: string;
  readonly op: string;
  readonly columns: readonly string[];
  readonly key: readonly JsonValue[];
  readonly before?: RescuedRow;
  readonly after?: RescuedRow;
  readonly here?: RescuedRow;
  /** That did not fit into the answer. */
  readonly moreColumns?: number;
}

export interface RescueDetail extends RescuedTransaction {
  readonly replica: string;
  readonly shown: readonly RescuedChange[];
  readonly more: boolean;
}

export interface Reapplied extends Omit<ReapplyAnswer, 'conflicts'> {
  readonly conflicts: readonly Omit<RescuedChange, 'op'>[];
}

export interface Quarantines {
  readonly replicas: readonly OrError<QuarantineList>[];
}

/** Rows as JSON has them. */
type Jsonified<T> = T extends { readonly type: 'readable'; readonly changes: readonly (infer C)[] }
  ? Omit<T, 'changes'> & {
      readonly changes: readonly (Omit<C, 'row'> & { readonly row: Readonly<Record<string, JsonValue>> })[];
    }
  : T;

export interface QuarantinedDetails {
  readonly replica: string;
  readonly messages: readonly {
    readonly id: number;
    readonly seq: number;
    readonly origin: string;
    readonly code: string;
    readonly message: string;
    readonly bytes: number;
    readonly content: Jsonified<QuarantinedContent>;
  }[];
}

export interface Verified extends Omit<VerifyResult, 'differences'> {
  readonly differences: readonly {
    readonly table: string;
    readonly replicas: readonly [string, string];
    readonly rows: readonly { readonly key: readonly JsonValue[]; readonly kind: string }[];
    readonly complete: boolean;
  }[];
}

export interface QueryAnswer {
  readonly replica: string;
  readonly tookMs: number;
  readonly columns: readonly string[];
  readonly rows: readonly Readonly<Record<string, JsonValue>>[];
  readonly position?: SessionPlace;
}

/** What a session has seen. */
export interface SessionPlace {
  readonly generation: string;
  readonly seq: number;
  readonly vector?: Readonly<Record<string, number>>;
}

interface RowVersion {
  /** Hybrid time, microseconds since 1970. */
  readonly time: number;
  readonly origin: string;
  readonly counter: number;
}

export interface KeptConflict {
  readonly id: number;
  readonly table: string;
  readonly key: readonly JsonValue[];
  readonly columns: readonly string[];
  readonly winner: RowVersion;
  readonly loser: RowVersion;
  readonly atMs: number;
  readonly kept?: RescuedRow;
  readonly lost?: RescuedRow;
  readonly here?: RescuedRow;
  readonly moreColumns?: number;
}

export interface Conflicts {
  readonly replicas: readonly OrError<{
    readonly conflicts: readonly KeptConflict[];
    readonly total: number;
    readonly more: boolean;
  }>[];
}

export interface FailoverPlan {
  readonly to: string;
  readonly primary: string;
  /** The primary does. */
  readonly answers: boolean;
  readonly says: readonly string[];
}
