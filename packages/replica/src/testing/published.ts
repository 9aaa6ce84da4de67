import type { NatsHandle } from '@antiphon/nats';

/** A message of the stream of published changes, as any client gets it. */
export interface Published {
  readonly seq: number;
  readonly subject: string;
  readonly messageId: string;
  readonly change: {
    readonly id: string;
    readonly index: number;
    readonly last: boolean;
    readonly origin: string;
    readonly counter: number;
    readonly seq: number;
    readonly table: string;
    readonly op: string;
    readonly key?: Readonly<Record<string, unknown>>;
    readonly before?: Readonly<Record<string, unknown>>;
    readonly after?: Readonly<Record<string, unknown>>;
    readonly tooLarge?: number;
  };
}

const AT_ONCE = 200;

/** Everything that the stream holds now. */
export async function publishedIn(nats: NatsHandle, stream: string): Promise<readonly Published[]> {
  const { first_seq: firstSeq, last_seq: lastSeq, messages } = (await nats.api.streamInfo(stream)).state;
  const found: Published[] = [];
  for (let from = firstSeq; messages > 0 && from <= lastSeq; from += AT_ONCE) {
    const count = Math.min(AT_ONCE, lastSeq - from + 1);
    const page = Array.from({ length: count }, (_, index) => publishedAt(nats, stream, from + index));
    found.push(...(await Promise.all(page)).flat());
  }
  return found;
}

async function publishedAt(nats: NatsHandle, stream: string, seq: number): Promise<readonly Published[]> {
  const message = await nats.api.getMessage(stream, seq);
  if (message === undefined) return [];
  const { subject, data } = message;
  const change = JSON.parse(new TextDecoder().decode(data)) as Published['change'];
  return [{ seq, subject, messageId: message.header('Nats-Msg-Id') ?? '', change }];
}

/**
 * What is wrong with them, a sentence each: every change once, whole transactions together, of each
 * origin in order.
 */
export function violationsIn(messages: readonly Published[]): readonly string[] {
  const wrong: string[] = [];
  const counters = new Map<string, number>();
  let before: Published['change'] | undefined;
  for (const { seq, change } of messages) {
    const follows = before?.id === change.id;
    if (change.index !== (follows ? (before?.index ?? -1) + 1 : 0))
      wrong.push(
        `Message ${seq}: ${change.id} has index ${change.index} after ${before?.id}/${before?.index}.`,
      );
    if (!follows && before !== undefined && !before.last)
      wrong.push(`Message ${seq}: ${change.id} comes before the last change of ${before.id}.`);
    if (follows && before?.last === true)
      wrong.push(`Message ${seq}: ${change.id} goes on after its last change.`);
    if (!follows && change.counter <= (counters.get(change.origin) ?? 0))
      wrong.push(`Message ${seq}: ${change.id} comes again, or too late.`);
    counters.set(change.origin, change.counter);
    before = change;
  }
  return wrong;
}
