import {
  AntiphonError,
  checkOptions,
  checkRequired,
  counterOf,
  findReadableMember,
  isIdentifier,
  listMembers,
  suggest,
  type MemberRecord,
  type OptionNames,
} from '@antiphon/core';
import { connectNats, type NatsAccess, type NatsHandle } from '@antiphon/nats';
import { showServers } from '@antiphon/nats/internal';
import { replicaRef, type ReplicaRef } from './replica-ref.js';

/** A cluster, and how to reach it. */
export interface ClusterAddress {
  /** The name of the cluster. */
  readonly cluster: string;
  /** Where its NATS is, and how to log in there. It holds secrets: for people, `showServers`. */
  readonly nats: NatsAccess & { readonly servers: readonly string[] };
  /** The replica that is asked where none is named, while it answers. */
  readonly replica?: string;
  /** Where the address was found, for messages. */
  readonly source?: string;
}

/** What a connection is called. */
export interface ClusterClientOptions {
  /**
   * The name of the connection, as NATS shows it.
   * @defaultValue `antiphon client CLUSTER`
   */
  readonly name?: string;
}

const ADDRESS: OptionNames<ClusterAddress> = { cluster: true, nats: true, replica: true, source: true };
const CLIENT_OPTIONS: OptionNames<ClusterClientOptions> = { name: true };
const PING_TIMEOUT_MS = 1500;
const STRANGER_MS = 5000;
const MAX_STRANGERS = 1000;
/** Replicas that were asked for something; of more, none is remembered. */
const MAX_REFS = 1000;

/** A connection to a cluster from outside: asks its replicas' mailboxes, takes part in nothing. */
export class ClusterClient implements AsyncDisposable {
  #members: readonly MemberRecord[] | undefined;
  readonly #refs = new Map<string, ReplicaRef>();
  /** Origins beside the members that replicas know. */
  readonly #known = new Set<string>();
  /** Origins that no replica knew, and when that was. */
  readonly #strangers = new Map<string, number>();

  private constructor(
    /** As it was given. It holds secrets. */
    readonly address: ClusterAddress,
    /** The connection; `close` closes it. */
    readonly nats: NatsHandle,
  ) {}

  /**
   * Connects to a cluster.
   *
   * @throws AntiphonError BAD_OPTION, LOG_UNAVAILABLE when no server answers, ACCESS_DENIED when it
   *   refuses the login
   * @example
   * await using client = await ClusterClient.open({ cluster: 'shop', nats: { servers: ['nats://localhost:4222'] } });
   */
  static async open(address: ClusterAddress, options: ClusterClientOptions = {}): Promise<ClusterClient> {
    checkRequired(address, ADDRESS, 'ClusterClient.open()', ['cluster', 'nats']);
    checkOptions(options, CLIENT_OPTIONS, 'ClusterClient.open()');
    const { name = `antiphon client ${address.cluster}` } = options;
    const nats = await connectNats({ ...address.nats, name });
    return new ClusterClient(address, nats);
  }

  /** The name of the cluster. */
  get cluster(): string {
    return this.address.cluster;
  }

  /**
   * Asks this replica; nothing says yet whether there is one of that id. Questions wait 10 s unless
   * they say otherwise.
   */
  replica(id: string): ReplicaRef {
    const known = this.#refs.get(id);
    if (known !== undefined) return known;
    if (this.#refs.size >= MAX_REFS) this.#refs.clear();
    const ref = replicaRef(this.nats.bus(), this.cluster, id);
    this.#refs.set(id, ref);
    return ref;
  }

  /**
   * Every replica that ever joined and was not removed; remembered from the last call unless
   * `fresh`.
   *
   * @throws AntiphonError BAD_OPTION, LOG_UNAVAILABLE, NO_ACTOR when there is no such cluster
   */
  async members(options: { readonly fresh?: boolean } = {}): Promise<readonly MemberRecord[]> {
    checkOptions(options, { fresh: true }, 'members()');
    const { fresh = false } = options;
    if (!fresh && this.#members !== undefined) return this.#members;
    const members = await this.#listMembers();
    if (members.length === 0) {
      const { nats, source } = this.address;
      const where = source === undefined ? '' : ` (looked up in ${source})`;
      const message =
        `There is no cluster ${this.cluster} at ${showServers(nats.servers)}${where}. ` +
        'Check the name, or start its first replica.';
      throw new AntiphonError('NO_ACTOR', message, { context: { cluster: this.cluster } });
    }
    this.#members = members;
    return members;
  }

  /**
   * Whether replicas take what the log has of it: it is a member, or was one, or its record is lost
   * and a replica has applied something of it.
   *
   * @throws AntiphonError LOG_UNAVAILABLE, NO_ACTOR when there is no such cluster
   */
  async isKnownMember(id: string): Promise<boolean> {
    if (this.#known.has(id) || (await this.members()).some((member) => member.id === id)) return true;
    const isKnown = (await findReadableMember(this.nats.registry(this.cluster), id)) !== undefined;
    if (!isKnown && !(isIdentifier(id) && (await this.#isVouchedFor(id)))) return false;
    this.#known.add(id);
    return true;
  }

  /** Some replica that answers has applied something of it. */
  async #isVouchedFor(id: string): Promise<boolean> {
    const nowMs = performance.now();
    // A stranger that publishes all the time must not make everybody be asked all the time.
    if ((this.#strangers.get(id) ?? -Infinity) > nowMs - STRANGER_MS) return false;
    const [answering] = await this.answering();
    if (answering !== undefined) {
      const { vector } = await this.replica(answering).ask('standing');
      if (counterOf(vector, id) > 0) return true;
    }
    if (this.#strangers.size >= MAX_STRANGERS) this.#strangers.clear();
    this.#strangers.set(id, nowMs);
    return false;
  }

  /**
   * Does nothing for the id of a member.
   *
   * @throws AntiphonError NO_ACTOR for any other id, with a suggestion
   */
  async requireMember(id: string): Promise<void> {
    const ids = (await this.members()).map((member) => member.id);
    if (ids.includes(id)) return;
    const message = `There is no replica "${id}" in cluster ${this.cluster}. ${suggest(id, ids)}`;
    throw new AntiphonError('NO_ACTOR', message, { context: { cluster: this.cluster, replica: id } });
  }

  /**
   * The ids of those that answer within 1500 ms, in order.
   *
   * @throws AntiphonError ACCESS_DENIED, LOG_UNAVAILABLE, NO_ACTOR when there is no such cluster
   */
  async answering(): Promise<readonly string[]> {
    const members = await this.members();
    const pings = members.map(async ({ id }) => {
      const ping = this.replica(id).ask('ping', undefined, { timeoutMs: PING_TIMEOUT_MS });
      return ping.then(
        () => id,
        (error: unknown) => {
          if (error instanceof AntiphonError && error.code === 'ACCESS_DENIED') throw error;
          return undefined;
        },
      );
    });
    return (await Promise.all(pings)).filter((id): id is string => id !== undefined).sort();
  }

  /** Reading creates nothing: no bucket is no cluster. */
  async #listMembers(): Promise<readonly MemberRecord[]> {
    try {
      return await listMembers(this.nats.registry(this.cluster));
    } catch (error) {
      if (error instanceof AntiphonError && isMissingBucket(error)) return [];
      throw error;
    }
  }

  /** Hangs up. Idempotent; takes about 1500 ms at most, also without a server. */
  async close(): Promise<void> {
    await this.nats.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The registry says LOG_UNAVAILABLE for a bucket that does not exist; only the cause tells. */
function isMissingBucket({ code, cause }: AntiphonError): boolean {
  return (
    code === 'LOG_UNAVAILABLE' &&
    typeof cause === 'object' &&
    cause !== null &&
    'noStream' in cause &&
    cause.noStream === true
  );
}
